"""What users hand to an objective that is not what it takes, and what their losses do that they should not."""

from __future__ import annotations

import signal

import numpy as np
import pytest
import tensorflow as tf
from scipy.optimize import minimize

import zrun_tf as zrun

pytestmark = pytest.mark.any_policy

RUN = zrun.run
POLICIES = [{"graph": graph, "autograd": autograd} for graph in (True, False) for autograd in (True, False)]
IDS = [f"{'graph' if p['graph'] else 'eager'}, {'autograd' if p['autograd'] else 'numerical'}" for p in POLICIES]
DATA = np.random.default_rng(1).normal(0.0, 0.01, 1000)


def nll(mean, width, data):
    return tf.reduce_sum(0.5 * ((data - mean) / width) ** 2 + tf.math.log(width))


def masked(values, mask):
    return np.ma.array(values, mask=mask)


@pytest.mark.parametrize(
    ("params", "error", "match"),
    [
        (None, TypeError, "list of variables, a mapping .* or a vector of start values .*; got None of type NoneType"),
        ("abc", TypeError, "list of variables, a mapping .* or a vector of start values .*; got 'abc' of type str"),
        (3.0, TypeError, "a vector of start values .* got 3.0 of type float"),
        ([[1.0], [2.0, 3.0]], TypeError, r"a vector of start values .* got \[\[1.0\], \[2.0, 3.0\]\]"),
        ({"a": [1.0, [2.0]]}, TypeError, r"params\['a'\] must be one or an array of real numbers .*; got"),
        (masked([1.0, 2.0], [0, 1]), ValueError, "params is a masked array with 1 masked"),
        ({"a": masked([1.0, 2.0], [1, 1])}, ValueError, r"params\['a'\] is a masked array with 2 masked"),
    ],
)
def test_parameters_of_no_form_are_refused(params, error, match):
    with pytest.raises(error, match=match):
        zrun.objective(lambda *args, **kwargs: None, params)


@pytest.mark.parametrize(
    ("x", "error", "match"),
    [
        (None, TypeError, r"x must be a vector of real numbers, one for each parameter \(mean, width\); got None"),
        ([[1.0], [2.0, 3.0]], TypeError, "x must be a vector of real numbers"),
        ([np.array([1.0]), 2.0], TypeError, "x must be a vector of real numbers"),
        ({"mean": 1.0, "width": 2.0}, TypeError, "x must be a vector of real numbers"),
        (masked([1.0, 2.0], [0, 1]), ValueError, "x is a masked array with 1 masked"),
        ([1.0, 2.0, 3.0], ValueError, r"x must have shape \(2,\), .*\(mean, width\); got shape \(3,\)"),
    ],
)
def test_a_point_that_is_no_vector_is_refused(x, error, match):
    obj = zrun.objective(nll, {"mean": 0.0, "width": 1.0}, data=DATA)
    for method in (obj.value, obj.gradient, obj.value_and_gradient, obj.jacobian, obj.hessian, obj.as_dict):
        with pytest.raises(error, match=match):
            method(x)
    assert not obj.evaluations


@pytest.mark.parametrize(
    ("data", "error", "match"),
    [
        # Masked values used to be fitted like the others.
        (masked([1.0, 2.0], [0, 1]), ValueError, r"data is a masked array with 1 masked .*compressed\(\)"),
        ([masked([1.0, 2.0], [0, 1])], ValueError, "data is a masked array with 1 masked"),
        (iter([1.0]), TypeError, r"data is an iterator \(list_iterator\), .*np.array\(list\(data\)\)"),
        (np.array([1.0, None]), TypeError, r"data is an array of dtype object, .*data.astype\(float\)"),
        (np.array(["2020-01-01"], "datetime64[D]"), TypeError, "data is an array of dtype datetime64"),
        (np.zeros(2, [("a", float)]), TypeError, "data is an array of dtype"),
    ],
)
def test_data_that_tensorflow_cannot_hold_are_refused(data, error, match):
    with pytest.raises(error, match=match):
        zrun.objective(nll, {"mean": 0.0, "width": 1.0}, data=data)
    obj = zrun.objective(nll, {"mean": 0.0, "width": 1.0}, data=DATA)
    with pytest.raises(error, match=match):
        obj.with_data(data=data)


class Column:
    """A column of a table, as pandas and Polars have them."""

    def __init__(self, values):
        self._values = np.asarray(values)
        self.dtype, self.shape = self._values.dtype, self._values.shape

    def __array__(self, dtype=None, copy=None):
        return self._values.astype(dtype or self.dtype)


@pytest.mark.parametrize(
    "make",
    [Column, list, tuple, lambda values: np.ma.array(values, mask=False)],
    ids=["column", "list", "tuple", "mask"],
)
def test_data_that_are_arrays_by_another_name_share_the_graph_of_an_array(make):
    def loss(a, data):
        return tf.reduce_sum((tf.convert_to_tensor(data) - a) ** 2)

    with zrun.testing.assert_max_traces(1):
        for values in ([1.0, 2.0], [3.0, 4.0]):
            expected = np.sum((np.array(values) - 0.5) ** 2)
            assert zrun.objective(loss, {"a": 0.0}, data=make(values)).value([0.5]) == pytest.approx(expected)
            assert zrun.objective(loss, {"a": 0.0}, data=np.array(values)).value([0.5]) == pytest.approx(expected)


def test_nested_lists_of_numbers_are_one_array():
    def loss(a, data):
        assert data.shape == (3, 2)
        return tf.reduce_sum(data[:, 0] * a - data[:, 1])

    assert zrun.objective(loss, {"a": 0.0}, data=[[1, 2.0], [3, 4], (5, 6)]).value([2.0]) == 6.0


def test_a_name_given_twice_is_refused_whatever_the_loss_is():
    # The signature of a builtin such as dict is not known.
    for loss in (lambda a: a, lambda **both: both["a"], dict):
        with pytest.raises(TypeError, match="a is given as a parameter and as data; rename one"):
            zrun.objective(loss, {"a": 1.0}, a=2.0)


def test_a_loss_that_cannot_be_referred_to_is_refused_by_that_name():
    with pytest.raises(zrun.errors.StructureError, match="loss is of type _ArrayFunctionDispatcher"):
        zrun.objective(np.sum, [1.0, 2.0])


RETURNED = {
    "nothing": (lambda a: None, "returned None; .* Does it lack a return"),
    "an integer": (lambda a: 3, r"returned int32; a loss returns float32 or float64. Use tf.cast"),
    "integers": (lambda a: tf.cast(a, tf.int64), r"returned int64; a loss returns float32 or float64. Use tf.cast"),
    "complex": (lambda a: tf.complex(a, a), "returned complex128; a loss returns float32 or float64. Use tf.math.real"),
    "a dict": (lambda a: {"value": a}, "returned an object of type dict; a loss returns one tensor"),
    "a function": (lambda a: lambda: a, "returned an object of type function; a loss returns one tensor"),
    "a generator": (
        lambda a: (part for part in [a]),
        "returned an object of type generator; a loss returns one tensor",
    ),
    "a ragged tensor": (lambda a: tf.RaggedTensor.from_row_lengths(a[None], [1]), "an object of type RaggedTensor"),
    "a matrix": (lambda a: tf.reshape(a, [1, 1]), r"returned shape \(1, 1\); .*Use tf.reshape"),
}


@pytest.mark.parametrize("policy", POLICIES, ids=IDS)
@pytest.mark.parametrize("what", RETURNED)
def test_what_a_loss_may_not_return_is_refused_by_every_method(what, policy):
    loss, match = RETURNED[what]
    with RUN.using(**policy):
        for method in ("value", "gradient", "jacobian", "hessian"):
            obj = zrun.objective(loss, {"a": 2.0})
            with pytest.raises(zrun.GradientError, match=match):
                getattr(obj, method)([2.0])


@pytest.mark.parametrize("graph", [True, False])
def test_python_floats_keep_their_digits(graph):
    # They used to become float32, so 0.1 had seven digits, and numerical derivatives none.
    with RUN.using(graph=graph):
        assert zrun.objective(lambda a: 0.1, {"a": 1.0}).value([1.0]) == 0.1
        assert zrun.objective(lambda a: [0.1, 0.2], {"a": 1.0}).value([1.0]).tolist() == [0.1, 0.2]
        assert zrun.objective(lambda a, scale: scale, {"a": 1.0}, scale=0.1).value([1.0]) == 0.1
    with RUN.using(graph=False, autograd=False):
        assert zrun.objective(lambda a: float(a) * 0.1, {"a": 1.0}).gradient([1.0])[0] == pytest.approx(0.1, rel=1e-9)


@pytest.mark.parametrize("graph", [True, False])
def test_a_parameter_without_influence_is_named_with_a_way_out_that_an_objective_has(graph):
    obj = zrun.objective(lambda a, b: a * a, {"a": 1.0, "b": 2.0})
    with RUN.using(graph=graph):
        with pytest.raises(zrun.UnconnectedGradientError, match=r"params\['b'\].*run\.using\(autograd=False\)"):
            obj.gradient([1.0, 2.0])
        with RUN.using(autograd=False):
            assert obj.gradient([1.0, 2.0]) == pytest.approx([2.0, 0.0])


@pytest.mark.parametrize("policy", POLICIES, ids=IDS)
@pytest.mark.parametrize("x", [[0.0, -1.0], [0.0, 0.0], [np.nan, 1.0]])
def test_out_of_the_domain_value_and_derivatives_say_so_alike(x, policy):
    # Numerical derivatives used to raise here, which ended a fit that automatic ones carry on.
    obj = zrun.objective(nll, {"mean": 0.0, "width": 1.0}, data=DATA)
    with RUN.using(**policy):
        value, gradient = obj.value_and_gradient(x)
        assert np.isnan(value)
        assert gradient.shape == (2,)
        assert obj.hessian(x).shape == (2, 2)
        if not policy["autograd"]:
            assert np.isnan(gradient).all()
            assert np.isnan(obj.hessian(x)).all()


@pytest.mark.parametrize("graph", [True, False])
def test_residuals_out_of_their_domain_have_a_jacobian_of_nan(graph):
    obj = zrun.objective(lambda a, t: tf.sqrt(a) * t, {"a": 1.0}, t=np.arange(1.0, 4.0))
    with RUN.using(graph=graph, autograd=False):
        assert obj.jacobian([-1.0]).shape == (3, 1)
        assert np.isnan(obj.jacobian([-1.0])).all()
        with pytest.raises(zrun.GradientError, match="returns a vector of residuals"):
            obj.gradient([-1.0])


def test_no_derivative_where_the_loss_is_finite_is_an_error_that_names_it():
    def only_at_one(a):
        return tf.where(tf.equal(a, 1.0), a, np.nan)

    obj = zrun.objective(only_at_one, {"a": 1.0})
    with (
        RUN.using(autograd=False),
        pytest.raises(zrun.GradientError, match=r"a is not available: .*only_at_one is NaN"),
    ):
        obj.gradient([1.0])


@pytest.mark.parametrize("autograd", [True, False])
def test_a_fit_that_steps_out_of_the_domain_comes_back(autograd):
    # Check a decay rate: the first step from here is longer than the way to zero.
    obj = zrun.objective(lambda rate, n, time: rate * time - n * tf.math.log(rate), {"rate": 0.9}, n=30.0, time=100.0)
    values = []

    def recorded(x):
        found = obj.value_and_gradient(x)
        values.append(found[0])
        return found

    with RUN.using(autograd=autograd):
        fit = minimize(recorded, obj.x0, jac=True, method="SLSQP")
    assert np.isnan(values).any()
    assert fit.x == pytest.approx([0.3], rel=1e-4)


@pytest.mark.parametrize("start", [[0.0, 0.02], [1.0, 2.0]])
def test_iminuit_from_a_start_whose_hessian_is_not_positive_definite(start):
    # iminuit takes a method `hessian` of its own accord, and used to fail there: 'NoneType' object is not callable.
    from iminuit import Minuit

    obj = zrun.objective(nll, {"mean": 0.0, "width": 1.0}, data=DATA)
    assert np.linalg.eigvalsh(obj.hessian(start)).min() < 0
    minuit = Minuit(obj, start, grad=obj.gradient)
    minuit.errordef = Minuit.LIKELIHOOD
    minuit.limits["width"] = (1e-4, None)
    minuit.migrad()
    assert minuit.valid
    np.testing.assert_allclose(minuit.values, [DATA.mean(), DATA.std()], atol=1e-4)
    assert minuit.nhessian == 0


@pytest.mark.parametrize("policy", POLICIES, ids=IDS)
def test_an_interrupt_in_the_loss_leaves_the_variables_as_they_were(policy):
    a, b = tf.Variable(0.5, dtype=tf.float64), tf.Variable(2.0, dtype=tf.float64)
    calls = []

    def loss():
        calls.append(1)
        raise KeyboardInterrupt

    obj = zrun.objective(loss, [a, b])
    with RUN.using(**policy):
        for method in (obj.value, obj.gradient, obj.hessian):
            with pytest.raises(KeyboardInterrupt):
                method([3.0, 4.0])
            assert (a.numpy(), b.numpy()) == (0.5, 2.0)
    assert calls


class InterruptingVariable:
    """Raises an interrupt instead of its first assignments, as Ctrl-C may at any moment."""

    def __init__(self, variable, monkeypatch):
        self.armed = False
        real = variable.assign

        def assign(value, *args, **kwargs):
            if self.armed:
                self.armed = False
                signal.raise_signal(signal.SIGINT)
            return real(value, *args, **kwargs)

        monkeypatch.setattr(variable, "assign", assign)


@pytest.mark.parametrize("autograd", [True, False])
def test_an_interrupt_while_the_variables_are_set_back_does_not_leave_them(autograd, monkeypatch):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    a, b = tf.Variable(0.5, dtype=tf.float64), tf.Variable(2.0, dtype=tf.float64)
    interrupting = InterruptingVariable(a, monkeypatch)

    def loss():
        interrupting.armed = True
        return a * a + b

    try:
        with RUN.using(graph=False, autograd=autograd):
            with pytest.raises(KeyboardInterrupt):
                zrun.objective(loss, [a, b]).value([3.0, 4.0])
            assert (a.numpy(), b.numpy()) == (0.5, 2.0)
            with pytest.raises(KeyboardInterrupt):
                zrun.gradient(loss, [a, b], autograd=False)
            assert (a.numpy(), b.numpy()) == (0.5, 2.0)
    finally:
        signal.signal(signal.SIGINT, before)
