"""Derivatives through calls of graphs: tapes and accumulators see what they see of a `tf.function`."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import zrun_tf as zrun
from zrun_core.testing import count_traces

pytestmark = pytest.mark.usefixtures("path")

X = tf.constant([1.0, 2.0, 3.0])


def warm(function, *args):
    """Call it until the short way to its graph is known, without a tape."""
    function(*args), function(*args)
    return function


def cube():
    return warm(zrun.function(lambda x: x**3), X)


def test_a_persistent_tape_gives_several_gradients():
    f = cube()
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(X)
        y = f(X)
        z = y * y
    np.testing.assert_allclose(tape.gradient(y, X), [3, 12, 27])
    np.testing.assert_allclose(tape.gradient(z, X), [6, 192, 1458])


def test_nested_tapes_give_second_derivatives():
    f = cube()
    with tf.GradientTape() as outer:
        outer.watch(X)
        with tf.GradientTape() as inner:
            inner.watch(X)
            y = f(X)
        gradient = inner.gradient(y, X)
    np.testing.assert_allclose(outer.gradient(gradient, X), [6, 12, 18])


def test_three_nested_tapes():
    f = cube()
    with tf.GradientTape() as third:
        third.watch(X)
        with tf.GradientTape() as second:
            second.watch(X)
            with tf.GradientTape() as first:
                first.watch(X)
                y = f(X)
            gradient = first.gradient(y, X)
        curvature = second.gradient(gradient, X)
    np.testing.assert_allclose(third.gradient(curvature, X), [6, 6, 6])


def test_a_forward_accumulator():
    f = cube()
    with tf.autodiff.ForwardAccumulator(X, tf.ones_like(X)) as accumulator:
        y = f(X)
    np.testing.assert_allclose(accumulator.jvp(y), [3, 12, 27])


def test_a_tape_inside_a_forward_accumulator():
    f = cube()
    with tf.autodiff.ForwardAccumulator(X, tf.ones_like(X)) as accumulator:
        with tf.GradientTape() as tape:
            tape.watch(X)
            y = f(X)
        gradient = tape.gradient(y, X)
    np.testing.assert_allclose(accumulator.jvp(gradient), [6, 12, 18])


def test_where_recording_is_stopped_nothing_is_recorded():
    f = cube()
    with tf.GradientTape() as tape:
        tape.watch(X)
        with tape.stop_recording():
            y = f(X)
        z = f(X) * y
    # As if y were a constant.
    np.testing.assert_allclose(tape.gradient(z, X), [3, 96, 729])


def test_what_is_not_connected_is_none():
    v, w = tf.Variable(1.0), tf.Variable(2.0)
    f = warm(zrun.function(lambda x: v * x), X)
    with tf.GradientTape() as tape:
        y = f(X)
    assert [g if g is None else g.numpy() for g in tape.gradient(y, [v, w])] == [6.0, None]
    with tf.GradientTape() as tape:
        y = f(X)
    zero = tape.gradient(y, w, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    assert zero.numpy() == 0.0


def test_captured_variables_are_watched_where_they_are_trainable():
    v, w = tf.Variable(1.0), tf.Variable(2.0, trainable=False)
    f = warm(zrun.function(lambda x: v * w * x), X)
    with tf.GradientTape() as tape:
        f(X)
    assert [watched is v for watched in tape.watched_variables()] == [True]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        y = f(X)
    assert tape.watched_variables() == ()
    assert tape.gradient(y, v) is None


def test_variables_as_arguments_are_watched():
    u = tf.Variable(3.0)
    f = warm(zrun.function(lambda v, x: v * v * x), u, X)
    with tf.GradientTape() as tape:
        y = f(u, X)
    assert [watched is u for watched in tape.watched_variables()] == [True]
    assert tape.gradient(y, u).numpy() == 36.0


@pytest.mark.parametrize("first_under_a_tape", [True, False])
def test_one_graph_serves_calls_with_and_without_a_tape(first_under_a_tape):
    f = zrun.function(lambda x: x**3)
    with count_traces() as traces:
        for under_a_tape in (first_under_a_tape, not first_under_a_tape) * 2:
            if not under_a_tape:
                np.testing.assert_allclose(f(X), [1, 8, 27])
                continue
            with tf.GradientTape() as tape:
                tape.watch(X)
                y = f(X)
            np.testing.assert_allclose(tape.gradient(y, X), [3, 12, 27])
    assert traces.total == 1


def test_a_tape_inside_the_body():
    @zrun.function
    def slope(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = x**3
        return tape.gradient(y, x)

    np.testing.assert_allclose(warm(slope, X)(X), [3, 12, 27])
    with tf.GradientTape() as tape:
        tape.watch(X)
        y = slope(X)
    np.testing.assert_allclose(tape.gradient(y, X), [6, 12, 18])


def test_a_gradient_of_the_users_own():
    @tf.custom_gradient
    def square(x):
        return x * x, lambda upstream: 100.0 * upstream

    f = warm(zrun.function(lambda x: square(x)), X)
    with tf.GradientTape() as tape:
        tape.watch(X)
        y = f(X)
    np.testing.assert_allclose(tape.gradient(y, X), [100, 100, 100])


def test_through_two_functions_and_eager_code_between_them():
    f, g = cube(), warm(zrun.function(tf.sin), X)
    with tf.GradientTape() as tape:
        tape.watch(X)
        y = g(f(X) * 2.0)
    np.testing.assert_allclose(tape.gradient(y, X), 6 * X**2 * tf.cos(2 * X**3), rtol=1e-5)


def test_several_results_and_one_that_is_not_differentiable():
    f = warm(zrun.function(lambda x: {"value": x * x, "place": tf.argmax(x), "nothing": None}), X)
    with tf.GradientTape() as tape:
        tape.watch(X)
        result = f(X)
    np.testing.assert_allclose(tape.gradient(result["value"], X), [2, 4, 6])
    assert (result["place"].numpy(), result["nothing"]) == (2, None)


def test_a_jacobian_through_the_tape():
    f = cube()
    with tf.GradientTape() as tape:
        tape.watch(X)
        y = f(X)
    np.testing.assert_allclose(tape.jacobian(y, X), np.diag([3.0, 12.0, 27.0]))


def test_the_gradient_of_a_gather_is_indexed_slices():
    v = tf.Variable([1.0, 2.0, 3.0])
    f = warm(zrun.function(lambda i: tf.gather(v, i) ** 2), tf.constant([0, 2]))
    with tf.GradientTape() as tape:
        y = f(tf.constant([0, 2]))
    np.testing.assert_allclose(tf.convert_to_tensor(tape.gradient(y, v)), [2, 0, 6])
