"""Errors from inside graphs: TensorFlow's own, with the user's message, and nothing left behind."""

from __future__ import annotations

import re
from contextlib import suppress

import numpy as np
import pytest
import tensorflow as tf

import zrun_tf as zrun
from zrun_core.testing import count_traces

pytestmark = pytest.mark.usefixtures("path")

X = tf.constant([1.0, 2.0, 3.0])


def asserted(x):
    with tf.control_dependencies([tf.debugging.Assert(x[0] > 0, ["the energy is", x])]):
        return x * 2


def positive(x):
    tf.debugging.assert_positive(x, message="an energy is positive")
    return x * 2


def finite(x):
    return tf.debugging.check_numerics(x / tf.maximum(x, 0.0), "a quotient")


def reshaped(x):
    return tf.reshape(x, tf.cast(x[:2], tf.int32) * 0 + 2 + tf.cast(x[0], tf.int32))


def large(x):
    # Not small, so that the usual executor runs it.
    return tf.reshape(tf.tile(x, [100_000]), tf.cast(x[:2], tf.int32) * 0 + 3)


BAD = tf.constant([-1.0, 2.0, 3.0])
CASES = {
    "Assert": (asserted, BAD, "the energy is"),
    "assert_positive": (positive, BAD, "an energy is positive"),
    "check_numerics": (finite, BAD, "a quotient"),
    "reshape": (reshaped, X, "Input to reshape is a tensor with 3 values"),
    "large reshape": (large, X, "Input to reshape is a tensor with 300000 values"),
}


def raised(function, argument):
    with pytest.raises(tf.errors.OpError) as caught:
        function(argument)
    return caught.value


@pytest.mark.parametrize(("body", "bad", "message"), CASES.values(), ids=CASES)
def test_the_error_is_that_of_a_tf_function_with_the_users_message(body, bad, message):
    function, reference = zrun.function(body), tf.function(body)
    for _ in range(3):
        got, expected = raised(function, bad), raised(reference, bad)
        assert type(got) is type(expected)
        assert got.error_code == expected.error_code
        assert message in str(got)
        # An exception that was being handled inside is not shown with it.
        assert got.__cause__ is None
        assert got.__context__ is None or got.__suppress_context__


@pytest.mark.parametrize("body", [asserted, reshaped, large])
def test_the_error_says_where_the_operation_stands(body):
    # The direct path used to leave TensorFlow's message as it came from the kernel.
    error = raised(zrun.function(body), BAD if body is asserted else X)
    assert re.search(r"Detected at node .* defined at", str(error))
    assert "function_node __inference" not in str(error).splitlines()[0]


@pytest.mark.parametrize("body", [asserted, positive, finite])
def test_after_an_error_the_graph_works_as_before(body):
    function = zrun.function(body)
    with count_traces() as traces:
        for _ in range(3):
            np.testing.assert_array_equal(function(X), body(X))
            raised(function, BAD)
        np.testing.assert_array_equal(function(X), body(X))
    assert traces.total == 1


def test_an_error_under_a_tape_leaves_the_tape_usable():
    function = zrun.function(positive)
    function(X)
    with tf.GradientTape() as tape:
        tape.watch(X)
        raised(function, BAD)
        y = function(X)
    np.testing.assert_allclose(tape.gradient(y, X), [2, 2, 2])


def test_what_was_assigned_before_the_error_stays_as_in_a_tf_function():
    def make():
        v = tf.Variable(0.0)

        def body(x):
            v.assign_add(1.0)
            positive(x)
            return v * 1.0

        return v, body

    (v, body), (w, reference) = make(), make()
    function, reference = zrun.function(body), tf.function(reference)
    for argument in (X, BAD, X, BAD):
        for call in (function, reference):
            with suppress(tf.errors.InvalidArgumentError):
                call(argument)
    assert v.numpy() == w.numpy() == 4.0


@pytest.mark.parametrize(
    ("body", "error"),
    [(lambda x, y: x + y, ValueError), (lambda x, y: x + tf.cast(y, tf.float64), TypeError), (tf.matmul, ValueError)],
)
def test_an_error_while_tracing_is_that_of_a_tf_function(body, error):
    function = zrun.function(body)
    arguments = tf.constant([1.0, 2.0]), tf.constant([1.0, 2.0, 3.0])
    for call in (tf.function(body), function, function):
        with pytest.raises(error):
            call(*arguments)
    assert not [row for row in zrun.run.cache_info().rows if row.function == function.owner.name and row.graphs]


def test_an_error_in_python_code_of_a_graph_tells_what_it_was():
    def broken(x):
        raise LookupError("no such parameter")

    function = zrun.function(lambda x: tf.py_function(broken, [x], tf.float32))
    for _ in range(2):
        assert "no such parameter" in str(raised(function, X))


def test_an_interrupt_passes_through():
    def interrupted(x):
        raise KeyboardInterrupt

    function = zrun.function(interrupted)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            function(X)
