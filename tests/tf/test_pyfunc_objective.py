"""Objectives with NumPy code inside."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import zrun_tf as zrun

F64 = tf.float64
X = np.linspace(0.0, 3.0, 20)


def squares(x, mu):
    return (x - mu) ** 2


@pytest.mark.parametrize("graph", [True, False])
@pytest.mark.parametrize("autograd", [True, False])
def test_all_derivatives_under_all_policies(graph, autograd):
    loss = lambda mu, data: tf.reduce_sum(zrun.numpy_function(squares, [data, mu]))  # noqa: E731
    objective = zrun.objective(loss, {"mu": 1.0}, data=X)
    with zrun.run.using(graph=graph, autograd=autograd):
        np.testing.assert_allclose(objective.value([2.0]), ((X - 2.0) ** 2).sum())
        np.testing.assert_allclose(objective.gradient([2.0]), [-2 * (X - 2.0).sum()], rtol=1e-9)
        np.testing.assert_allclose(objective.hessian([2.0]), [[2.0 * X.size]], rtol=1e-6)


def test_a_loss_that_reads_variables_runs_as_a_graph():
    mu = tf.Variable(1.0, dtype=F64, name="mu")

    def loss():
        return tf.reduce_sum(zrun.numpy_function(squares, [X, mu]))

    objective = zrun.objective(loss, [mu])
    # A warning, which is an error here, would say that it runs eagerly.
    np.testing.assert_allclose(objective.gradient([2.0]), [-2 * (X - 2.0).sum()], rtol=1e-9)
    np.testing.assert_allclose(objective.hessian([2.0]), [[2.0 * X.size]], rtol=1e-6)
    assert float(mu) == 1.0
    rows = [row for row in zrun.run.cache_info().rows if row.function.endswith("loss (gradient)") and row.graphs]
    assert rows


def test_a_parameter_that_is_read_on_the_side_is_an_error_and_not_a_wrong_fit():
    mu = tf.Variable(1.0, dtype=F64, name="mu")
    objective = zrun.objective(lambda: tf.reduce_sum(zrun.numpy_function(lambda x: x * mu.numpy(), [X])), [mu])
    with pytest.raises(zrun.PythonFunctionError, match="reads the parameter mu on its own"):
        objective.value([2.0])
