"""A NumPy block with two inputs inside a model: its numerical derivative, beside that of the whole model."""

from __future__ import annotations

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

import zrun_tf as zrun  # noqa: E402

EVENTS = tf.constant(np.random.default_rng(1).normal(size=20_000))
calls = []


def block(x, mu, sigma):
    calls.append(1)
    return np.exp(-0.5 * ((x - mu) / sigma) ** 2) / sigma


def loss(vector):
    # The other parameters act through TensorFlow alone.
    weights = tf.linspace(tf.constant(0.1, tf.float64), 1.0, vector.shape[0] - 2)
    density = zrun.numpy_function(block, [EVENTS, vector[0], tf.exp(vector[1])], like=EVENTS)
    background = 1.0 + tf.reduce_sum((weights * vector[2:]) ** 2)
    return -tf.reduce_sum(tf.math.log(density + 0.1 * background))


def count(way, x):
    calls.clear()
    way(x)
    return len(calls)


def test_time_grows_with_the_inputs_of_the_block_and_not_with_the_parameters(compare):
    inside = tf.function(lambda x: zrun.gradient(loss, x, autograd=True), autograph=False)
    whole = tf.function(lambda x: zrun.gradient(loss, x, autograd=False), autograph=False)
    evaluations, ratios = {}, {}
    for size in (4, 30):
        x = tf.constant(np.linspace(0.1, 0.5, size))
        np.testing.assert_allclose(inside(x), whole(x), rtol=1e-6, atol=1e-6)
        evaluations[size] = count(inside, x), count(whole, x)
        work = f"gradient by {size} parameters, 2 of them through NumPy"
        ratios |= {
            size: compare(
                work, lambda x=x: inside(x), {"the whole numerically": lambda x=x: whole(x)}, number=1, rounds=7
            )
        }
    # The evaluations say it without a clock: the same for any number of parameters, against 12 for each.
    assert evaluations[4][0] == evaluations[30][0] == 26
    assert evaluations[30][1] >= 1 + 6 * 30
    assert ratios[30]["the whole numerically"] < ratios[4]["the whole numerically"]
