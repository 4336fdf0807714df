"""A scan over objects that nobody can take apart, traced one by one, beside tracing alone."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest
import tensorflow as tf

import zrun_tf as zrun

X = tf.constant(1.5, tf.float64)


class Opaque:
    def __init__(self, seed):
        self.constant = np.random.default_rng(seed).normal(size=131_072)

    def total(self, x):
        return tf.reduce_sum(tf.sin(self.constant * x))

    @zrun.function
    def traced(self, x):
        return self.total(x)


@pytest.mark.filterwarnings("ignore::zrun_core.errors.RetraceWarning")
def test_a_new_object_at_each_step(compare):
    seeds = count()

    def trace_alone():
        one = Opaque(next(seeds))
        return tf.function(one.total, autograph=False).get_concrete_function(X)(X)

    assert np.isclose(float(Opaque(1).traced(X)), float(Opaque(1).total(X)))
    before = zrun.run.policy.retrace
    zrun.run.set_retrace_policy("allow")
    try:
        compare(
            "one object of a scan, with a constant of 1 MB, traced",
            lambda: Opaque(next(seeds)).traced(X),
            {"tracing alone, a fresh tf.function": trace_alone},
            number=5,
            rounds=11,
        )
    finally:
        zrun.run.set_retrace_policy(before)
