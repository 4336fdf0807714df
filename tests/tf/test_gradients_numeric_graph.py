"""Numerical derivatives inside a graph: one trace, the user's variables untouched, threads, second rounds."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from weakref import ref

import numpy as np
import pytest
import tensorflow as tf

import zrun_tf as zrun

F64 = tf.float64


def variable(value, name="v"):
    return tf.Variable(value, dtype=F64, name=name)


def test_variables_that_the_function_reads():
    # Check that the function is traced once, follows other variables, and leaves the parameters as they are.
    mean, width = variable(0.5, "mean"), variable([1.5, 2.0], "width")
    other = variable(3.0, "other")
    inner = tf.function(lambda: tf.sin(mean) * tf.reduce_sum(width**2))
    inner()
    traces = []

    def loss():
        traces.append(1)
        return inner() * other

    @tf.function
    def compute():
        return zrun.value_and_gradient(loss, [mean, width], autograd=False)

    for mean_value, other_value in ((0.5, 3.0), (1.0, -2.0)):
        mean.assign(mean_value)
        other.assign(other_value)
        value, (by_mean, by_width) = compute()
        squares = 1.5**2 + 2.0**2
        np.testing.assert_allclose(value, np.sin(mean_value) * squares * other_value)
        np.testing.assert_allclose(by_mean, np.cos(mean_value) * squares * other_value, rtol=1e-10)
        np.testing.assert_allclose(by_width, 2 * np.array([1.5, 2.0]) * np.sin(mean_value) * other_value, rtol=1e-10)
        assert mean.numpy() == mean_value
        assert width.numpy().tolist() == [1.5, 2.0]
    assert len(traces) == 1


def test_an_error_while_the_graph_runs_leaves_variables_alone():
    mu = variable(0.5, "mu")

    def loss():
        with tf.control_dependencies([tf.debugging.assert_less_equal(mu, F64.as_numpy_dtype(0.5))]):
            return mu**2

    compute = tf.function(lambda: zrun.gradient(loss, mu, autograd=False))
    with pytest.raises(tf.errors.InvalidArgumentError):
        compute()
    assert mu.numpy() == 0.5
    mu.assign(0.1)
    np.testing.assert_allclose(compute(), 0.2, rtol=1e-10)


def test_variables_as_arguments_of_the_graph():
    @tf.function
    def compute(v):
        return zrun.gradient(lambda: v**3, v, autograd=False)

    variables = [variable(value) for value in (1.0, 2.0)]
    for v in variables:
        np.testing.assert_allclose(compute(v), 3 * v.numpy() ** 2, rtol=1e-10)
    assert [v.numpy() for v in variables] == [1.0, 2.0]
    assert compute.experimental_get_tracing_count() == 1


def test_one_graph_in_many_threads():
    # Check that runs of one graph at the same time do not see each other's parameters.
    @tf.function
    def compute(v):
        return zrun.gradient(lambda: tf.exp(v), v, autograd=False)

    variables = [variable(0.1 * i) for i in range(8)]
    compute(variables[0])
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda v: float(compute(v)), variables * 5))
    np.testing.assert_allclose(found, np.exp([v.numpy() for v in variables] * 5), rtol=1e-10)


def test_private_variables_are_new_each_time():
    # Check the name on which this rests: two resources made under it are two variables.
    from zrun_tf.gradients._points import _ANONYMOUS

    @tf.function
    def compute():
        made = [tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=[], shared_name=_ANONYMOUS) for _ in range(2)]
        for value, resource in enumerate(made):
            tf.raw_ops.AssignVariableOp(resource=resource, value=float(value))
        return [tf.raw_ops.ReadVariableOp(resource=resource, dtype=tf.float32) for resource in made]

    assert [value.numpy() for value in compute()] == [0.0, 1.0]


@pytest.mark.parametrize("jit_compile", [False, True])
def test_it_is_known_whether_the_graph_is_for_xla(jit_compile):
    from zrun_tf.gradients._points import compiled_by_xla

    seen = []

    @tf.function(jit_compile=jit_compile)
    def compute():
        seen.append(compiled_by_xla())
        inner = tf.function(lambda: seen.append(compiled_by_xla()), autograph=False)
        inner.get_concrete_function()
        return tf.constant(1)

    compute()
    assert seen == [jit_compile] * 2


SECOND_ROUND = {
    "larger for one, smaller for another": (
        lambda x: 1.0 + x[0] * 1e-9 + tf.sin(1e9 * x[1]) + x[2] ** 2,
        [0.0, 0.0, 2.0],
        [1e-9, 1e9, 4.0],
    ),
    "not needed": (lambda x: tf.sin(x[0]) * x[1], [0.3, 2.0], [2.0 * np.cos(0.3), np.sin(0.3)]),
}


@pytest.mark.parametrize(("f", "point", "exact"), SECOND_ROUND.values(), ids=SECOND_ROUND)
def test_steps_are_searched_as_outside_of_a_graph(f, point, exact):
    x = np.array(point)
    eager, eager_error = zrun.gradient(f, x, autograd=False, return_error=True)
    compute = tf.function(lambda x: zrun.gradient(f, x, autograd=False, return_error=True))
    found, error = compute(tf.constant(x))
    np.testing.assert_allclose(found, exact, rtol=1e-6)
    np.testing.assert_allclose(found, eager, rtol=1e-9)
    np.testing.assert_allclose(error, eager_error, rtol=0.5)


def test_bounds_hold_in_a_graph():
    seen = []

    def in_python(x):
        seen.append(x.copy())
        return np.log(x[0]) * np.sqrt(x[1])

    def f(x):
        # A Python function sees the points even when the graph runs.
        return tf.numpy_function(in_python, [x], F64)

    bounds = [(1.0, None), (0.0, 4.0)]
    compute = tf.function(lambda x: zrun.hessian(f, x, autograd=False, bounds=bounds))
    found = compute(tf.constant([1.0, 4.0], F64))
    first, second = np.array(seen).T
    assert first.min() >= 1.0
    assert second.max() <= 4.0
    np.testing.assert_allclose(found, [[-2.0, 0.25], [0.25, 0.0]], atol=1e-5)
    in_graph = len(seen)
    seen.clear()
    zrun.hessian(lambda x: in_python(x.numpy()), tf.constant([1.0, 4.0], F64), autograd=False, bounds=bounds)
    assert in_graph <= len(seen) <= 1 + 2 * 12 + 6


def test_a_function_that_is_not_finite_gives_nan():
    compute = tf.function(lambda x: zrun.gradient(lambda x: tf.sqrt(x[0]) + x[1], x, autograd=False, return_error=True))
    found, error = compute(tf.constant([0.0, 1.0], F64))
    assert np.isnan(found[0])
    assert np.isinf(error[0])
    np.testing.assert_allclose(found[1], 1.0)


@pytest.mark.parametrize(
    ("f", "shape", "message"),
    [
        (lambda x: x[x > 0.0], [3], "shape of what it returns must be known"),
        (tf.reduce_sum, [None], "shape of params must be known"),
    ],
)
def test_shapes_must_be_known(f, shape, message):
    @tf.function(input_signature=[tf.TensorSpec(shape, F64)])
    def compute(x):
        return zrun.jacobian(f, x, autograd=False)

    with pytest.raises(zrun.GradientError, match=message):
        compute(tf.constant([1.0, 2.0, 3.0], F64))


def test_an_exception_while_tracing_passes_through():
    def loss(x):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        tf.function(lambda: zrun.gradient(loss, tf.constant(1.0), autograd=False), autograph=False)()


def test_a_dropped_graph_is_freed():
    # TensorFlow used to keep it, with the function in it, for the sake of the custom gradient of the result.
    def trace_and_drop():
        def function(x):
            return tf.sin(x) ** 2

        slope = tf.function(lambda x: zrun.gradient(function, x, autograd=False), autograph=False)
        return ref(slope.get_concrete_function(tf.TensorSpec([], F64)).graph)

    graphs = [trace_and_drop() for _ in range(5)]
    gc.collect()
    assert [graph() for graph in graphs] == [None] * 5
