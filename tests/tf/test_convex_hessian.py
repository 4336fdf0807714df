"""The Hessian that minimisers can take which need a positive definite one."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import zrun_tf as zrun
from zrun_tf._convex import made_positive


def bowl(a, b):
    return (a - 1.0) ** 2 + 3.0 * (b + 2.0) ** 2 + a * b


def hill(a, b):
    return -tf.exp(-(a * a + b * b) / 2.0)


def objective(loss, a, b):
    return zrun.objective(loss, {"a": a, "b": b})


def test_where_the_loss_is_convex_it_is_the_hessian():
    obj = objective(bowl, 0.0, 0.0)
    assert np.array_equal(obj.convex_hessian([0.3, 0.1]), obj.hessian([0.3, 0.1]))
    assert np.allclose(obj.convex_hessian([0.3, 0.1]), [[2.0, 1.0], [1.0, 6.0]])


@pytest.mark.parametrize("autograd", [True, False])
@pytest.mark.parametrize("graph", [True, False])
def test_elsewhere_it_is_positive_definite(graph, autograd):
    obj = objective(hill, 1.5, 1.8)
    with zrun.run.using(graph=graph, autograd=autograd):
        true, made = obj.hessian([1.5, 1.8]), obj.convex_hessian([1.5, 1.8])
    assert np.linalg.eigvalsh(true)[0] < 0.0
    assert np.linalg.eigvalsh(made)[0] > 0.0
    assert np.array_equal(made, made.T)


def test_the_sign_of_negative_eigenvalues_is_turned():
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    matrix = rotation @ np.diag([1.0, -2.0, 3.0]) @ rotation.T
    # Its diagonal is not one of ones, so the eigenvalues that are turned are those of the scaled matrix.
    scale = np.sqrt(np.abs(np.diagonal(matrix)))
    scaled = np.linalg.eigvalsh(made_positive(matrix) / np.outer(scale, scale))
    assert np.allclose(np.sort(scaled), np.sort(np.abs(np.linalg.eigvalsh(matrix / np.outer(scale, scale)))))


@pytest.mark.parametrize(
    "matrix",
    [
        np.zeros((2, 2)),
        np.array([[0.0, 1.0], [1.0, 0.0]]),
        np.array([[1e20, 0.0], [0.0, -1e-12]]),
        np.array([[1e-30, 2e-10], [2e-10, 1e8]]),
        np.ones((3, 3)),
        -np.eye(4),
        np.array([[-5.0]]),
    ],
)
def test_odd_matrices(matrix):
    made = made_positive(matrix)
    np.linalg.cholesky(made)
    assert made.shape == matrix.shape


def test_units_do_not_matter():
    matrix = np.array([[1.0, 0.2], [0.2, -3.0]])
    units = np.outer([1e8, 1e-6], [1e8, 1e-6])
    assert np.allclose(made_positive(matrix * units), made_positive(matrix) * units, rtol=1e-9)


@pytest.mark.parametrize("scale", [1.0, 1e-20])
def test_a_badly_scaled_positive_definite_matrix_is_left_as_it_is(scale):
    matrix = np.diag([1e15, 1e-15]) * scale
    assert made_positive(matrix) is matrix


def test_what_is_not_finite_stays_so():
    assert np.isnan(made_positive(np.array([[np.nan, 0.0], [0.0, 1.0]]))).any()


@pytest.mark.parametrize("limits", [None, [(-4.0, 4.0), (-5.0, 5.0)]])
@pytest.mark.parametrize("start", [(1.5, 1.8), (0.9, 3.0)])
def test_iminuit_takes_it_where_the_start_is_not_convex(start, limits):
    iminuit = pytest.importorskip("iminuit")
    obj = objective(hill, *start)
    fits = []
    for hessian in (False, obj.convex_hessian):
        minuit = iminuit.Minuit(obj, obj.x0, grad=obj.gradient, hessian=hessian)
        minuit.errordef = iminuit.Minuit.LIKELIHOOD
        if limits:
            minuit.limits = limits
        minuit.migrad()
        assert minuit.valid
        fits.append(minuit)
    assert np.allclose(fits[0].values, fits[1].values, atol=0.02)
    assert np.allclose(fits[0].errors, fits[1].errors, rtol=0.02)
    assert fits[1].nfcn < fits[0].nfcn
