"""Automatic and numerical derivatives of the same functions, eagerly, in a graph and under XLA."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import zrun_tf as zrun
from zrun_tf.gradients import _auto_second

F64 = tf.float64


def exponential(x):
    return tf.exp(x[0] * x[1]) * tf.sin(x[2]) + x[0] / x[2]


def exponential_derivatives(x):
    a, b, c = x
    e, s, k = np.exp(a * b), np.sin(c), np.cos(c)
    ac, bc = b * e * k - 1 / c**2, a * e * k
    gradient = [b * e * s + 1 / c, a * e * s, e * k - a / c**2]
    hessian = [
        [b * b * e * s, (1 + a * b) * e * s, ac],
        [(1 + a * b) * e * s, a * a * e * s, bc],
        [ac, bc, -e * s + 2 * a / c**3],
    ]
    return gradient, hessian


def chi2(x):
    times = tf.linspace(tf.constant(0.0, F64), 2.0, 20)
    return tf.reduce_sum((x[0] + x[1] * times - times**2) ** 2)


def chi2_derivatives(x):
    times = np.linspace(0.0, 2.0, 20)
    design = np.stack([np.ones(20), times], axis=1)
    return 2 * design.T @ (design @ x - times**2), 2 * design.T @ design


def phase(x):
    # Complex numbers on the way are no obstacle: |e^{ia} + b|^2.
    return tf.abs(tf.exp(tf.complex(0.0 * x[0], x[0])) + tf.cast(x[1], tf.complex128)) ** 2


def phase_derivatives(x):
    a, b = x
    mixed = -2 * np.sin(a)
    return [-2 * b * np.sin(a), 2 * np.cos(a) + 2 * b], [[-2 * b * np.cos(a), mixed], [mixed, 2.0]]


def looped(x):
    _, total = tf.while_loop(
        lambda i, _: i < 4,
        lambda i, total: (i + 1, total + x[0] ** tf.cast(i, F64) * x[1]),
        [tf.constant(0), tf.constant(0.0, F64)],
    )
    return total


def looped_derivatives(x):
    a, b = x
    slope = 1 + 2 * a + 3 * a * a
    return [b * slope, 1 + a + a * a + a**3], [[b * (2 + 6 * a), slope], [slope, 0.0]]


def linear(x):
    return 3.0 * x[0] + x[1]


CASES = {
    "exponential": (exponential, exponential_derivatives, [0.5, -0.3, 1.4]),
    "chi2": (chi2, chi2_derivatives, [0.2, 1.1]),
    "complex": (phase, phase_derivatives, [0.7, 0.4]),
    "loop": (looped, looped_derivatives, [0.8, -1.5]),
    "linear": (linear, lambda x: ([3.0, 1.0], np.zeros((2, 2))), [1.0, 0.0]),
}
CASE_PARAMS = [pytest.param(*case, id=name) for name, case in CASES.items()]


def close(found, exact, *, autograd, order=1):
    rtol, atol = (1e-12, 1e-12) if autograd else {1: (1e-9, 1e-9), 2: (1e-7, 1e-7)}[order]
    np.testing.assert_allclose(found, exact, rtol=rtol, atol=atol)


@pytest.mark.parametrize("autograd", [True, False], ids=["automatic", "numerical"])
@pytest.mark.parametrize(("f", "exact", "point"), CASE_PARAMS)
def test_eagerly(f, exact, point, autograd):
    x = np.array(point)
    value, gradient, hessian = zrun.value_gradient_hessian(f, x, autograd=autograd)
    close(value, f(x), autograd=True)
    close(gradient, exact(x)[0], autograd=autograd)
    close(hessian, exact(x)[1], autograd=autograd, order=2)
    close(zrun.gradient(f, x, autograd=autograd), exact(x)[0], autograd=autograd)


@pytest.mark.parametrize("autograd", [True, False], ids=["automatic", "numerical"])
def test_in_a_graph(autograd):
    f, exact, point = CASES["exponential" if autograd is False else "loop"]

    @tf.function
    def compute(x):
        return zrun.value_gradient_hessian(f, x, autograd=autograd)

    # A second point, to see that the graph computes and does not remember.
    for shift in (0.0, 0.25):
        x = np.array(point) + shift
        value, gradient, hessian = compute(tf.constant(x))
        close(value, f(x), autograd=True)
        close(gradient, exact(x)[0], autograd=autograd)
        close(hessian, exact(x)[1], autograd=autograd, order=2)
    assert compute.experimental_get_tracing_count() == 1


@pytest.mark.parametrize(
    "autograd", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["automatic", "numerical"]
)
def test_under_xla(autograd):
    # Check it with one variable that the function reads and one value that the graph is given.
    width = tf.Variable(0.5, dtype=F64)

    @tf.function(jit_compile=True)
    def compute(mean):
        def f(m, w):
            return tf.exp(m) * w**2 * width

        return zrun.value_gradient_hessian(f, [mean, width], autograd=autograd)

    for m, w in ((0.3, 0.5), (-0.7, 1.25)):
        width.assign(w)
        value, gradient, hessian = compute(tf.constant(m, F64))
        e = np.exp(m)
        close(value, e * w**3, autograd=True)
        close(gradient, [e * w**3, 3 * e * w**2], autograd=autograd)
        close(hessian, [[e * w**3, 3 * e * w**2], [3 * e * w**2, 6 * e * w]], autograd=autograd, order=2)
        assert width.numpy() == w


@pytest.mark.parametrize("jit_compile", [False, True])
def test_automatic_jacobian_in_a_graph(jit_compile):
    times = np.linspace(0.0, 1.0, 30)

    @tf.function(jit_compile=jit_compile)
    def compute(a, b):
        return zrun.jacobian(lambda a, b: a * tf.exp(-b * times), [a, b], autograd=True)

    by_a, by_b = compute(tf.constant(2.0, F64), tf.constant(0.5, F64))
    np.testing.assert_allclose(by_a, np.exp(-0.5 * times), rtol=1e-13)
    np.testing.assert_allclose(by_b, -2.0 * times * np.exp(-0.5 * times), rtol=1e-13)


@pytest.mark.parametrize("autograd", [True, False])
@pytest.mark.parametrize("shape", [(), (2,), (7,), (2, 3)])
@pytest.mark.parametrize("in_shape", [(), (3,), (2, 2)])
def test_a_jacobian_has_the_shape_of_the_value_plus_that_of_the_parameter(shape, in_shape, autograd):
    # Check both directions of automatic differentiation: more values than parameters, and fewer.
    x = np.linspace(0.5, 1.0, int(np.prod(in_shape))).reshape(in_shape)
    weights = np.arange(1.0, 1.0 + np.prod(shape)).reshape(shape)
    found = zrun.jacobian(lambda x: tf.sin(tf.reduce_sum(x)) * weights, x, autograd=autograd)
    exact = np.broadcast_to(np.cos(x.sum()) * weights.reshape(shape + (1,) * len(in_shape)), shape + in_shape)
    assert found.shape == shape + in_shape
    close(found, exact, autograd=autograd)


@pytest.mark.parametrize("in_graph", [False, True], ids=["eager", "graph"])
def test_a_jacobian_of_many_values_needs_no_square_of_them(in_graph):
    # Check that 10,000 residuals, whose square would take 800 MB, go through as many passes as there are parameters.
    data = np.linspace(-3.0, 3.0, 10_000)

    def compute(x):
        return zrun.jacobian(lambda x: tf.exp(-x[0] * data**2) * x[1], x, autograd=True)

    compute = tf.function(compute) if in_graph else compute
    found = compute(tf.constant([0.5, 2.0], F64)).numpy()
    bell = np.exp(-0.5 * data**2)
    np.testing.assert_allclose(found, np.stack([-2.0 * data**2 * bell, bell], axis=1), rtol=1e-12)


@pytest.mark.parametrize("autograd", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_of_the_parameter_is_kept(dtype, autograd):
    x = np.array([0.7, 1.3], dtype)
    value, gradient = zrun.value_and_gradient(lambda x: tf.reduce_sum(tf.sin(x)), x, autograd=autograd)
    assert value.dtype == gradient.dtype == tf.as_dtype(dtype)
    single = dtype == np.float32
    np.testing.assert_allclose(gradient, np.cos(x.astype(float)), rtol=1e-4 if single else 1e-10)
    matrix = zrun.hessian(lambda x: tf.reduce_sum(tf.sin(x)), x, autograd=autograd)
    assert matrix.dtype == tf.as_dtype(dtype)
    atol = 1e-2 if single else 1e-8
    np.testing.assert_allclose(matrix, np.diag(-np.sin(x.astype(float))), atol=atol)


def test_mixed_dtypes_give_each_gradient_its_own_and_the_hessian_the_widest():
    def f(a, b):
        return tf.cast(a, F64) ** 2 * b

    params = [tf.constant(1.5, tf.float32), tf.constant(2.0, F64)]
    for autograd in (True, False):
        _, gradient, hessian = zrun.value_gradient_hessian(f, params, autograd=autograd)
        assert [part.dtype for part in gradient] == [tf.float32, F64]
        assert hessian.dtype == F64
        np.testing.assert_allclose(hessian, [[4.0, 3.0], [3.0, 0.0]], atol=1e-6)


def test_hessian_of_several_parameters_is_over_their_elements_in_order():
    def f(a, b):
        return tf.reduce_sum(a**2) * b

    a, b = np.array([[1.0, 2.0], [3.0, 4.0]]), 5.0
    flat = a.ravel()
    exact = np.zeros((5, 5))
    exact[:4, :4] = 2 * b * np.eye(4)
    exact[:4, 4] = exact[4, :4] = 2 * flat
    for autograd in (True, False):
        hessian = zrun.hessian(f, {"a": a, "b": b}, autograd=autograd)
        close(hessian, exact, autograd=autograd, order=2)
        diagonal = zrun.hessian(f, {"a": a, "b": b}, autograd=autograd, diagonal=True)
        np.testing.assert_array_equal(diagonal, np.diag(hessian))


@pytest.mark.parametrize("autograd", [True, False])
def test_hessian_of_one_number_is_a_matrix(autograd):
    hessian = zrun.hessian(lambda x: x**3, 2.0, autograd=autograd)
    assert hessian.shape == (1, 1)
    close(hessian, [[12.0]], autograd=autograd, order=2)


@pytest.mark.parametrize("autograd", [True, False])
def test_hessian_vector_product(autograd):
    f, exact, point = CASES["exponential"]
    vector = np.array([1.0, -2.0, 0.5])
    found = zrun.hessian_vector_product(f, np.array(point), vector, autograd=autograd)
    close(found, np.array(exact(point)[1]) @ vector, autograd=autograd, order=2)
    parts = zrun.hessian_vector_product(
        lambda a, b: a[0] * a[1] * b,
        {"a": np.array([2.0, 3.0]), "b": 4.0},
        {"a": vector[:2], "b": 1.0},
        autograd=autograd,
    )
    close(parts["a"], [-2.0 * 4.0 + 3.0, 1.0 * 4.0 + 2.0], autograd=autograd, order=2)
    close(parts["b"], 3.0 * 1.0 + 2.0 * -2.0, autograd=autograd, order=2)


def test_error_estimates_come_in_the_structure_of_the_result():
    params = {"a": np.array([0.3, 0.4]), "b": 2.0}

    def f(a, b):
        return tf.reduce_sum(tf.exp(a)) * b

    gradient, error = zrun.gradient(f, params, autograd=False, return_error=True)
    for name, exact in {"a": 2.0 * np.exp(params["a"]), "b": np.exp(params["a"]).sum()}.items():
        assert error[name].shape == gradient[name].shape
        assert np.all(np.abs(gradient[name] - exact) <= error[name])
        assert np.all(error[name] < 1e-9)
    _, automatic = zrun.gradient(f, params, autograd=True, return_error=True)
    assert all((part.numpy() == 0.0).all() for part in automatic.values())
    matrix, matrix_error = zrun.hessian(f, params, autograd=False, return_error=True)
    assert matrix_error.shape == matrix.shape == (3, 3)
    assert np.all(np.abs(matrix - zrun.hessian(f, params, autograd=True)) <= matrix_error)
    assert len(zrun.value_gradient_hessian(f, params, autograd=False, return_error=True)) == 5


def test_a_parameter_that_is_looked_up_has_a_dense_gradient():
    table = tf.Variable(np.arange(1.0, 6.0), name="table")

    def f():
        return tf.reduce_sum(tf.gather(table, [0, 2]) ** 3)

    for autograd in (True, False):
        gradient, hessian = zrun.value_gradient_hessian(f, table, autograd=autograd)[1:]
        close(gradient, [3.0, 0.0, 27.0, 0.0, 0.0], autograd=autograd)
        close(hessian, np.diag([6.0, 0.0, 18.0, 0.0, 0.0]), autograd=autograd, order=2)


@pytest.mark.parametrize("in_graph", [False, True], ids=["eager", "graph"])
def test_automatic_derivatives_can_be_differentiated_again(in_graph):
    def second(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            slope = zrun.gradient(lambda x: tf.reduce_sum(x**4), x, autograd=True)
        return tape.gradient(slope, x)

    def third(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            trace = tf.linalg.trace(zrun.hessian(lambda x: tf.reduce_sum(x**4), x, autograd=True))
        return tape.gradient(trace, x)

    def through_jacobian(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            norm = tf.reduce_sum(zrun.jacobian(lambda x: tf.concat([x, x**2, x**3], 0), x, autograd=True) ** 2)
        return tape.gradient(norm, x)

    x = tf.constant([1.0, 2.0], F64)
    wrap = tf.function if in_graph else lambda function: function
    np.testing.assert_allclose(wrap(second)(x), [12.0, 48.0])
    np.testing.assert_allclose(wrap(third)(x), [24.0, 48.0])
    np.testing.assert_allclose(wrap(through_jacobian)(x), [8 * v + 36 * v**3 for v in (1.0, 2.0)])


@pytest.mark.parametrize("in_graph", [False, True], ids=["eager", "graph"])
def test_a_numerical_derivative_under_an_outer_tape_is_refused_only_if_differentiated(in_graph):
    mu = tf.Variable(0.5, dtype=F64, name="mu")

    def compute(*, differentiate):
        with tf.GradientTape() as tape:
            slope = zrun.gradient(lambda: tf.sin(mu), mu, autograd=False)
            result = mu**2 + (slope if differentiate else tf.stop_gradient(slope))
        return tape.gradient(result, mu)

    compute = tf.function(compute) if in_graph else compute
    np.testing.assert_allclose(compute(differentiate=False), 1.0)
    with pytest.raises(zrun.GradientError, match=r"to be differentiated by an outer tape.*zrun.hessian"):
        compute(differentiate=True)


def test_numpy_and_scipy_functions_have_numerical_derivatives():
    stats = pytest.importorskip("scipy.stats")
    data = np.array([1.0, 2.0, 3.5])
    seen = []

    def nll(mu, sigma):
        seen.append(type(mu))
        return -np.sum(stats.norm.logpdf(data, mu, sigma))

    gradient = zrun.gradient(nll, {"mu": 1.5, "sigma": 0.8}, autograd=False)
    pulls = (data - 1.5) / 0.8
    close(gradient["mu"], -pulls.sum() / 0.8, autograd=False)
    close(gradient["sigma"], (1 - pulls**2).sum() / 0.8, autograd=False)
    assert set(seen) == {np.float64}


@pytest.mark.parametrize("module", ["jacobi", "numdifftools", "scipy.differentiate"])
def test_numerical_derivatives_agree_with_other_libraries(module):
    other = pytest.importorskip(module)
    f, _, point = CASES["exponential"]
    x = np.array(point)
    found = zrun.gradient(f, x, autograd=False).numpy()

    def as_numpy(x):
        return f(tf.constant(x)).numpy()

    if module == "jacobi":
        theirs, their_error = other.jacobi(as_numpy, x)
        np.testing.assert_allclose(found, theirs, atol=5 * np.max(their_error) + 1e-9)
    elif module == "scipy.differentiate":

        def at_all(points):
            return np.apply_along_axis(as_numpy, 0, points)

        theirs = other.jacobian(at_all, x)
        np.testing.assert_allclose(found, theirs.df, rtol=1e-8, atol=5 * np.max(theirs.error))
        curved = other.hessian(at_all, x)
        matrix = zrun.hessian(f, x, autograd=False).numpy()
        np.testing.assert_allclose(matrix, curved.ddf, rtol=1e-6, atol=1e-6)
    else:
        np.testing.assert_allclose(found, other.Gradient(as_numpy)(x), rtol=1e-8)
        matrix = zrun.hessian(f, x, autograd=False).numpy()
        np.testing.assert_allclose(matrix, other.Hessian(as_numpy)(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("jit", [True, False])
def test_the_hessian_of_an_objective_goes_the_way_that_suits_what_becomes_of_its_graph(jit, monkeypatch):
    # A graph that is compiled after some calls is not traced again for that: it used to keep the way without XLA.
    taken = []
    for name in ("_row_by_row", "_in_one_sweep", "_forward"):
        way = getattr(_auto_second, name)
        monkeypatch.setattr(_auto_second, name, lambda *args, name=name, way=way: (taken.append(name), way(*args))[1])

    def loss(x):
        return exponential(x)

    at = np.array([0.3, 0.7, 1.1])
    with zrun.run.using(jit=jit):
        found = zrun.objective(loss, at).hessian(at)
    np.testing.assert_allclose(found, exponential_derivatives(at)[1], rtol=1e-12)
    assert taken == (["_row_by_row"] if jit else ["_forward"])
