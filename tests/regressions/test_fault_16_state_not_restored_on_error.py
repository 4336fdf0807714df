"""Fault 16: state that was changed and not restored on an error."""

from __future__ import annotations

import pytest
import tensorflow as tf

import zrun_tf as zrun


@pytest.mark.parametrize("in_graph", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize("derivative", [zrun.gradient, zrun.hessian])
def test_a_failing_function_leaves_its_parameter_as_it_was(derivative, in_graph):
    # A failing function used to leave the parameter at 1.1 instead of 1.0 after a numerical gradient.
    mu = tf.Variable(1.0, dtype=tf.float64)

    def loss():
        with tf.control_dependencies([tf.debugging.assert_less(mu, tf.constant(1.01, tf.float64))]):
            return mu**2

    def compute():
        return derivative(loss, mu, autograd=False)

    with pytest.raises(tf.errors.InvalidArgumentError):
        (tf.function(compute) if in_graph else compute)()
    assert mu.numpy() == 1.0
