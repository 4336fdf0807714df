"""NumPy code in a TensorFlow model used to have no gradient, or a gradient of zero, without a word."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import zrun_tf as zrun

F64 = tf.float64
BLOCKS = {
    "numpy_function": (lambda x: zrun.numpy_function(np.sin, [x]), lambda x: tf.numpy_function(np.sin, [x], F64)),
    "py_function": (
        lambda x: zrun.py_function(lambda x: np.sin(x.numpy()), [x]),
        lambda x: tf.py_function(lambda x: np.sin(x.numpy()), [x], F64),
    ),
    "py_function of tensors": (lambda x: zrun.py_function(tf.sin, [x]), lambda x: tf.py_function(tf.sin, [x], F64)),
}


def derivatives(block, x):
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = block(x)
        first = tape.gradient(y, x)
    return first, None if first is None else outer.gradient(first, x)


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("way", [lambda f: f, tf.function], ids=["eager", "graph"])
def test_first_and_second_derivatives_exist_and_are_right(name, way):
    own, _ = BLOCKS[name]
    found = way(lambda x: derivatives(own, x))(tf.constant(0.7, F64))
    np.testing.assert_allclose(found, [np.cos(0.7), -np.sin(0.7)], rtol=1e-8)


def test_those_of_tensorflow_are_still_missing():
    # Should this ever fail, TensorFlow has learnt it, and the page about NumPy code in models wants changing.
    x = tf.constant(0.7, F64)
    assert derivatives(BLOCKS["numpy_function"][1], x) == (None, None)
    assert [float(part or 0.0) for part in derivatives(BLOCKS["py_function"][1], x)] == [0.0, 0.0]
    first, second = derivatives(BLOCKS["py_function of tensors"][1], x)
    np.testing.assert_allclose(first, np.cos(0.7))
    assert second is None
