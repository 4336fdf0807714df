"""Numerical derivatives of a Python function inside a model: right, of all kinds, and few evaluations."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

import zrun_tf as zrun

pytestmark = pytest.mark.any_policy

F64 = tf.float64
WAYS = {"eager": lambda function: function, "tf.function": tf.function, "zrun.function": zrun.function}
ways = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
two_ways = pytest.mark.parametrize("way", [WAYS["eager"], WAYS["zrun.function"]], ids=["eager", "zrun.function"])


def constant(value):
    return tf.constant(value, F64)


class Counted:
    """A function that counts its calls."""

    def __init__(self, function):
        self.function = function
        self.calls = 0
        self.__qualname__ = getattr(function, "__name__", "function")

    def __call__(self, *args):
        self.calls += 1
        return self.function(*args)


def density(x, mu, sigma):
    return np.exp(-0.5 * ((x - mu) / sigma) ** 2) / sigma


def tf_density(x, mu, sigma):
    return tf.exp(-0.5 * ((x - mu) / sigma) ** 2) / sigma


# The Python function, the same in TensorFlow, and where to differentiate.
PAIRS = {
    "sine": (np.sin, tf.sin, [0.7]),
    "product": (lambda x, y: x**2 * y**3, lambda x, y: x**2 * y**3, [1.3, -0.6]),
    "ratio": (lambda x, y: (x - y) / (x + y), lambda x, y: (x - y) / (x + y), [2.0, 0.5]),
    "at zero": (lambda x, y: np.exp(x) * np.cos(y), lambda x, y: tf.exp(x) * tf.cos(y), [0.0, 0.0]),
    "huge": (lambda x: np.log(x) * x, lambda x: tf.math.log(x) * x, [1e12]),
    "tiny": (lambda x: np.log(x) * x, lambda x: tf.math.log(x) * x, [1e-12]),
    "special": (special.erf, tf.math.erf, [0.4]),
    "bessel": (special.i0e, tf.math.bessel_i0e, [2.5]),
    "vector": (lambda v: np.sum(v**3), lambda v: tf.reduce_sum(v**3), [np.array([1.0, -2.0, 0.5])]),
    "matrix": (np.linalg.det, tf.linalg.det, [np.array([[2.0, 1.0], [0.5, 3.0]])]),
    "vector of vector": (
        lambda v: np.cumsum(np.sin(v)),
        lambda v: tf.cumsum(tf.sin(v)),
        [np.array([0.3, 1.0, 2.0, 4.0, 5.0])],
    ),
    "rows and shared": (density, tf_density, [np.linspace(-1, 2, 7), 0.4, 1.2]),
    "rows of vectors": (
        lambda x, w: np.tanh(x @ w),
        lambda x, w: tf.math.tanh(tf.linalg.matvec(x, w)),
        [np.linspace(-1, 1, 12).reshape(4, 3), np.array([0.2, -0.4, 1.1])],
    ),
    "rows to rows": (
        lambda x, y: np.stack([x * y, x - y**2], axis=-1),
        lambda x, y: tf.stack([x * y, x - y**2], axis=-1),
        [np.linspace(1, 2, 5), np.linspace(3, 4, 5)],
    ),
}
pairs = pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)


def models(pair):
    """A model with the Python function inside, the same in TensorFlow, and its parameters."""
    function, reference, point = pair
    like = reference(*map(constant, point))
    weights = tf.reshape(tf.linspace(constant(0.5), constant(1.5), tf.size(like)), like.shape)

    def model(inner):
        def loss(**params):
            # Something before the block and after it, so that the chain rule is tested too.
            changes = [(params[f"x{i}"] - start) / np.where(start == 0.0, 1.0, start) for i, start in enumerate(point)]
            moved = [
                start + np.where(start == 0.0, 1.0, start) * (1.5 * change + change**2)
                for start, change in zip(point, changes, strict=True)
            ]
            return tf.reduce_sum(weights * inner(*moved) ** 2) + tf.reduce_sum(params["x0"] ** 2)

        return loss

    block = model(lambda *moved: zrun.numpy_function(function, moved, like=like))
    return block, model(reference), {f"x{i}": constant(value) for i, value in enumerate(point)}


def assert_close(found, wanted, rtol, atol=0.0):
    for one, other in zip(tf.nest.flatten(found), tf.nest.flatten(wanted), strict=True):
        assert one.shape == other.shape
        scale = np.max(np.abs(other), initial=0.0)
        np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol * scale + atol)


@two_ways
@pairs
def test_first_and_second_derivatives_are_those_of_tensorflow(way, pair):
    loss, exact, params = models(pair)

    @way
    def compute(params):
        return zrun.value_gradient_hessian(loss, params)

    value, gradient, hessian = compute(params)
    wanted = zrun.value_gradient_hessian(exact, params)
    assert_close(value, wanted[0], 1e-13)
    assert_close(gradient, wanted[1], 1e-9)
    assert_close(hessian, wanted[2], 2e-6)


@pairs
def test_jacobians_and_products_with_the_hessian_too(pair):
    function, reference, point = pair
    params = [constant(value) for value in point]
    like = reference(*params)
    block = lambda *params: zrun.numpy_function(function, params, like=like)  # noqa: E731
    assert_close(zrun.jacobian(block, params), zrun.jacobian(reference, params), 1e-9)
    vector = [tf.ones_like(param) for param in params]
    products = [
        zrun.hessian_vector_product(lambda *params, inner=inner: tf.reduce_sum(tf.sin(inner(*params))), params, vector)
        for inner in (block, reference)
    ]
    assert_close(*products, 2e-5)


@two_ways
@pytest.mark.parametrize("name", ["product", "at zero", "vector of vector", "rows and shared"])
def test_without_automatic_derivatives_the_model_works_as_well(way, name):
    loss, exact, params = models(PAIRS[name])
    with zrun.run.using(autograd=False):
        found = way(lambda: zrun.gradient(loss, params))()
    # One of them is exactly zero where a difference is a rounding error.
    assert_close(found, zrun.gradient(exact, params), 1e-8, 1e-11)


def test_float32_inputs_have_float32_derivatives():
    x = tf.constant([0.5, 1.5])

    def loss(x):
        return tf.reduce_sum(zrun.numpy_function(lambda x: np.sin(x.astype(float)), [x], like=x) ** 2)

    found = zrun.gradient(loss, x)
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, np.sin(2 * x.numpy()), rtol=1e-4)


def test_mixed_dtypes_have_derivatives_of_their_own():
    x, y, place = tf.constant(0.5), constant([1.0, 2.0]), tf.constant(1)

    def loss(x, y):
        return zrun.numpy_function(lambda x, y, place: x * y[place] ** 2, [x, y, place], like=constant(0.0))

    one, other = zrun.gradient(loss, [x, y])
    assert (one.dtype, other.dtype) == (tf.float32, F64)
    np.testing.assert_allclose(one, 4.0, rtol=1e-5)
    np.testing.assert_allclose(other, [0.0, 2.0], rtol=1e-9, atol=1e-12)


def amplitude(mass, width):
    return 1.0 / (mass - 2.5 - 1j * width)


@ways
def test_complex_results(way):
    params = {"mass": constant(2.0), "width": constant(0.3)}

    def loss(mass, width):
        return tf.abs(zrun.numpy_function(amplitude, [mass, width], like=tf.TensorSpec([], tf.complex128)) + 1.0) ** 2

    def exact(mass, width):
        return tf.abs(1.0 / tf.complex(mass - 2.5, -width) + 1.0) ** 2

    found = way(lambda: zrun.value_gradient_hessian(loss, params))()
    assert_close(found, zrun.value_gradient_hessian(exact, params), 1e-7, 1e-9)


@ways
def test_complex_inputs(way):
    params = [constant(0.7), constant([-0.4, 1.1])]
    model = lambda inner: lambda a, b: tf.reduce_sum(tf.abs(inner(tf.complex(a + 0.0 * b, b))))  # noqa: E731
    # Not holomorphic, so that both parts matter.
    loss = model(lambda z: zrun.numpy_function(lambda z: z**2 * np.conj(z) + z, [z]))
    exact = model(lambda z: z**2 * tf.math.conj(z) + z)
    found = way(lambda: zrun.value_gradient_hessian(loss, params))()
    assert_close(found, zrun.value_gradient_hessian(exact, params), 1e-6)


def test_several_results_share_their_evaluations():
    function = Counted(lambda x, y: {"sum": x + y, "product": np.array([x * y, x**2])})
    like = {"sum": constant(0.0), "product": constant([0.0, 0.0])}

    def loss(x, y):
        found = zrun.numpy_function(function, [x, y], like=like)
        return found["sum"] ** 2 + tf.reduce_sum(found["product"])

    found = zrun.gradient(loss, [constant(2.0), constant(3.0)])
    np.testing.assert_allclose(found, [10.0 + 3.0 + 4.0, 10.0 + 2.0], rtol=1e-9)
    assert function.calls == 1 + 1 + 2 * 12


# -- how often the function is called ----------------------------------------------------------------------------------


@ways
@pytest.mark.parametrize("count", [10, 1000])
def test_evaluations_grow_with_the_inputs_that_count_and_not_with_the_events(way, count):
    function = Counted(density)
    x = constant(np.linspace(-1, 2, count))

    @way
    def slopes(mu, sigma):
        def loss(mu, sigma):
            return tf.reduce_sum(tf.math.log(zrun.numpy_function(function, [x, mu, sigma], like=x)))

        return zrun.gradient(loss, [mu, sigma])

    slopes(constant(0.5), constant(1.5))
    assert function.calls == 1 + 1 + 2 * 12


@pytest.mark.needs_graph
@ways
def test_only_what_is_asked_for_is_computed(way):
    function = Counted(density)
    x = constant(np.linspace(-1, 2, 100))

    @way
    def compute(mu, sigma):
        with tf.GradientTape() as tape:
            tape.watch([x, mu, sigma])
            total = tf.reduce_sum(zrun.numpy_function(function, [x, tf.stop_gradient(mu), sigma], like=x))
        return total, tape.gradient(total, sigma)

    compute(constant(0.5), constant(1.5))
    if way is not WAYS["eager"]:
        # An eager tape that watches x asks by x too; a graph computes what is used.
        assert function.calls == 1 + 1 + 12
    function.calls = 0
    way(lambda mu: zrun.numpy_function(function, [x, mu, 1.0], like=x))(constant(0.5))
    assert function.calls == 1


@ways
@pytest.mark.parametrize(("count", "probes"), [(10, 5), (1000, 13)])
def test_rows_are_moved_together(way, count, probes):
    function = Counted(density)
    x = constant(np.linspace(1.0, 2.0, count))

    def by_events(**options):
        function.calls = 0
        loss = lambda x: tf.reduce_sum(  # noqa: E731
            tf.math.log(zrun.numpy_function(function, [x, 0.3, 1.5], like=x, **options))
        )
        found = way(lambda x: zrun.gradient(loss, x))(x)
        np.testing.assert_allclose(found, -(x.numpy() - 0.3) / 1.5**2, rtol=1e-9)
        return function.calls

    assert by_events() == 1 + 1 + 12 + probes
    assert by_events(rows=True) == by_events(rows=[0]) == 1 + 1 + 12
    if count == 10:
        assert by_events(rows=False) == 1 + 1 + 12 * count


@pytest.mark.needs_graph
@pytest.mark.parametrize(("way", "count"), [*zip(WAYS.values(), (50, 83, 83), strict=True)], ids=WAYS)
def test_a_hessian_takes_few_evaluations_more(way, count):
    function = Counted(density)
    x = constant(np.linspace(-1, 2, 50))

    def loss(mu, sigma):
        return tf.reduce_sum(tf.math.log(zrun.numpy_function(function, [x, mu, sigma], like=x)))

    way(lambda mu, sigma: zrun.hessian(loss, [mu, sigma]))(constant(0.5), constant(1.5))
    # The value; for each of two parameters the ladder of 6 levels and one of the two searches of 6 and 24 points where
    # it does not meet the tolerance; a graph takes the first steps of the mixed one for all.
    assert function.calls == count


CROSSED = {
    "cumulative sum": (np.cumsum, tf.cumsum),
    "normalised": (lambda x: x / x.sum(), lambda x: x / tf.reduce_sum(x)),
    "sorted": (np.sort, tf.sort),
    "reversed": (lambda x: x[::-1] ** 2, lambda x: x[::-1] ** 2),
    "one row in another": (
        lambda x: np.concatenate([x[:-1], [x[-1] * x[2]]]),
        lambda x: tf.concat([x[:-1], [x[-1] * x[2]]], axis=0),
    ),
}


@pytest.mark.parametrize("pair", CROSSED.values(), ids=CROSSED)
@pytest.mark.parametrize("count", [5, 12, 33])
def test_functions_that_mix_rows_are_found_out(pair, count):
    x = constant(np.random.default_rng(count).uniform(1.0, 2.0, count))
    weights = tf.linspace(constant(1.0), constant(2.0), count)
    found, wanted = (
        zrun.gradient(lambda x, inner=inner: tf.reduce_sum(weights * inner(x) ** 2), x)
        for inner in (lambda x: zrun.numpy_function(pair[0], [x], like=x), pair[1])
    )
    assert_close(found, wanted, 1e-9)


def test_too_many_evaluations_are_refused_with_what_to_do():
    x = constant(np.linspace(1.0, 2.0, 5000))

    def loss(x):
        return zrun.numpy_function(lambda x: np.sum(x**2), [x], like=0.0)

    with pytest.raises(
        zrun.GradientError, match=r"<lambda>: a numerical derivative by inputs\[0\], of shape \(5000,\)"
    ):
        zrun.gradient(loss, x)
    exact = zrun.gradient(
        lambda x: zrun.numpy_function(lambda x: np.sum(x**2), [x], like=0.0, jacobian=lambda x: [2 * x]), x
    )
    np.testing.assert_allclose(exact, 2 * x.numpy())


@settings(max_examples=8)
@given(
    rows=st.integers(2, 40),
    columns=st.integers(1, 3),
    power=st.integers(1, 3),
    seed=st.integers(0, 2**16),
    graph=st.booleans(),
)
def test_any_function_of_rows(rows, columns, power, seed, graph):
    rng = np.random.default_rng(seed)
    x, w = constant(rng.uniform(0.5, 2.0, (rows, columns))), constant(rng.uniform(0.5, 2.0, columns))
    block = lambda x, w: zrun.numpy_function(lambda x, w: (x**power) @ w, [x, w], like=x[:, 0])  # noqa: E731
    exact = lambda x, w: tf.linalg.matvec(x**power, w)  # noqa: E731
    total = lambda inner: lambda x, w: tf.reduce_sum(tf.math.log(inner(x, w)))  # noqa: E731
    way = tf.function(autograph=False) if graph else (lambda function: function)
    found = way(lambda: zrun.gradient(total(block), [x, w]))()
    assert_close(found, zrun.gradient(total(exact), [x, w]), 1e-8)
    np.testing.assert_allclose(
        zrun.hessian(total(block), [x, w]), zrun.hessian(total(exact), [x, w]), rtol=1e-5, atol=1e-6
    )


# -- bounds, scales, and where there is no derivative ------------------------------------------------------------------


def test_bounds_are_never_left():
    seen = []

    def root(x, y):
        seen.append((np.min(x), np.max(x), y))
        assert np.all(x >= 0.0)
        assert 0.0 < y < 2.0
        return np.sqrt(x) * y

    x, y = constant([1e-9, 0.3, 2.0]), constant(1.999)

    def loss(x, y):
        return tf.reduce_sum(zrun.numpy_function(root, [x, y], like=x, bounds=[(0.0, None), (1e-3, 1.9999)]))

    found = zrun.value_gradient_hessian(loss, [x, y])
    exact = zrun.value_gradient_hessian(lambda x, y: tf.reduce_sum(tf.sqrt(x) * y), [x, y])
    assert_close(found[1], exact[1], 1e-8)
    np.testing.assert_allclose(found[2], exact[2], rtol=1e-3, atol=1e-4)
    assert len(seen) > 30


def test_a_scale_says_where_to_begin():
    wave = lambda x: np.sin(1e7 * x)  # noqa: E731
    found = zrun.gradient(lambda x: zrun.numpy_function(wave, {"x": x}, like=0.0, scale={"x": 1e-7}), constant(1.0))
    np.testing.assert_allclose(found, 1e7 * np.cos(1e7), rtol=1e-6)


@ways
def test_values_that_nobody_uses_may_be_missing(way):
    x = constant([-1.0, 4.0])

    def loss(x):
        with np.errstate(invalid="ignore"):
            root = zrun.numpy_function(_quiet_root, [x], like=x)
        return tf.reduce_sum(tf.where(x > 0.0, root, 0.0))

    found = way(lambda x: zrun.gradient(loss, x))(x)
    np.testing.assert_allclose(found, [0.0, 0.25], rtol=1e-9)


def _quiet_root(x):
    with np.errstate(invalid="ignore"):
        return np.sqrt(x)


NO_DERIVATIVE = {
    "the result is nan at \\[1\\], where a derivative is asked for": (_quiet_root, np.array([4.0, -1.0])),
    "the result is nan, and a derivative is asked for": (_quiet_root, -1.0),
    "the derivative by inputs\\[0\\] = 0 is not available": (lambda x: 0.0 if x == 0.0 else np.nan, 0.0),
    "inputs\\[0\\] is inf; a derivative needs finite inputs": (lambda x: 0.0, np.inf),
    "returned the result as int64, and whole numbers have no derivative": (lambda x: np.int64(x), 2.5),
}


@pytest.mark.parametrize("message", NO_DERIVATIVE)
@two_ways
def test_where_there_is_no_derivative_an_error_names_the_function(way, message):
    function, point = NO_DERIVATIVE[message]
    x = constant(point)
    with pytest.raises(zrun.GradientError, match=message) as caught:
        way(lambda: zrun.gradient(lambda x: tf.reduce_sum(zrun.numpy_function(function, [x], like=x)), x))()
    assert f"numpy_function of {function.__qualname__}" in str(caught.value)


@two_ways
def test_a_third_derivative_is_refused(way):
    def compute(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            hessian = zrun.hessian(lambda x: zrun.numpy_function(np.sin, [x]) ** 2, x)
        return tape.gradient(hessian, x)

    with pytest.raises(zrun.GradientError, match="numpy_function of sin has first and second derivatives; a third one"):
        way(compute)(constant(1.0))


@two_ways
def test_half_precision_is_refused(way):
    x = tf.constant(1.0, tf.float16)

    def compute(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = zrun.numpy_function(lambda x: float(x) ** 2, [x], like=0.0)
        return tape.gradient(y, x)

    with pytest.raises(
        zrun.GradientError, match=r"inputs\[0\] is float16; there are derivatives by float32 and float64"
    ):
        way(compute)(x)


@two_ways
def test_a_variable_that_is_read_on_the_side_is_refused(way):
    mu, fixed = tf.Variable(2.0, dtype=F64, name="mu"), tf.Variable(3.0, dtype=F64, trainable=False)
    hidden = lambda x: x * mu.numpy() * fixed.numpy()  # noqa: E731
    assert float(way(lambda x: zrun.numpy_function(hidden, [x]))(constant(1.0))) == 6.0
    with pytest.raises(zrun.GradientError, match="reads the variable mu on its own"):
        way(lambda x: zrun.gradient(lambda x: zrun.numpy_function(hidden, [x]), x))(constant(1.0))
    found = zrun.gradient(lambda x: zrun.numpy_function(lambda x: x * fixed.numpy(), [x]), constant(1.0))
    np.testing.assert_allclose(found, 3.0, rtol=1e-9)


# -- tapes -------------------------------------------------------------------------------------------------------------


@ways
def test_persistent_and_nested_tapes(way):
    @way
    def compute(x):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape(persistent=True) as tape:
                tape.watch(x)
                y = zrun.numpy_function(np.sin, [x])
                z = y**2
            first, again = tape.gradient(y, x), tape.gradient(z, x)
        return first, again, outer.gradient([first, again], x)

    found = compute(constant(0.7))
    wanted = [np.cos(0.7), np.sin(1.4), -np.sin(0.7) + 2 * np.cos(1.4)]
    np.testing.assert_allclose(found, wanted, rtol=1e-8)


def test_a_tape_that_is_differentiated_later_under_another_one():
    x = constant(0.7)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = zrun.numpy_function(np.sin, [x]) ** 2
    first = tape.gradient(y, x)
    # What the first pass has computed is used again, but the second tape must not miss how it depends on x.
    with tf.GradientTape() as later:
        later.watch(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = zrun.numpy_function(np.sin, [x]) ** 2
        again = tape.gradient(y, x)
    np.testing.assert_allclose([first, again, later.gradient(again, x)], [np.sin(1.4), np.sin(1.4), 2 * np.cos(1.4)])


@ways
def test_forward_mode(way):
    @way
    def compute(x):
        with tf.autodiff.ForwardAccumulator(x, tf.ones_like(x)) as accumulator:
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = zrun.numpy_function(np.sin, [x]) ** 2
            slope = tape.gradient(y, x)
        return accumulator.jvp(y), accumulator.jvp(slope)

    x = np.array([0.7, 1.2])
    np.testing.assert_allclose(compute(constant(x)), [np.sin(2 * x), 2 * np.cos(2 * x)], rtol=1e-8)


@ways
@pytest.mark.parametrize("vectorized", [True, False])
def test_the_jacobian_of_a_tape(way, vectorized):
    @way
    def compute(x):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            y = zrun.numpy_function(np.sin, [x])
        return tape.jacobian(y, x, experimental_use_pfor=vectorized)

    x = np.array([0.7, 1.2, 3.0])
    found = compute(constant(x))
    assert found.shape == (3, 3)
    np.testing.assert_allclose(found, np.diag(np.cos(x)), rtol=1e-9, atol=1e-12)


@ways
def test_the_same_tensor_in_two_places(way):
    found = way(lambda x: zrun.gradient(lambda x: zrun.numpy_function(np.multiply, [x, x]), x))(constant(3.0))
    np.testing.assert_allclose(found, 6.0, rtol=1e-9)


@pytest.mark.needs_graph
def test_gradients_keep_the_shapes_that_are_known():
    @tf.function(input_signature=[tf.TensorSpec([None, 3], F64), tf.TensorSpec([2], F64)])
    def compute(x, w):
        with tf.GradientTape() as tape:
            tape.watch([x, w])
            y = tf.reduce_sum(zrun.numpy_function(lambda x, w: x.sum(axis=1) * w[0], [x, w], like=x[:, 0]) ** 2)
        by_x, by_w = tape.gradient(y, [x, w])
        assert by_x.shape.as_list() == [None, 3]
        assert by_w.shape.as_list() == [2]
        return by_x, by_w

    by_x, by_w = compute(constant(np.ones((4, 3))), constant([2.0, 1.0]))
    np.testing.assert_allclose(by_x, np.full((4, 3), 24.0), rtol=1e-9)
    np.testing.assert_allclose(by_w, [4 * 36.0, 0.0], rtol=1e-9)
