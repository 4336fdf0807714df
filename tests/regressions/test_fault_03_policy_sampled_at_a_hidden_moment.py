"""Fault 3: a policy sampled at a hidden moment."""

from __future__ import annotations

import tensorflow as tf

import zrun_tf as zrun


def make_loss(calls):
    mu = tf.Variable(2.0, dtype=tf.float64)

    def loss():
        calls.append(1)
        return mu**2

    return loss, mu


def test_a_loss_made_before_the_policy_changed_follows_it():
    # A loss built before the change used to ignore it.
    calls = []
    loss, mu = make_loss(calls)
    zrun.gradient(loss, mu)
    assert len(calls) == 1
    zrun.run.set_mode(autograd=False)
    try:
        zrun.gradient(loss, mu)
        assert len(calls) == 1 + 7
    finally:
        zrun.run.set_mode_default()
    zrun.gradient(loss, mu)
    assert len(calls) == 1 + 7 + 1


def test_a_loss_made_inside_a_block_forgets_the_block():
    # A loss built inside used to keep numerical gradients after the block.
    calls = []
    with zrun.run.using(autograd=False):
        loss, mu = make_loss(calls)
        zrun.gradient(loss, mu)
    assert len(calls) == 7
    zrun.gradient(loss, mu)
    assert len(calls) == 8
