"""One least-squares fit through `zrun.objective` and SciPy, compared with what NIST certifies."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from scipy.optimize import least_squares

import zrun_tf as zrun
from zrun_core.testing import count_traces

from ._strd import agreeing_digits

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._nist import Problem
    from ._strd import Vector

TARGET_DIGITS = {True: 7.0, False: 5.0}

# The smallest tolerance SciPy takes: stop only where float64 shows no further change.
_TOLERANCE = float(np.finfo(np.float64).eps)
_POLISHING_STEPS = 30
_POLISHED = 1e-10


@dataclass(frozen=True)
class Way:
    """One way of running the same fit."""

    graph: bool
    autograd: bool

    @property
    def label(self) -> str:
        """The way in words, for example `"graph, autograd"`."""
        return f"{'graph' if self.graph else 'eager'}, {'autograd' if self.autograd else 'numerical'}"

    @property
    def target(self) -> float:
        """How many digits a fit must agree to, in every parameter."""
        return TARGET_DIGITS[self.autograd]


WAYS = tuple(Way(graph, autograd) for graph in (True, False) for autograd in (True, False))


@dataclass(frozen=True, eq=False)
class Fit:
    """The result of one fit.

    Attributes:
        values: fitted parameters, shape `(n,)`.
        errors: their standard errors, shape `(n,)`.
        rss: residual sum of squares.
        digits: agreeing digits of each parameter, shape `(n,)`.
        error_digits: agreeing digits of each standard error, shape `(n,)`.
        value_calls: how often residuals were asked for.
        jacobian_calls: how often their Jacobian was asked for.
        evaluations: how often all residuals were computed, with their derivatives or without.
        traces: how many graphs were built.
        seconds: wall time.
    """

    values: Vector
    errors: Vector
    rss: float
    digits: Vector
    error_digits: Vector
    value_calls: int
    jacobian_calls: int
    evaluations: int
    traces: int
    seconds: float

    @property
    def worst_digits(self) -> float:
        """Agreeing digits of the parameter that agrees least."""
        return float(self.digits.min())


class _Counted:
    """A function that counts its calls."""

    def __init__(self, function: Callable[[Vector], Vector]) -> None:
        self.function = function
        self.calls = 0

    def __call__(self, x: Vector) -> Vector:
        self.calls += 1
        return self.function(x)


def make_objective(problem: Problem) -> Any:
    """Make the vector of residuals of a problem, a function of its parameters, for SciPy.

    Args:
        problem: the problem.

    Returns:
        An objective with `value` and `jacobian`.
    """

    def residuals(parameters: Any, x: Any, y: Any) -> Any:
        return problem.model(x, *tf.unstack(parameters)) - y

    return zrun.objective(residuals, problem.starts[0], x=problem.x, y=problem.y)


def fit(problem: Problem, way: Way, *, start: int = 2, objective: Any = None, method: str = "trf") -> Fit:
    """Fit a problem from one of NIST's starting points.

    Scope: the policy is set for the length of the call, in the current context only.

    Args:
        problem: the problem.
        way: graph or eager, automatic or numerical derivatives.
        start: 1 or 2, which of NIST's starting points.
        objective: an objective from `make_objective(problem)` to use again; None: a new one.
        method: the method of `scipy.optimize.least_squares`.

    Returns:
        The fit.
    """
    objective = make_objective(problem) if objective is None else objective
    value, jacobian = _Counted(objective.value), _Counted(objective.jacobian)
    before = objective.evaluations.copy()
    began = time.perf_counter()
    # A trial point far away may overflow in SciPy's sums of squares; SciPy rejects that step by itself.
    with (
        zrun.run.using(graph=way.graph, autograd=way.autograd),
        count_traces() as traces,
        np.errstate(over="ignore", invalid="ignore"),
    ):
        found = least_squares(
            value,
            problem.starts[start - 1],
            jac=jacobian,
            method=method,
            x_scale="jac",
            xtol=_TOLERANCE,
            ftol=_TOLERANCE,
            gtol=_TOLERANCE,
            max_nfev=5000,
        )
        values, residuals, slopes = polish(value, jacobian, found.x)
    seconds = time.perf_counter() - began
    errors = standard_errors(residuals, slopes)
    made = objective.evaluations - before
    return Fit(
        values=values,
        errors=errors,
        rss=float(residuals @ residuals),
        digits=agreeing_digits(values, problem.certified),
        error_digits=agreeing_digits(errors, problem.certified_errors),
        value_calls=value.calls,
        jacobian_calls=jacobian.calls,
        evaluations=made["value"] + made["jacobian" if way.autograd else "points"],
        traces=traces.total,
        seconds=seconds,
    )


def polish(
    value: Callable[[Vector], Vector], jacobian: Callable[[Vector], Vector], x: Vector
) -> tuple[Vector, Vector, Vector]:
    """Take Gauss-Newton steps from a minimum for as long as they shrink.

    A minimiser stops where the sum of squares no longer changes. Near its minimum that is a relative change of 1e-16,
    which pins the parameters to 1e-8 of their standard errors and no better. The gradient vanishes linearly there, so
    that steps taken from it reach the digits that the sum cannot show.

    Args:
        value: residuals at a point, shape `(m,)`.
        jacobian: their derivatives, shape `(m, n)`.
        x: the minimum that a minimiser found, shape `(n,)`.

    Returns:
        The polished point, with the residuals and the Jacobian there.
    """
    residuals, slopes = value(x), jacobian(x)
    last = np.inf
    for _ in range(_POLISHING_STEPS):
        scale = _column_scale(slopes)
        step = np.linalg.lstsq(slopes / scale, -residuals, rcond=None)[0] / scale
        size = float(np.linalg.norm(step * scale))
        # Steps that no longer shrink are rounding, or a minimum so curved that Gauss-Newton does not converge to it.
        if not size < 0.9 * last:
            break
        last = size
        trial = x + step
        trial_residuals, trial_slopes = value(trial), jacobian(trial)
        if not (np.isfinite(trial_residuals).all() and np.isfinite(trial_slopes).all()):
            break
        x, residuals, slopes = trial, trial_residuals, trial_slopes
        if np.all(np.abs(step) <= _POLISHED * np.abs(x)):
            break
    return x, residuals, slopes


def standard_errors(residuals: Vector, slopes: Vector) -> Vector:
    """Return the standard errors of a least-squares fit, from `s^2 (J^T J)^-1`.

    Args:
        residuals: residuals at the minimum, shape `(m,)`.
        slopes: their Jacobian `J` there, shape `(m, n)` with `m > n`.

    Returns:
        Square roots of the diagonal, shape `(n,)`; `s^2` is the sum of squares over `m - n`.
    """
    m, n = slopes.shape
    scale = _column_scale(slopes)
    # Through R of the scaled Jacobian: forming J^T J would square a condition number that is 1e10 in some problems.
    inverse = np.linalg.pinv(np.linalg.qr(slopes / scale, mode="r"))
    errors: Vector = np.sqrt(residuals @ residuals / (m - n)) * np.linalg.norm(inverse, axis=1) / scale
    return errors


def _column_scale(slopes: Vector) -> Vector:
    lengths: Vector = np.linalg.norm(slopes, axis=0)
    lengths[lengths == 0] = 1.0
    return lengths
