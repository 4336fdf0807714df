"""One tensor in several places is several parameters."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import zrun_tf as zrun


@pytest.mark.parametrize("autograd", [True, False])
@pytest.mark.parametrize("graph", [True, False])
def test_each_parameter_has_its_own_derivative(autograd, graph):
    # The same tensor given twice used to get the sum of both derivatives, automatically, and each its own, numerically.
    a = tf.constant(2.0, tf.float64)

    def derivatives():
        return (
            zrun.gradient(lambda p, q: p**2 * q, [a, a], autograd=autograd),
            zrun.gradient(lambda q: q**2 * a, a, autograd=autograd),
            zrun.hessian(lambda p, q: p**2 * q, [a, a], autograd=autograd),
        )

    found = zrun.function(derivatives)() if graph else derivatives()
    np.testing.assert_allclose(np.stack(found[0]), [8.0, 4.0], rtol=1e-8)
    np.testing.assert_allclose(found[1], 8.0, rtol=1e-8)
    np.testing.assert_allclose(found[2], [[4.0, 4.0], [4.0, 0.0]], rtol=1e-6, atol=1e-6)
