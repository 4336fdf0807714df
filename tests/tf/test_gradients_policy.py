"""Which way derivatives are taken, and what is left behind."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf

import zrun_tf as zrun

F64 = tf.float64
FUNCTIONS = {
    "gradient": zrun.gradient,
    "value_and_gradient": zrun.value_and_gradient,
    "jacobian": zrun.jacobian,
    "hessian": zrun.hessian,
    "value_gradient_hessian": zrun.value_gradient_hessian,
}


def variable(value, name="mu"):
    return tf.Variable(value, dtype=F64, name=name)


def calls_of(function, **options):
    """How often a derivative calls its function: once if automatic, 7 times for one number if numerical."""
    calls = []

    def f(x):
        calls.append(1)
        return x**2

    function(f, 1.5, **options)
    return len(calls)


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_the_policy_decides_at_the_moment_of_the_call(function):
    assert calls_of(function) == 1
    with zrun.run.using(autograd=False):
        assert calls_of(function) == 7
        with zrun.run.using(autograd=True):
            assert calls_of(function) == 1
        assert calls_of(function) == 7
    assert calls_of(function) == 1


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_the_argument_goes_before_the_policy(function):
    assert calls_of(function, autograd=False) == 7
    with zrun.run.using(autograd=False):
        assert calls_of(function, autograd=True) == 1


def test_the_process_default_decides_too():
    zrun.run.set_mode(autograd=False)
    try:
        assert calls_of(zrun.gradient) == 7
    finally:
        zrun.run.set_mode(autograd=True)
    assert calls_of(zrun.gradient) == 1


def test_other_threads_keep_their_policy_unless_it_is_handed_over():
    with ThreadPoolExecutor(1) as pool, zrun.run.using(autograd=False):
        assert pool.submit(calls_of, zrun.gradient).result() == 1
        assert pool.submit(zrun.run.bind(calls_of), zrun.gradient).result() == 7


def test_a_plain_graph_keeps_the_way_it_was_built_with():
    calls = []

    def f(x):
        return tf.numpy_function(lambda x: (calls.append(1), x**2)[1], [x], F64)

    compute = tf.function(lambda x: zrun.gradient(f, x))
    with zrun.run.using(autograd=False):
        np.testing.assert_allclose(compute(tf.constant(3.0, F64)), 6.0)
    assert len(calls) == 7
    np.testing.assert_allclose(compute(tf.constant(4.0, F64)), 8.0)


def test_a_zrun_function_follows_the_policy():
    calls = []

    @zrun.function(kind="loss")
    def slope(x):
        return zrun.gradient(lambda x: tf.numpy_function(count, [x], F64) + x**3, x, unconnected="zero")

    def count(x):
        calls.append(1)
        return np.float64(0.0)

    for autograd, evaluations in ((True, 1), (False, 7), (True, 1), (False, 7)):
        calls.clear()
        with zrun.run.using(autograd=autograd):
            np.testing.assert_allclose(slope(tf.constant(2.0, F64)), 12.0)
        assert len(calls) == evaluations


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_the_policy_is_the_same_afterwards(function):
    before = zrun.run.policy
    calls_of(function, autograd=False)
    assert zrun.run.policy is before


class Stop(BaseException):
    """Neither an Exception nor anything TensorFlow knows."""


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, Stop])
@pytest.mark.parametrize("after", [0, 1, 7, 12])
@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_variables_are_restored_when_the_function_raises(function, after, error):
    mu, sigma = variable(0.1 + 0.2), variable([1.0, 1 / 3], "sigma")
    before = [mu.numpy().tobytes(), sigma.numpy().tobytes()]
    calls = []

    def loss():
        calls.append(1)
        if len(calls) > after:
            raise error("mine")
        return mu**2 * tf.reduce_sum(sigma)

    with pytest.raises(error, match="mine"):
        function(loss, [mu, sigma], autograd=False)
    assert len(calls) == after + 1
    assert [mu.numpy().tobytes(), sigma.numpy().tobytes()] == before


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
@pytest.mark.parametrize("autograd", [True, False])
def test_variables_are_the_same_afterwards(function, autograd):
    mu, sigma = variable(0.1 + 0.2), variable([1.0, 1 / 3], "sigma")
    single = tf.Variable(0.1, dtype=tf.float32)
    before = [mu.numpy().tobytes(), sigma.numpy().tobytes(), single.numpy().tobytes()]
    loss = lambda: mu**2 * tf.reduce_sum(sigma) * tf.cast(single, F64)  # noqa: E731
    function(loss, [mu, sigma, single], autograd=autograd)
    function(lambda a, b, c: a * tf.reduce_sum(b) * tf.cast(c, F64), [mu, sigma, single], autograd=autograd)
    assert [mu.numpy().tobytes(), sigma.numpy().tobytes(), single.numpy().tobytes()] == before


@pytest.mark.parametrize("autograd", [True, False])
@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_an_exception_of_the_function_passes_unchanged(function, autograd):
    error = KeyError("mine")

    def loss(x):
        raise error

    with pytest.raises(KeyError) as caught:
        function(loss, 1.0, autograd=autograd)
    assert caught.value is error


def test_different_shapes_at_different_parameters_are_refused():
    with pytest.raises(zrun.GradientError, match="returned different shapes"):
        zrun.jacobian(lambda x: np.ones(2 if x > 1.5 else 3), 1.5, autograd=False)
    mu = variable(1.5)
    with pytest.raises(zrun.GradientError, match="returned different shapes"):
        zrun.jacobian(lambda: tf.ones([2 if mu > 1.5 else 3], F64), mu, autograd=False)
    assert mu.numpy() == 1.5


def test_a_point_without_a_derivative_is_named():
    with pytest.raises(zrun.GradientError, match=r"<lambda> returned nan at the parameters themselves, params = 0.5"):
        zrun.gradient(lambda x: tf.math.log(x - 1.0), 0.5, autograd=False)
    with pytest.raises(zrun.GradientError, match=r"respect to params\['b'\]\[1\] is not available"):
        zrun.gradient(lambda a, b: a + tf.reduce_sum(tf.sqrt(b)), {"a": 1.0, "b": np.array([1.0, 0.0])}, autograd=False)
