"""Fault 4: an argument that is ignored."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import zrun_tf as zrun


@pytest.mark.parametrize("policy", [True, False])
@pytest.mark.parametrize("function", [zrun.gradient, zrun.value_and_gradient, zrun.jacobian, zrun.hessian])
def test_asking_for_numerical_derivatives_evaluates_differences(function, policy):
    # Asking for numerical gradients used to make no numerical evaluation at all.
    seen = []

    def loss(x):
        seen.append(float(x))
        return x**3

    with zrun.run.using(autograd=policy):
        function(loss, 2.0, autograd=False)
        assert len(set(seen)) == 7
        seen.clear()
        function(loss, 2.0, autograd=True)
        assert seen == [2.0]


def test_every_option_has_an_effect():
    x = np.array([1.0, 4.0])
    seen = []

    def loss(x):
        seen.append(np.array(x))
        return tf.reduce_sum(tf.sqrt(x))

    zrun.gradient(loss, x, autograd=False)
    assert np.min(seen, axis=0)[0] < 1.0
    seen.clear()
    zrun.gradient(loss, x, autograd=False, bounds=[(1.0, None), (None, None)])
    assert np.min(seen, axis=0)[0] == 1.0
    seen.clear()
    zrun.gradient(loss, x, autograd=False, scale=1e-3)
    assert np.abs(np.array(seen) - x).max() <= 1e-3
    assert len(zrun.gradient(loss, x, return_error=True)) == 2
    assert zrun.hessian(loss, x, diagonal=True).shape == (2,)
    assert zrun.gradient(lambda x: tf.constant(1.0), 2.0, unconnected="zero").numpy() == 0.0
