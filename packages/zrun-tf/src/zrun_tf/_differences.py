"""Numerical derivatives of an objective, which come to an end also where the loss is not finite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._errors import GradientError
from ._problem import check_rank

if TYPE_CHECKING:
    from collections.abc import Callable

    from .gradients._memory import StepMemory

    Vector = np.ndarray[Any, np.dtype[np.float64]]


def by_differences(
    what: str,
    name: str,
    steps: StepMemory,
    evaluate: Callable[[Vector], Vector],
    x: Vector,
    value: Callable[[], Any],
) -> dict[str, Any]:
    """A derivative of a loss from its values, with what else comes with it.

    Args:
        what: `"gradient"`, `"jacobian"` or `"hessian"`.
        name: of the loss.
        steps: those of the calls before, which this one learns from and adds to.
        evaluate: the loss at points of shape `(k, n)`, as an array of shape `(k,)` or `(k, m)`.
        x: where, shape `(n,)`.
        value: the loss at `x`.

    Returns:
        Results by name, at least `"value"` and what was asked for. Where the value is not finite, so is no derivative:
        a minimiser that has stepped out of the loss's domain is to turn back, as it does with automatic derivatives.

    Raises:
        GradientError: the loss is finite at `x` but has no derivative, or returns a scalar for a vector or vice versa.
    """
    if what == "hessian":
        check_rank(what, name, np.ndim(value()))
    try:
        return _derivative(what, name, steps, evaluate, x)
    except GradientError:
        if np.isfinite(found := value()).all():
            raise
        check_rank(what, name, np.ndim(found))
        shape = (len(x), len(x)) if what == "hessian" else (*np.shape(found), len(x))
        return {"value": found, what: np.full(shape, np.nan)}


def _derivative(
    what: str, name: str, steps: StepMemory, evaluate: Callable[[Vector], Vector], x: Vector
) -> dict[str, Any]:
    if what == "hessian":
        return {"hessian": steps.hessian(evaluate, x).hessian}
    first = steps.jacobian(evaluate, x)
    check_rank(what, name, first.value.ndim)
    return {"value": float(first.value) if first.value.ndim == 0 else first.value, what: first.jacobian}
