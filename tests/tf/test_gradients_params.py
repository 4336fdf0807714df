"""How `func` and `params` are read, the structure of results, and the errors on the way."""

from __future__ import annotations

from collections import OrderedDict, namedtuple

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import zrun_tf as zrun

pytestmark = pytest.mark.any_policy

F64 = tf.float64
Pair = namedtuple("Pair", ["left", "right"])


def variable(value, name="v"):
    return tf.Variable(value, dtype=F64, name=name)


def numbers(structure):
    """The leaves of a structure, depth first, in order."""
    if isinstance(structure, dict):
        return [leaf for part in structure.values() for leaf in numbers(part)]
    if isinstance(structure, (list, tuple)):
        return [leaf for part in structure for leaf in numbers(part)]
    return [structure]


def same_form(left, right):
    if isinstance(left, dict):
        return isinstance(right, dict) and list(left) == list(right) and all(same_form(left[k], right[k]) for k in left)
    if isinstance(left, (list, tuple)):
        return type(left) is type(right) and len(left) == len(right) and all(map(same_form, left, right))
    return np.shape(left) == np.shape(right)


LEAVES = st.one_of(
    st.floats(0.5, 2.0),
    st.floats(0.5, 2.0).map(np.float64),
    st.lists(st.floats(0.5, 2.0), min_size=1, max_size=3).map(np.array),
    st.floats(0.5, 2.0).map(lambda value: tf.constant(value, F64)),
    st.floats(0.5, 2.0).map(lambda value: tf.constant([[value, 1.0]], F64)),
    st.floats(0.5, 2.0).map(variable),
)
NAMES = st.sampled_from(["alpha", "beta", "gamma", "delta"])
STRUCTURES = st.one_of(
    LEAVES,
    st.lists(LEAVES, min_size=1, max_size=3),
    st.lists(LEAVES, min_size=1, max_size=3).map(tuple),
    st.dictionaries(NAMES, LEAVES, min_size=1, max_size=3),
    st.tuples(LEAVES, LEAVES).map(lambda leaves: Pair(*leaves)),
    st.dictionaries(NAMES, st.one_of(LEAVES, st.lists(LEAVES, min_size=1, max_size=2)), min_size=1, max_size=3),
)


@settings(max_examples=60)
@given(params=STRUCTURES, autograd=st.booleans())
def test_the_result_has_the_structure_of_params(params, autograd):
    calls = []

    def f(*args, **kwargs):
        calls.append((args, kwargs))
        # A function that takes any arguments can also be called without, and then reads variables.
        leaves = numbers([*args, kwargs]) or numbers(params)
        return tf.add_n([tf.reduce_sum(tf.convert_to_tensor(leaf) ** 3) for leaf in leaves])

    gradient = zrun.gradient(f, params, autograd=autograd)
    assert same_form(params, gradient)
    for leaf, slope in zip(numbers(params), numbers(gradient), strict=True):
        np.testing.assert_allclose(slope, 3.0 * np.asarray(leaf) ** 2, rtol=1e-9)
    args, kwargs = calls[0]
    if args or kwargs:
        assert list(kwargs) == (list(params) if isinstance(params, dict) else [])
        assert len(args) == (0 if kwargs else len(params) if isinstance(params, (list, tuple)) else 1)


@settings(max_examples=30)
@given(params=STRUCTURES)
def test_second_derivatives_are_in_the_order_of_params(params):
    def f(*args, **kwargs):
        leaves = numbers([*args, kwargs]) or numbers(params)
        flat = tf.concat([tf.reshape(tf.convert_to_tensor(leaf), [-1]) for leaf in leaves], axis=0)
        return tf.reduce_sum(flat**2 * tf.range(1.0, 1.0 + tf.cast(tf.size(flat), F64), dtype=F64))

    size = sum(np.size(leaf) for leaf in numbers(params))
    matrix = zrun.hessian(f, params, autograd=True)
    np.testing.assert_allclose(matrix, np.diag(2.0 * np.arange(1, size + 1)))
    ones = tf.nest.map_structure(lambda leaf: np.ones(np.shape(leaf)), params)
    product = zrun.hessian_vector_product(f, params, ones, autograd=True)
    assert same_form(params, product)
    flat = np.concatenate([np.ravel(leaf) for leaf in numbers(product)])
    np.testing.assert_allclose(flat, 2.0 * np.arange(1, size + 1))


@pytest.mark.parametrize("autograd", [True, False])
@pytest.mark.parametrize("make", [tf.constant, tf.Variable], ids=["tensor", "variable"])
@pytest.mark.parametrize(
    "wrap", [lambda compute: compute(), lambda compute: tf.function(compute)()], ids=["eager", "graph"]
)
def test_a_parameter_without_elements_has_derivatives_without_elements(make, autograd, wrap):
    # The eager numerical ones used to ask for "a vector of parameters, of shape (n,)".
    x = make(np.zeros((0, 3)))

    def f(x):
        return tf.reduce_sum(x**2) + 4.0

    value, slopes, matrix = wrap(lambda: zrun.value_gradient_hessian(f, x, autograd=autograd))
    assert (float(value), slopes.shape, matrix.shape) == (4.0, (0, 3), (0, 0))
    residuals = wrap(lambda: zrun.jacobian(lambda x: tf.reduce_sum(x) + tf.ones(2, tf.float64), x, autograd=autograd))
    assert residuals.shape == (2, 0, 3)
    assert wrap(lambda: zrun.hessian_vector_product(f, x, np.zeros((0, 3)), autograd=autograd)).shape == (0, 3)


@pytest.mark.parametrize("autograd", [True, False])
@pytest.mark.parametrize("params", [[], {}, [[], {}]])
def test_no_parameters_at_all_are_refused(params, autograd):
    with pytest.raises(zrun.GradientError, match="params is empty; give at least one parameter"):
        zrun.hessian(lambda *args: 1.0, params, autograd=autograd)


def test_mappings_keep_their_order():
    params = OrderedDict(zeta=1.0, alpha=2.0)
    gradient = zrun.gradient(lambda zeta, alpha: zeta * alpha, params)
    assert list(gradient) == ["zeta", "alpha"]
    np.testing.assert_allclose(zrun.hessian(lambda zeta, alpha: zeta**2 + 5 * alpha**2, params), [[2, 0], [0, 10]])


@pytest.mark.parametrize("autograd", [True, False])
def test_variables_are_read_where_the_function_takes_no_arguments(autograd):
    a, b = variable(2.0, "a"), variable(3.0, "b")
    for params in ([a, b], (a, b), {"first": a, "second": b}):
        gradient = numbers(zrun.gradient(lambda: a * b**2, params, autograd=autograd))
        np.testing.assert_allclose(gradient, [9.0, 12.0], rtol=1e-10)


@pytest.mark.parametrize("autograd", [True, False])
def test_variables_are_passed_where_the_function_takes_arguments(autograd):
    a, b = variable(2.0), variable(3.0)
    seen = []

    def f(x, y):
        seen.append((x, y))
        return x * y**2

    np.testing.assert_allclose(zrun.gradient(f, [a, b], autograd=autograd), [9.0, 12.0], rtol=1e-10)
    assert all(x is a and y is b for x, y in seen)
    # With a number among them, all are arguments.
    np.testing.assert_allclose(zrun.gradient(f, [a, 3.0], autograd=autograd), [9.0, 12.0], rtol=1e-10)


@pytest.mark.parametrize("autograd", [True, False])
def test_variables_that_are_not_trainable_count(autograd):
    fixed = tf.Variable(2.0, dtype=F64, trainable=False)
    np.testing.assert_allclose(zrun.gradient(lambda: fixed**2, fixed, autograd=autograd), 4.0)


def test_a_tf_function_and_a_method_can_be_differentiated():
    class Model:
        power = 3.0

        @tf.function
        def compiled(self, x):
            return x**self.power

        def plain(self, x):
            return x**self.power

    model = Model()
    for autograd in (True, False):
        for f in (model.compiled, model.plain):
            np.testing.assert_allclose(zrun.gradient(f, 2.0, autograd=autograd), 12.0, rtol=1e-10)


@pytest.mark.parametrize("autograd", [True, False])
@pytest.mark.parametrize(
    ("params", "message"),
    [
        (3, r"params is int64; .* Write 3.0 for 3"),
        ([1.0, np.array([1, 2])], r"params\[1\] is int64"),
        ({"mu": True}, r"params\['mu'\] is bool"),
        ((1.0 + 2.0j,), r"params\[0\] is complex128; .*real and imaginary part"),
        ([tf.Variable([1, 2], name="counts")], r"params\[0\] \('counts'\) is int32"),
        (tf.constant(1.0, tf.float16), "params is float16"),
        ([1.0, None], r"params\[1\] is object; .* Give variables"),
        ("mu", "params is str"),
        ([], "params is empty"),
        ({}, "params is empty"),
    ],
)
def test_parameters_that_have_no_derivative_are_refused(params, message, autograd):
    def f(*args, **kwargs):
        raise AssertionError("must not be called")

    with pytest.raises(zrun.GradientError, match=message):
        zrun.gradient(f, params, autograd=autograd)


def test_the_same_variable_twice_is_refused():
    v = variable(1.0, "mu")
    with pytest.raises(
        zrun.GradientError, match=r"params\[0\] \('mu'\) and params\[2\] \('mu'\) are the same variable"
    ):
        zrun.gradient(lambda: v**2, [v, variable(2.0), v])


@pytest.mark.parametrize(
    ("f", "params"),
    [(lambda: 1.0, 2.0), (lambda x: x, [1.0, 2.0]), (lambda x, y: x, 1.0), (lambda x: x, {"y": 1.0})],
)
def test_a_function_that_params_do_not_fit_is_refused_with_its_signature(f, params):
    with pytest.raises(zrun.GradientError, match=r"<lambda>\(.*\) cannot be called with params: .*func\(\*\*params\)"):
        zrun.gradient(f, params)


def test_something_that_is_no_function_is_refused():
    with pytest.raises(zrun.GradientError, match=r"takes a function as its first argument; got 3\.0"):
        zrun.gradient(3.0, 1.0)


@pytest.mark.parametrize("in_graph", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize("autograd", [True, False])
@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda x: None, "returned None; does it lack a return"),
        (lambda x: [x, x], "returned a list; return one tensor"),
        (lambda x: "text", "returned a str"),
        (lambda x: tf.stack([x, x]), r"returned shape \(2,\), and a gradient is of a single number.*use jacobian"),
        (lambda x: tf.cast(x, tf.int32), "returned int32; .*tf.cast"),
        (lambda x: tf.complex(x, x), "returned complex128; .*tf.math.real"),
    ],
)
def test_what_has_no_gradient_is_refused(f, message, autograd, in_graph):
    compute = lambda: zrun.gradient(f, tf.constant(1.5, F64), autograd=autograd)  # noqa: E731
    with pytest.raises(zrun.GradientError, match=rf"gradient of <lambda>: it {message}"):
        (tf.function(compute, autograph=False) if in_graph else compute)()


@pytest.mark.parametrize("value", [3.0, np.float64(3.0), np.array(3.0)])
def test_a_result_that_tensorflow_has_not_computed_is_unconnected(value):
    def f(x):
        return value

    with pytest.raises(zrun.UnconnectedGradientError, match=r"not a tensor.*depends on params.*autograd=False"):
        zrun.gradient(f, 1.0, autograd=True)
    assert zrun.gradient(f, 1.0, autograd=True, unconnected="zero").numpy() == 0.0
    assert zrun.gradient(f, 1.0, autograd=False).numpy() == 0.0


UNCONNECTED = {
    "a variable": (lambda a, b: ([a, b], lambda: a**2), r"params\[1\] \('b'\)"),
    "a key": (lambda a, b: ({"mu": 1.0, "sigma": 2.0}, lambda mu, sigma: mu**2), r"params\['sigma'\]"),
    "a place": (lambda a, b: ([1.0, 2.0], lambda x, y: x**2), r"params\[1\]"),
    "nested": (lambda a, b: ([1.0, {"c": [2.0, 3.0]}], lambda x, y: x**2 * y["c"][0]), r"params\[1\]\['c'\]\[1\]"),
    "stopped": (lambda a, b: ([1.0, 2.0], lambda x, y: x**2 * tf.stop_gradient(y)), r"params\[1\]"),
    "rounded": (lambda a, b: ([1.0, 2.0], lambda x, y: x**2 * tf.cast(tf.cast(y, tf.int32), F64)), r"params\[1\]"),
    "through NumPy": (
        lambda a, b: ([1.0, 2.0], lambda x, y: x**2 * tf.numpy_function(np.sin, [y], F64)),
        r"params\[1\]",
    ),
}


@pytest.mark.parametrize("in_graph", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize(("make", "name"), UNCONNECTED.values(), ids=UNCONNECTED)
def test_an_unconnected_parameter_is_named(make, name, in_graph):
    params, f = make(variable(1.0, "a"), variable(2.0, "b"))

    def call(function, **options):
        compute = lambda: function(f, params, autograd=True, **options)  # noqa: E731
        return (tf.function(compute, autograph=False) if in_graph else compute)()

    for function in (zrun.gradient, zrun.value_and_gradient, zrun.jacobian, zrun.hessian):
        with pytest.raises(zrun.UnconnectedGradientError, match=f"it does not depend on {name}, as far as"):
            call(function)
    assert [float(slope) for slope in numbers(call(zrun.gradient, unconnected="zero"))][-1] == 0.0
    matrix = call(zrun.hessian, unconnected="zero").numpy()
    assert (matrix[-1] == 0.0).all()
    assert matrix[0, 0] != 0.0


def test_numpy_code_gets_its_true_derivative_numerically():
    def f(x, y):
        return x**2 * tf.numpy_function(np.sin, [y], F64)

    for wrap in (lambda g: g, tf.function):
        gradient = wrap(lambda: zrun.gradient(f, [tf.constant(1.5, F64), tf.constant(0.4, F64)], autograd=False))()
        np.testing.assert_allclose(gradient, [3.0 * np.sin(0.4), 2.25 * np.cos(0.4)], rtol=1e-10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"autograd": "yes"}, "autograd must be True, False or None.*got 'yes'"),
        ({"autograd": 1}, "autograd must be True, False or None"),
        ({"unconnected": "zeros"}, "unconnected must be 'error' or 'zero'; got 'zeros'"),
        ({"bounds": [(0.0, 1.0)]}, r"bounds must hold one \(low, high\) for each .* \(3, 2\)"),
        ({"bounds": {"c": (0.0, 1.0)}}, r"bounds must have the keys of params, \['a', 'b'\]; got the keys \['c'\]"),
        ({"bounds": {"a": 1.0}}, r"bounds\['a'\] must be a pair \(low, high\); got 1.0"),
        ({"bounds": {"b": (np.zeros(2), 1.0)}}, r"bounds\['b'\] must hold numbers that broadcast against shape \(\)"),
        ({"bounds": {"b": ("low", 1.0)}}, r"bounds\['b'\] must hold numbers .* got 'low'"),
        ({"bounds": {"a": (np.zeros(3), 1.0)}}, r"bounds\['a'\] must hold numbers that broadcast against shape \(2,\)"),
        (
            {"bounds": {"b": (1.0, 0.0)}},
            r"bounds of params\['b'\] must be a lower one below an upper one; got \(1.0, 0",
        ),
        ({"bounds": {"b": (0.7, 0.7)}}, r"bounds of params\['b'\] must be a lower .* fixed="),
        ({"scale": {"a": [1.0, -2.0]}}, r"scale of params\['a'\]\[1\] must be a positive number.*got -2.0"),
        ({"scale": 0.0}, r"scale of params\['a'\]\[0\] must be a positive number"),
        ({"scale": np.inf}, "must be a positive number"),
        ({"scale": {"b": "wide"}}, r"scale\['b'\] must hold numbers"),
        ({"fixed": {"b": 0.5}}, "fixed must hold True or False.*0.5"),
        ({"bounds": "wide"}, "bounds must hold one"),
        ({"scale": [1.0]}, r"scale must hold one positive number for each element of params"),
        ({"scale": {"c": 1.0}}, r"scale must have the keys of params"),
    ],
)
@pytest.mark.parametrize("function", [zrun.gradient, zrun.value_and_gradient, zrun.jacobian, zrun.hessian])
def test_wrong_options_are_refused_whatever_the_way(function, options, message):
    params = {"a": np.array([0.5, 0.6]), "b": 0.7}
    for autograd in (True, False):
        with pytest.raises(zrun.GradientError, match=message):
            function(lambda a, b: tf.reduce_sum(a) * b, params, **{"autograd": autograd, **options})


@pytest.mark.needs_graph
@pytest.mark.parametrize("options", [{"bounds": [(2.0, 0.0)]}, {"scale": -1.0}])
def test_options_that_fit_no_value_are_refused_in_a_graph(options):
    # They used to leave no step, and NaN.
    with pytest.raises(zrun.GradientError, match="must be a"):
        tf.function(lambda x: zrun.gradient(tf.sin, x, autograd=False, **options))(tf.constant(1.0, F64))


def test_bounds_by_key_and_by_element():
    seen = []

    def f(a, b):
        seen.append((np.array(a), float(b)))
        return np.sum(np.log(a)) * b

    params = {"a": np.array([1.0, 2.0]), "b": 3.0}
    for bounds in (
        [(1.0, None), (None, 2.0), (None, None)],
        {"a": (np.array([1.0, -np.inf]), [np.inf, 2.0])},
        {"a": ([1.0, np.nan], [np.nan, 2.0]), "b": (None, None)},
    ):
        seen.clear()
        gradient = zrun.gradient(f, params, autograd=False, bounds=bounds)
        first, second = np.array([a for a, _ in seen]).T
        assert first.min() >= 1.0
        assert second.max() <= 2.0
        np.testing.assert_allclose(gradient["a"], [3.0, 1.5], rtol=1e-9)
        np.testing.assert_allclose(gradient["b"], np.log(2.0), rtol=1e-9)


def test_a_scale_for_all_for_each_and_by_key():
    def count(scale):
        calls = []

        def f(a, b):
            calls.append(1)
            return np.sin(1e9 * a + 1) * b

        gradient = zrun.gradient(f, {"a": 0.0, "b": 1.0}, autograd=False, scale=scale)
        np.testing.assert_allclose(gradient["a"], 1e9 * np.cos(1.0), rtol=1e-9)
        return len(calls)

    assert count(None) == 1 + 12 + 6 + 24
    assert count({"a": 1e-9}) == count([1e-9, None]) == 1 + 12


@pytest.mark.parametrize("vector", [[1.0], {"a": 1.0}, [1.0, [2.0, 3.0]], [np.ones(3), 1.0]])
def test_a_vector_of_another_structure_is_refused(vector):
    with pytest.raises(zrun.GradientError, match="vector"):
        zrun.hessian_vector_product(lambda a, b: a * b, [1.0, 2.0], vector)


def test_autograph_leaves_the_function_alone():
    # Check that a plain Python condition in a traced function is the caller's business: nothing is rewritten.
    def f(x):
        return x**2 if x.shape.rank == 0 else tf.reduce_sum(x)

    @tf.function
    def compute(x):
        return zrun.gradient(f, x, autograd=True), zrun.gradient(f, x, autograd=False)

    np.testing.assert_allclose(compute(tf.constant(3.0, F64)), [6.0, 6.0], rtol=1e-12)
