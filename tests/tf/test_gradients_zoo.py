"""The NumPy engine on a zoo of functions, against exact derivatives; and whether its error estimates hold."""

from __future__ import annotations

import numpy as np
import pytest

from zrun_tf.gradients._memory import StepMemory
from zrun_tf.gradients._numeric import numeric_hessian, numeric_jacobian

from .derivative_zoo import SCALAR_CASES, SCALARS, VECTOR_CASES, VECTORS, exact_scalar, exact_vector

pytestmark = pytest.mark.any_policy

ROUNDING = 4e-16


def rows(function):
    """A function of one point as the engine calls it."""

    def evaluate(points):
        with np.errstate(all="ignore"):
            return np.array([float(function(point)) for point in points])

    return evaluate


def scalar(name):
    function = SCALARS[name][0]
    return rows(lambda point: function(point[0]))


def test_the_zoo_is_large():
    assert len(SCALARS) + len(VECTORS) >= 60


@pytest.mark.parametrize(("name", "at"), SCALAR_CASES)
def test_first_derivative(name, at):
    found = numeric_jacobian(scalar(name), [at])
    exact, value = exact_scalar(name, at, 1), float(found.value)
    # Where a function loses all but a few digits by cancellation within, so does its derivative.
    lost = 1e-5 if name == "expm1 written badly" else 0.0
    assert found.jacobian[0] == pytest.approx(exact, rel=1e-7 + lost, abs=1e-9 * abs(value) / max(abs(at), 1e-12))
    assert found.evaluations <= 1 + 6 + 6 + 24


@pytest.mark.parametrize(("name", "at"), SCALAR_CASES)
def test_second_derivative(name, at):
    found = numeric_hessian(scalar(name), [at], diagonal=True)
    exact = exact_scalar(name, at, 2)
    # Where rounding of the function's value is all there is to see, the estimate says so.
    assert found.hessian[0, 0] == pytest.approx(exact, rel=1e-5, abs=max(10 * found.error[0, 0], 1e-9))


@pytest.mark.parametrize(("name", "at"), VECTOR_CASES)
def test_gradient_and_hessian(name, at):
    gradient, hessian = exact_vector(name, at)
    found = numeric_hessian(rows(VECTORS[name][0]), at)
    least = 1e-9 * np.max(np.abs(gradient) + np.abs(np.diag(hessian) * at))
    np.testing.assert_allclose(found.gradient, gradient, rtol=1e-8, atol=least)
    scale = np.sqrt(np.abs(np.diag(hessian)) + 1e-300)
    # A function that is linear in each parameter has no scale on the diagonal.
    size = np.maximum(np.outer(scale, scale), np.abs(hessian))
    assert (np.abs(found.hessian - hessian) <= 1e-6 * size + 4 * found.error).all()


@pytest.mark.parametrize(("name", "at"), VECTOR_CASES)
def test_derivatives_from_remembered_steps(name, at):
    # Check that a call nearby uses two points per parameter and three, and has the accuracy of the first.
    memory = StepMemory([f"x{i}" for i in range(len(at))], name)
    evaluate = rows(VECTORS[name][0])
    memory.jacobian(evaluate, at)
    moved = tuple(np.array(at) * (1 + 1e-4 * np.cos(np.arange(len(at)))))
    again = memory.jacobian(evaluate, moved)
    gradient, hessian = exact_vector(name, moved)
    np.testing.assert_allclose(again.jacobian, gradient, rtol=1e-7, atol=1e-8 * np.abs(gradient).max())
    second = memory.hessian(evaluate, moved)
    scale = np.sqrt(np.abs(np.diag(hessian)) + 1e-300)
    size = np.maximum(np.outer(scale, scale), np.abs(hessian))
    assert (np.abs(second.hessian - hessian) <= 1e-5 * size + 4 * second.error).all()


@pytest.mark.parametrize("order", [1, 2])
def test_error_estimates_cover_the_error_and_are_not_far_off(order):
    covered, ratios = [], []
    for name, at in SCALAR_CASES:
        exact = exact_scalar(name, at, order)
        if order == 1:
            found = numeric_jacobian(scalar(name), [at])
            value, error = found.jacobian[0], found.error[0]
        else:
            second = numeric_hessian(scalar(name), [at], diagonal=True)
            value, error = second.hessian[0, 0], second.error[0, 0]
        # The exact value as a float, and the function's argument, are rounded too.
        rounding = ROUNDING * abs(exact)
        covered.append(abs(value - exact) <= error + rounding)
        if abs(value - exact) > 0.0 or rounding > 0.0:
            ratios.append((error + rounding) / max(abs(value - exact), rounding))
    assert np.mean(covered) >= 0.95
    assert np.median(ratios) < 30.0
