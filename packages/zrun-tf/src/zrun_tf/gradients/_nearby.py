"""Derivatives from steps that are known already: one batch of points, and what checks the steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ._numeric import NumericHessian
from ._remembered import WIDER

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._remembered import Known
    from ._samples import Sampler

    Floats = NDArray[np.float64]

# How far the second derivative along a direction may be from the matrix, as a part of the matrix's entries.
_ALONG: Final = 1e-5


def at_steps(
    sampler: Sampler, known: Known, step: Floats, again: NDArray[np.intp]
) -> tuple[Floats, Floats, Floats, Floats] | None:
    """Central differences.

    Args:
        sampler: the function and its parameters.
        known: what is known of it.
        step: the steps, of shape `(n,)`.
        again: the parameters of which the bend is measured, at `WIDER` times the step.

    Returns:
        Slopes and curvatures of shape `(n, out)`; the bends that were measured, of shape `(len(again), out)`, and
        by how much noise may have changed them. None where the function is not finite, or returns another shape
        than before.
    """
    size = sampler.x.size
    moves = np.concatenate([np.diag(step), WIDER * np.diag(step)[again]])
    found = _around(sampler, known, moves)
    if found is None:
        return None
    plus, minus, moved = found
    gap = moved[np.arange(len(moved)), np.append(np.arange(size), again)][:, None]
    slopes = (plus - minus) / gap
    curvatures = 4.0 * (plus + minus - 2.0 * sampler.f0) / gap**2
    wide = (gap[size:] ** 2 - gap[again] ** 2) / 4.0
    measured = (slopes[size:] - slopes[again]) / wide
    unsure = 2.0 * known.noise * (1.0 / gap[size:] + 1.0 / gap[again]) / wide
    return slopes[:size], curvatures[:size], measured, unsure


def hessian_at(sampler: Sampler, known: Known) -> NumericHessian | None:
    """Second derivatives at the known steps; None where these do not hold.

    Mixed ones come from the two points where both parameters have moved the same way. Two more points, with all
    parameters moved, check that the matrix gives the second derivative along that direction.
    """
    size, step = sampler.x.size, known.step2
    one, other = np.triu_indices(size, 1)
    single = np.diag(step)
    found = _around(sampler, known, np.concatenate([single, single[one] + single[other], step[None, :]]))
    if found is None:
        return None
    plus, minus = (part[:, 0] for part in found[:2])
    # What the function gains in going to both sides, for which all that is odd cancels.
    even = plus + minus - 2.0 * sampler.f0[0]
    h = np.diag(found[2][:size]) / 2.0
    diagonal = even[:size] / h**2
    mixed = (even[size:-1] - even[one] - even[other]) / (2.0 * h[one] * h[other])
    hessian = np.diag(diagonal)
    hessian[one, other] = hessian[other, one] = mixed
    noise = 4.0 * known.noise[0] / np.outer(h, h)
    bent = known.bend2 * h**2
    error = noise + np.maximum(bent[:, None], bent[None, :])
    if size > 1:
        entries = np.outer(h, h) * hessian
        off = np.abs(even[-1] - entries.sum())
        if not off <= _ALONG * np.abs(entries).sum() + 4.0 * size * known.noise[0]:
            return None
    if not (np.abs(diagonal - known.curvature[:, 0]) <= known.steady[:, 0] + np.diag(error)).all():
        return None
    gradient = (plus - minus)[:size] / (2.0 * h) - known.bend[:, 0] * h**2
    return NumericHessian(
        hessian=hessian,
        error=error,
        value=float(sampler.f0[0]),
        gradient=gradient,
        gradient_error=known.noise[0] / h + np.abs(known.bend[:, 0]) * h**2,
        evaluations=sampler.evaluations,
    )


def _around(sampler: Sampler, known: Known, moves: Floats) -> tuple[Floats, Floats, Floats] | None:
    """The function where the parameters have moved forth and back, and the distances between the two."""
    forth, back = (sampler.rounded(sampler.x + sign * moves) for sign in (1.0, -1.0))
    values = sampler.values(np.concatenate([sampler.x[None, :], forth, back]))
    if sampler.out_shape != known.out_shape or not np.isfinite(values).all():
        return None
    sampler.f0 = values[0]
    plus, minus = np.split(values[1:], 2)
    return plus, minus, forth - back
