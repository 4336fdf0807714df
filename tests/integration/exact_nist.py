"""The models of NIST's problems in mpmath: residuals, their sum of squares, and the exact derivatives of both."""

from __future__ import annotations

from functools import cache
from types import FunctionType

import mpmath as mp
import numpy as np

from .test_nist import problem

DIGITS = 80
# Of each parameter: the truncation of a plain forward difference is of that order, far below what float64 holds.
STEP = "1e-25"


class _Mpmath:
    """The names of TensorFlow that the models use, for arrays of mpmath's numbers."""

    atan, cos, exp, sin = (np.frompyfunc(function, 1, 1) for function in (mp.atan, mp.cos, mp.exp, mp.sin))
    square = staticmethod(lambda x: x * x)


def _exactly(values):
    """Floats as mpmath's numbers, not rounded."""
    return np.vectorize(mp.mpf, otypes=[object])(np.asarray(values, np.float64))


@cache
def _residuals(name):
    it = problem(name)
    # The same formulas with other functions in them, so that there is no second copy to get wrong.
    model = FunctionType(it.model.__code__, {**it.model.__globals__, "tf": _Mpmath})
    x, y = _exactly(it.x), _exactly(it.y)
    return lambda parameters: model(x, *parameters) - y


def _moved(at, steps, *places):
    at = at.copy()
    for place in places:
        at[place] += steps[place]
    return at


def exact_first(name, at):
    """Derivatives of the residuals and of the sum of their squares.

    Returns:
        The Jacobian of shape `(m, n)`, the gradient of shape `(n,)`, the sum of the sizes of the terms that add up to
        the gradient, which at a minimum cancel, and the same with the data in place of the residuals, in which they
        cancelled before.
    """
    residuals = _residuals(name)
    with mp.workdps(DIGITS):
        at = _exactly(at)
        steps = mp.mpf(STEP) * at
        here = residuals(at)
        slopes = np.stack(
            [(residuals(_moved(at, steps, i)) - here) / step for i, step in enumerate(steps)],
            axis=1,
        )
        terms = 2 * here[:, None] * slopes
        sizes = (np.abs(terms), 2 * np.abs(_exactly(problem(name).y)[:, None] * slopes))
        found = (slopes, terms.sum(axis=0), *(size.sum(axis=0) for size in sizes))
        return tuple(part.astype(float) for part in found)


def exact_hessian(name, at):
    """Second derivatives of the sum of squares, of shape `(n, n)`."""
    residuals = _residuals(name)
    with mp.workdps(DIGITS):
        at = _exactly(at)
        steps = mp.mpf(STEP) * at

        def total(*places):
            values = residuals(_moved(at, steps, *places))
            return values @ values

        here, edges, found = total(), [total(i) for i in range(at.size)], np.empty((at.size, at.size))
        for i, j in zip(*np.tril_indices(at.size), strict=True):
            corner = total(i, j)
            found[i, j] = found[j, i] = (corner - edges[i] - edges[j] + here) / (steps[i] * steps[j])
        return found
