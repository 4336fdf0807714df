"""The bridge to minimisers: NumPy in, NumPy out, variables as they were, graphs re-used."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf
from scipy.optimize import least_squares, minimize

import zrun_tf as zrun
from zrun_core.testing import count_traces

RUN = zrun.run
DATA = np.array([1.0, 2.0, 4.0, 5.0])
# Mean and standard deviation of DATA: where the likelihood below is smallest.
BEST = np.array([3.0, np.sqrt(2.5)])
POLICIES = [{"graph": graph, "autograd": autograd} for graph in (True, False) for autograd in (True, False)]


def named_loss(mu, sigma, data):
    return tf.reduce_sum(((data - mu) / sigma) ** 2 / 2 + tf.math.log(sigma))


def vector_loss(x, data):
    return named_loss(x[0], x[1], data)


def exact_value(x, data=DATA):
    return float(np.sum(((data - x[0]) / x[1]) ** 2 / 2 + np.log(x[1])))


def exact_gradient(x, data=DATA):
    r = (data - x[0]) / x[1]
    return np.array([-np.sum(r) / x[1], np.sum(1 - r**2) / x[1]])


def exact_hessian(x, data=DATA):
    r, n, s = (data - x[0]) / x[1], len(data), x[1]
    return np.array([[n, 2 * r.sum()], [2 * r.sum(), 3 * (r**2).sum() - n]]) / s**2


def with_variables():
    mu, sigma = tf.Variable(0.5, dtype=tf.float64, name="mu"), tf.Variable(2.0, dtype=tf.float64, name="sigma")
    return zrun.objective(lambda data: named_loss(mu, sigma, data), [mu, sigma], data=DATA)


FORMS = {
    "names": lambda: zrun.objective(named_loss, {"mu": 0.5, "sigma": 2.0}, data=DATA),
    "vector": lambda: zrun.objective(vector_loss, [0.5, 2.0], data=DATA),
    "variables": with_variables,
}


@pytest.fixture(params=FORMS)
def obj(request):
    return FORMS[request.param]()


@pytest.mark.parametrize("policy", POLICIES)
def test_every_form_gives_value_and_derivatives_under_every_policy(obj, policy):
    x = np.array([1.2, 1.7])
    tolerance = 1e-12 if policy["autograd"] else 1e-8
    with RUN.using(**policy):
        value = obj.value(x)
        assert type(value) is float
        assert value == pytest.approx(exact_value(x), rel=1e-13)
        assert obj(x) == value
        np.testing.assert_allclose(obj.gradient(x), exact_gradient(x), rtol=tolerance)
        np.testing.assert_allclose(obj.hessian(x), exact_hessian(x), rtol=max(tolerance, 1e-11) * 10)
        both = obj.value_and_gradient(x)
        assert both[0] == value
        np.testing.assert_allclose(both[1], exact_gradient(x), rtol=tolerance)
    assert obj.gradient(x).dtype == np.float64


def test_names_and_start_values(obj):
    assert obj.x0.tolist() == [0.5, 2.0]
    assert len(obj) == 2
    assert obj.names in (("mu", "sigma"), ("x0", "x1"))
    assert obj.as_dict([3.0, 4.0]) == dict(zip(obj.names, [3.0, 4.0], strict=True))


@pytest.mark.parametrize("policy", POLICIES)
def test_scipy_minimize_as_the_contract_writes_it(obj, policy):
    with RUN.using(**policy):
        fit = minimize(obj.value_and_gradient, obj.x0, jac=True, hess=obj.hessian, method="trust-exact")
    np.testing.assert_allclose(fit.x, BEST, rtol=1e-6)


def test_iminuit_as_the_contract_writes_it(obj):
    from iminuit import Minuit

    minuit = Minuit(obj, obj.x0, grad=obj.gradient)
    minuit.errordef = Minuit.LIKELIHOOD
    minuit.migrad()
    assert minuit.valid
    np.testing.assert_allclose(minuit.values, BEST, rtol=5e-3)
    assert minuit.parameters == obj.names


def residuals(x, t, y):
    return x[0] * tf.exp(-x[1] * t) - y


@pytest.mark.parametrize("policy", POLICIES)
def test_scipy_least_squares_as_the_contract_writes_it(policy):
    t = np.linspace(0.0, 2.0, 7)
    obj = zrun.objective(residuals, [1.0, 1.0], t=t, y=2.0 * np.exp(-0.7 * t))
    x = np.array([1.5, 0.5])
    with RUN.using(**policy):
        assert obj.value(x).shape == (7,)
        assert obj.jacobian(x).shape == (7, 2)
        exact = np.stack([np.exp(-0.5 * t), -1.5 * t * np.exp(-0.5 * t)], axis=-1)
        np.testing.assert_allclose(obj.jacobian(x), exact, rtol=1e-8, atol=1e-12)
        fit = least_squares(obj.value, obj.x0, jac=obj.jacobian)
    np.testing.assert_allclose(fit.x, [2.0, 0.7], rtol=1e-8)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_gradient_of_residuals_is_refused_with_the_way_out(policy):
    obj = zrun.objective(residuals, [1.0, 1.0], t=DATA, y=DATA)
    with RUN.using(**policy):
        for method in (obj.gradient, obj.value_and_gradient, obj.hessian):
            with pytest.raises(zrun.GradientError, match="least_squares"):
                method([1.0, 1.0])
        scalar = zrun.objective(vector_loss, [0.5, 2.0], data=DATA)
        with pytest.raises(zrun.GradientError, match="gradient"):
            scalar.jacobian([1.0, 1.0])


def test_value_and_gradient_of_one_x_are_computed_once(obj):
    x = [1.2, 1.7]
    obj.value_and_gradient(x), obj.value(x), obj.gradient(x), obj(x)
    assert obj.evaluations == {"gradient": 1}
    obj.value([1.3, 1.7]), obj.value([1.3, 1.7])
    assert obj.evaluations == {"gradient": 1, "value": 1}


def test_what_is_kept_is_not_handed_out():
    obj = FORMS["vector"]()
    x = np.array([1.2, 1.7])
    obj.gradient(x)[:] = 0.0
    np.testing.assert_allclose(obj.gradient(x), exact_gradient(x))
    # Check that changing `x` in place is seen.
    x[0] = 2.0
    np.testing.assert_allclose(obj.gradient(x), exact_gradient(x))


@pytest.mark.parametrize("graph", [True, False])
def test_another_variable_that_changes_is_seen_at_the_same_x(graph):
    scale = tf.Variable(1.0, dtype=tf.float64)
    obj = zrun.objective(lambda x: scale * tf.reduce_sum(x**2), [1.0, 2.0])
    with RUN.using(graph=graph):
        assert obj.value_and_gradient([1.0, 2.0])[0] == 5.0
        scale.assign(3.0)
        value, gradient = obj.value_and_gradient([1.0, 2.0])
    assert value == 15.0
    assert gradient.tolist() == [6.0, 12.0]


def test_switching_the_policy_between_calls_takes_effect_at_once():
    obj = FORMS["vector"]()
    x = [1.2, 1.7]
    obj.gradient(x)
    with RUN.using(autograd=False):
        obj.gradient(x)
    assert obj.evaluations["points"] > 0


def test_new_data_re_use_the_graph(obj):
    x = np.array([1.2, 1.7])
    obj.value_and_gradient(x)
    with count_traces() as traces:
        for shift in (1.0, 2.0, 3.0):
            moved = obj.with_data(data=DATA + shift)
            value, gradient = moved.value_and_gradient(x)
            assert value == pytest.approx(exact_value(x, DATA + shift), rel=1e-13)
            np.testing.assert_allclose(gradient, exact_gradient(x, DATA + shift), rtol=1e-12)
    assert traces.total == 0
    assert obj.value(x) == pytest.approx(exact_value(x), rel=1e-13)


def test_a_new_objective_of_the_same_loss_re_uses_the_graph():
    with count_traces() as traces:
        for shift in (1.0, 2.0):
            zrun.objective(vector_loss, [0.5, 2.0], data=DATA + shift).gradient([1.0, 1.0])
    assert traces.total <= 1


@zrun.struct
class Gauss:
    """A model that owns its parameters."""

    mu: tf.Variable
    sigma: tf.Variable
    order: int = 1

    def nll(self, data):
        return named_loss(self.mu, self.sigma, data) * self.order


def new_gauss(mu=0.5, sigma=2.0):
    return Gauss(tf.Variable(mu, dtype=tf.float64), tf.Variable(sigma, dtype=tf.float64))


def test_a_new_model_object_with_its_own_variables_re_uses_the_graph():
    x = np.array([1.2, 1.7])
    with count_traces() as traces:
        for shift in range(4):
            model = new_gauss()
            obj = zrun.objective(model.nll, [model.mu, model.sigma], data=DATA + shift)
            np.testing.assert_allclose(obj.gradient(x), exact_gradient(x, DATA + shift), rtol=1e-12)
            assert (model.mu.numpy(), model.sigma.numpy()) == (0.5, 2.0)
    assert traces.total == 1


@pytest.mark.parametrize("policy", POLICIES)
def test_a_parameter_that_is_also_among_the_data_is_left_alone(policy):
    # The graph used to set the variable itself, since it was an input too.
    v = tf.Variable(1.0, dtype=tf.float64)
    obj = zrun.objective(lambda w: (v - 1.0) ** 2 + w, [v], w=v)
    if policy["graph"]:
        with RUN.using(**policy), pytest.raises(zrun.errors.StructureError, match="both as an argument"):
            obj.value([4.0])
        assert v.numpy() == 1.0
        obj = zrun.objective(lambda w: (w - 1.0) ** 2 + w, [v], w=v)
    with RUN.using(**policy):
        assert obj.value([4.0]) == pytest.approx(13.0)
        assert obj.gradient([4.0]) == pytest.approx([7.0])
        assert obj.hessian([4.0]) == pytest.approx(np.array([[2.0]]), rel=1e-6)
    assert v.numpy() == 1.0


@zrun.struct
class Scaled:
    mu: tf.Variable
    other: tf.Variable
    scale: float
    data: np.ndarray

    def loss(self):
        return self.scale * tf.reduce_sum((self.data - self.mu) ** 2) + self.other


def change_variable(model):
    model.other.assign(5.0)


def change_field(model):
    model.scale = 2.0


def change_array(model):
    model.data[:] = 7.0


def new_array(model):
    model.data = np.ones(5)


@pytest.mark.parametrize("graph", [True, False])
@pytest.mark.parametrize("change", [change_variable, change_field, change_array, new_array])
def test_what_the_model_holds_besides_its_parameters_is_seen_when_it_changes(graph, change):
    model = Scaled(tf.Variable(0.0, dtype=tf.float64), tf.Variable(1.0, dtype=tf.float64), 1.0, np.ones(3))
    obj = zrun.objective(model.loss, [model.mu])
    with RUN.using(graph=graph):
        obj.value_and_gradient([2.0])
        change(model)
        expected = model.scale * np.sum((model.data - 2.0) ** 2) + model.other.numpy()
        assert obj.value([2.0]) == pytest.approx(expected)


def test_a_variable_among_the_data_is_seen_when_it_changes():
    w = tf.Variable(1.0, dtype=tf.float64)
    obj = zrun.objective(lambda x, w: tf.reduce_sum(x) * w, [2.0], w=w)
    assert obj.value([2.0]) == 2.0
    w.assign(4.0)
    assert obj.value([2.0]) == 8.0


def test_forget_is_for_what_cannot_be_seen():
    state = {"scale": 1.0}
    obj = zrun.objective(lambda x: tf.reduce_sum(x) * state["scale"], [2.0])
    with RUN.using(graph=False):
        assert obj.value([2.0]) == 2.0
        state["scale"] = 3.0
        obj.forget()
        assert obj.value([2.0]) == 6.0


def test_python_that_a_graph_calls_sees_the_parameters_set():
    v = tf.Variable(1.0, dtype=tf.float64)

    def loss():
        return tf.ensure_shape(tf.py_function(lambda: v * 2, [], tf.float64), [])

    obj = zrun.objective(loss, [v])
    with pytest.warns(zrun.errors.ZrunWarning, match="runs eagerly"):
        assert obj.value([3.0]) == 6.0
    assert obj.value([4.0]) == 8.0
    assert v.numpy() == 1.0


def test_an_objective_has_no_place_inside_a_graph():
    obj = FORMS["vector"]()
    obj.value([1.0, 1.0])
    with pytest.raises(zrun.errors.IllegalInGraphError, match="Call the loss itself"):
        zrun.function(lambda: obj.value([1.0, 1.0]))()


def test_names_are_different_or_refused():
    variables = [tf.Variable(float(i), dtype=tf.float64, name=name) for i, name in enumerate(["a", "a", "a_0"])]
    obj = zrun.objective(lambda: variables[0] * variables[1] * variables[2], variables)
    assert len(set(obj.names)) == 3
    assert obj.names[2] == "a_0"
    with pytest.raises(ValueError, match="one name"):
        zrun.objective(named_loss, {"a": [1.0, 2.0], "a[0]": 3.0})


def test_a_parameter_that_is_read_in_two_ways_is_refused():
    model = new_gauss()

    @zrun.struct
    class Shifted:
        mu: tf.Variable

        def nll(self):
            return (self.mu - 1.0) ** 2 + model.mu**2

    shifted = Shifted(model.mu)
    with pytest.raises(zrun.errors.StructureError, match="both as an argument"):
        zrun.objective(shifted.nll, [model.mu]).value([2.0])
    assert model.mu.numpy() == 0.5


def test_the_order_of_variables_decides_which_entry_is_which():
    mu, sigma = (tf.Variable(v, dtype=tf.float64) for v in (0.5, 2.0))

    def loss():
        return named_loss(mu, sigma, DATA)

    straight = zrun.objective(loss, [mu, sigma]).gradient([1.2, 1.7])
    swapped = zrun.objective(loss, [sigma, mu]).gradient([1.7, 1.2])
    np.testing.assert_allclose(straight, exact_gradient([1.2, 1.7]), rtol=1e-12)
    np.testing.assert_allclose(swapped, straight[::-1], rtol=1e-12)


class Failure(Exception):
    pass


@pytest.mark.parametrize("policy", POLICIES)
def test_variables_hold_what_they_held_also_after_an_exception(policy):
    mu, sigma = tf.Variable(0.5, dtype=tf.float64), tf.Variable(2.0, dtype=tf.float64)
    failing = [False]

    def loss():
        if failing[0]:
            raise Failure
        checked = tf.debugging.assert_less(mu, tf.constant(100.0, tf.float64), message="mu too large")
        with tf.control_dependencies([checked] if checked is not None else []):
            return named_loss(mu, sigma, DATA)

    obj = zrun.objective(loss, [mu, sigma])
    with RUN.using(**policy):
        for method in (obj.value, obj.gradient, obj.hessian, obj.value_and_gradient):
            method([1.2, 1.7])
            with pytest.raises(tf.errors.InvalidArgumentError, match="mu too large"):
                method([1e5, 1.7])
            assert (mu.numpy(), sigma.numpy()) == (0.5, 2.0)
        failing[0] = True
        RUN.clear_graph_cache()
        with pytest.raises(Failure):
            obj.value([2.0, 2.0])
    assert (mu.numpy(), sigma.numpy()) == (0.5, 2.0)


def test_assign_sets_the_variables_for_good():
    model = new_gauss()
    obj = zrun.objective(model.nll, [model.mu, model.sigma], data=DATA)
    obj.assign([3.0, 1.5])
    assert (model.mu.numpy(), model.sigma.numpy()) == (3.0, 1.5)
    assert obj.value([1.2, 1.7]) == pytest.approx(exact_value([1.2, 1.7]), rel=1e-13)
    with pytest.raises(TypeError, match="variables"):
        FORMS["vector"]().assign([1.0, 2.0])


def test_parameters_that_are_arrays_and_float32_variables():
    weights = tf.Variable([1.0, 2.0, 3.0], dtype=tf.float32, name="w")
    offset = tf.Variable(0.5, dtype=tf.float64, name="b")

    def loss():
        return tf.reduce_sum(tf.cast(weights, tf.float64) ** 2) + offset**2

    obj = zrun.objective(loss, [weights, offset])
    assert obj.names == ("w[0]", "w[1]", "w[2]", "b")
    assert obj.value([1.0, 2.0, 3.0, 4.0]) == 30.0
    np.testing.assert_allclose(obj.gradient([1.0, 2.0, 3.0, 4.0]), [2, 4, 6, 8], rtol=1e-6)
    assert obj.as_dict([1.0, 2.0, 3.0, 4.0])["w"].tolist() == [1.0, 2.0, 3.0]
    named = zrun.objective(lambda a, b: tf.reduce_sum(a * a) + b, {"a": [[1.0, 2.0]], "b": 3.0})
    assert named.names == ("a[0, 0]", "a[0, 1]", "b")
    np.testing.assert_allclose(named.hessian([1.0, 2.0, 3.0]), np.diag([2.0, 2.0, 0.0]))


def test_a_parameter_the_loss_does_not_depend_on_is_named():
    obj = zrun.objective(lambda a, b: a**2, {"a": 1.0, "b": 2.0})
    with pytest.raises(zrun.UnconnectedGradientError, match="b"):
        obj.gradient([1.0, 2.0])


def test_data_are_copied_and_structures_are_taken_apart():
    data = DATA.copy()
    obj = zrun.objective(
        lambda x, sets: vector_loss(x, sets["a"]) + vector_loss(x, sets["b"][0]),
        [0.5, 2.0],
        sets={"a": data, "b": [data]},
    )
    data[:] = 0.0
    assert obj.value([1.2, 1.7]) == pytest.approx(2 * exact_value([1.2, 1.7]), rel=1e-13)


def test_threads_get_their_own_results(obj):
    points = [np.array([1.0 + 0.1 * i, 1.5]) for i in range(8)]
    barrier = threading.Barrier(4)

    def work(x):
        barrier.wait(10)
        return [obj.value_and_gradient(x) for _ in range(5)]

    with ThreadPoolExecutor(4) as pool:
        for x, results in zip(points, pool.map(work, points), strict=True):
            for value, gradient in results:
                assert value == pytest.approx(exact_value(x), rel=1e-13)
                np.testing.assert_allclose(gradient, exact_gradient(x), rtol=1e-11)


@pytest.mark.parametrize(
    ("params", "error", "match"),
    [
        ({}, ValueError, "at least one"),
        ([], ValueError, "at least one"),
        ({"a": np.nan}, ValueError, "finite"),
        ({"a": "text"}, TypeError, "real numbers"),
        ({3: 1.0}, TypeError, "strings"),
        ([[1.0, 2.0]], TypeError, "vector"),
        ([True], TypeError, "real numbers"),
        (1 + 2j, TypeError, "real numbers"),
    ],
)
def test_parameters_of_no_form_are_refused(params, error, match):
    with pytest.raises(error, match=match):
        zrun.objective(named_loss, params)


def test_variables_that_cannot_be_parameters_are_refused():
    v = tf.Variable(1.0)
    for params, match in [([v, v], "once"), ([v, 1.0], "variables only"), ([tf.Variable(1)], "float32 or float64")]:
        with pytest.raises((TypeError, ValueError), match=match):
            zrun.objective(lambda: v, params)


@pytest.mark.parametrize(
    ("x", "error"),
    [
        ([1.0], ValueError),
        ([[1.0, 2.0]], ValueError),
        (["a", "b"], TypeError),
        (["1", "2"], TypeError),
        ([None, 1.0], TypeError),
        (None, TypeError),
    ],
)
def test_a_vector_of_another_shape_is_refused(obj, x, error):
    with pytest.raises(error, match="x must"):
        obj.value(x)


def test_what_a_loss_may_return():
    for loss, match in [
        (lambda x: None, "None"),
        (lambda x: tf.constant(3), "int32"),
        (lambda x: tf.reshape(x, [1, 2]), "shape"),
    ]:
        with pytest.raises(zrun.GradientError, match=match):
            zrun.objective(loss, [1.0, 2.0]).value([1.0, 2.0])


@pytest.mark.parametrize(
    ("params", "data", "match"),
    [
        ({"mu": 1.0, "sgima": 1.0}, {"data": DATA}, "sgima"),
        ({"mu": 1.0, "sigma": 1.0}, {}, "data"),
        ({"mu": 1.0, "sigma": 1.0}, {"data": DATA, "weights": DATA}, "weights"),
        ({"mu": 1.0, "sigma": 1.0, "data": 1.0}, {"data": DATA}, "as a parameter and as data"),
        ([1.0, 2.0], {"data": DATA}, "sigma"),
    ],
)
def test_a_loss_that_takes_other_arguments_is_refused_at_once(params, data, match):
    with pytest.raises(TypeError, match=match):
        zrun.objective(named_loss, params, **data)


def test_unknown_data_are_refused():
    obj = FORMS["vector"]()
    with pytest.raises(TypeError, match="data"):
        obj.with_data(daat=DATA)
    with pytest.raises(TypeError, match="nothing"):
        obj.with_data()
    with pytest.raises(TypeError, match="returns the loss"):
        zrun.objective(3.0, [1.0])
