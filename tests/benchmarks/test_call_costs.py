"""What a call costs beside a bare `tf.function`, on both dispatch paths, and a minimiser's step beside a usual one."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import zrun_tf as zrun
from zrun_tf import _dispatch

VARIABLES = [tf.Variable(float(i), dtype=tf.float64) for i in range(10)]
SCALAR = tf.constant(1.5, tf.float64)
VECTORS = [tf.constant(np.arange(10.0) + i) for i in range(3)]


def one(x):
    return x * 2.0 + 1.0


def several(a, b, c, d):
    return a * b + c * tf.cast(d, tf.float64)


def reading(x):
    return x + tf.add_n([v * v for v in VARIABLES])


CALLS = {
    "1 scalar tensor": (one, (SCALAR,)),
    "3 tensors and a float": (several, (*VECTORS, 0.5)),
    "reads 10 variables": (reading, (SCALAR,)),
}


@pytest.mark.parametrize("jit", [False, True], ids=["graph", "jit_compile"])
@pytest.mark.parametrize("path", ["direct", "public"])
@pytest.mark.parametrize("name", CALLS)
def test_one_call(compare, name, path, jit):
    body, arguments = CALLS[name]
    ours = zrun.function(jit_compile=jit)(body)
    bare = tf.function(body)
    peers = {"tf.function": lambda: bare(*arguments)}
    if jit:
        compiled = tf.function(body, jit_compile=True)
        peers["tf.function, jit_compile"] = lambda: compiled(*arguments)
    peers["eager"] = lambda: body(*arguments)

    def call():
        return ours(*arguments)

    assert np.allclose(call(), bare(*arguments))
    work = f"call: {name}{', jit_compile' if jit else ''}{', public path' if path == 'public' else ''}"
    if path == "public":
        with _dispatch.hidden():
            compare(work, call, peers, number=100, rounds=15)
    else:
        compare(work, call, peers, number=100, rounds=15)


def cubic(parts):
    return tf.add_n([(v - 1.5) ** 2 * v for v in parts])


@tf.function
def _assigned():
    with tf.GradientTape() as tape:
        value = cubic(VARIABLES)
    return value, tape.gradient(value, VARIABLES)


def _usual(x):
    for variable, entry in zip(VARIABLES, x, strict=True):
        variable.assign(entry)
    value, gradients = _assigned()
    return float(value), np.array([float(g) for g in gradients])


@tf.function
def _of_vector(x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = cubic(tf.unstack(x))
    return value, tape.gradient(value, x)


def _vector(x):
    value, gradient = _of_vector(tf.constant(x))
    return float(value), gradient.numpy()


@pytest.mark.parametrize("jit", [False, True], ids=["graph", "jit_compile"])
@pytest.mark.parametrize("form", ["variables", "names", "vector"])
def test_a_minimisers_step(compare, form, jit):
    start = np.arange(10.0)
    objective = {
        "variables": lambda: zrun.objective(lambda: cubic(VARIABLES), VARIABLES),
        "names": lambda: zrun.objective(lambda **p: cubic(list(p.values())), {f"p{i}": float(i) for i in range(10)}),
        "vector": lambda: zrun.objective(lambda x: cubic(tf.unstack(x)), start),
    }[form]()
    # Another vector at each step, as in a minimisation.
    vectors = iter(np.random.default_rng(1).normal(size=(100_000, 10)))
    x = next(vectors)
    with zrun.run.using(jit=jit):
        for _ in range(20):
            objective.value_and_gradient(x + next(vectors))
        for got, expected in zip(objective.value_and_gradient(x), _usual(x), strict=True):
            assert np.allclose(got, expected)
        compare(
            f"value and gradient of 10 parameters ({form}{', jit' if jit else ''}), NumPy to NumPy",
            lambda: objective.value_and_gradient(next(vectors)),
            {
                "tf.function, 10 assigns": lambda: _usual(next(vectors)),
                "tf.function of a vector": lambda: _vector(next(vectors)),
            },
            number=50,
            rounds=15,
        )
