"""What a ladder of steps tells about a function, for derivatives at points nearby."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from ._arrays import NumpyArrays
from ._extrapolate import RATIO
from ._stencil import Offsets, differences

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._extrapolate import Derivative
    from ._samples import Sampler, Samples

    Floats = NDArray[np.float64]

WIDER: Final = 3.0
"""A bend shows in the difference between a step and this many times it."""

TRUST: Final = 0.1
"""By how much, relatively, what is remembered may have changed at a point nearby."""

# A truncation error counts as measured where it is this many times the noise.
_VISIBLE: Final = 30.0
# Where two points promise neither this relative error nor one as small as the ladder's, four are taken; where these do
# not either, steps are not remembered.
_GOOD: Final = 5e-9
_AS_GOOD: Final = 3.0
# How far a parameter may move, as a part of the length on which its derivative changes.
_NEARBY: Final = 0.25
# The step of a mixed derivative is small enough for what the unmixed ones do not show: products such as x² y².
_MIXED: Final = RATIO**-3
_MIXED_ERROR: Final = 1e-8


class Known(NamedTuple):
    """What is remembered of a function of `n` parameters with `out` values.

    Attributes:
        x: where it was found, of shape `(n,)`.
        step: for first derivatives, of shape `(n,)`.
        double: for which parameters there are two steps, `step` and `WIDER` times it, of shape `(n,)`.
        bend: what a central difference is off by, per square of its step, of shape `(n, out)`.
        rest: what is left of that where two steps are taken, of shape `(n, out)`.
        curvature: second derivatives, of shape `(n, out)`.
        steady: by how much these may change before the steps are worth nothing, of shape `(n, out)`.
        reach: how far each parameter may move before, of shape `(n,)`.
        noise: error of a function value, of shape `(out,)`.
        step2: for second derivatives of a function with one value, of shape `(n,)`.
        bend2: what a second difference is off by, per square of its step, of shape `(n,)`.
        out_shape: the shape that the function returns.
    """

    x: Floats
    step: Floats
    double: NDArray[np.bool_]
    bend: Floats
    rest: Floats
    curvature: Floats
    steady: Floats
    reach: Floats
    noise: Floats
    step2: Floats
    bend2: Floats
    out_shape: tuple[int, ...]


def learn(sampler: Sampler, groups: list[Samples], first: Derivative, second: Derivative) -> Known | None:
    """What the samples of a ladder tell; None if its steps are not worth remembering.

    Args:
        sampler: the function and its parameters.
        groups: the samples, of all parameters together.
        first: the first derivatives from them, of shape `(n, out)`.
        second: the second derivatives.
    """
    if (sampler.plan.side != 0.0).any() or not (np.isfinite(first.value) & np.isfinite(second.value)).all():
        return None
    with np.errstate(all="ignore"):
        return _learn(sampler, groups, first, second)


def _learn(sampler: Sampler, groups: list[Samples], first: Derivative, second: Derivative) -> Known | None:
    size, rounding = sampler.x.size, 0.5 * sampler.eps * np.abs(sampler.f0)
    # Where few levels were needed, truncation shows in the noise: of the parameters, those with the least tell most.
    noise = np.maximum(np.quantile(first.noise, 0.25, axis=0), rounding)
    step, step2, step4, bend2 = (np.empty(size) for _ in range(4))
    bend, bend4, variation = (np.empty_like(first.value) for _ in range(3))
    for group in groups:
        which = group.which
        if not which.size:
            continue
        at = Offsets(*(part[:, :, None] for part in group.at))
        h = np.abs(group.at.a)
        least, most = np.where(group.at.wide, h, np.inf).min(axis=0), np.where(group.at.wide, h, 0.0).max(axis=0)
        slopes = differences(NumpyArrays, 1, sampler.f0, group.fa, group.fb, at)
        bend[which] = _bend(slopes, first, which, noise, h)
        best = np.cbrt(noise / (2.0 * TRUST * np.abs(bend[which])))
        step[which] = np.clip(np.median(np.where(np.isfinite(best), best, most[:, None]), axis=1), least / RATIO, most)
        bend4[which] = _bend4(slopes, first, which, noise, h)
        best = (noise / (4.0 * WIDER**2 * np.abs(bend4[which]))) ** 0.2
        step4[which] = np.clip(np.where(np.isfinite(best), best, np.inf).min(axis=1), least / RATIO, most / RATIO)
        top = sampler.plan.top[which]
        variation[which] = np.nanmax(np.where(slopes.usable & (h <= top)[:, :, None], slopes.variation, 0.0), axis=0)
        bends = differences(NumpyArrays, 2, sampler.f0, group.fa, group.fb, at)
        bent = np.abs(_bend(bends, second, which, noise, h)).max(axis=1)
        bend2[which] = bent
        curved = np.abs(second.value[which]).max(axis=1)
        widest = np.maximum(top * _MIXED, np.sqrt(4.0 * noise.max() / (_MIXED_ERROR * curved)))
        widest = np.where(np.isfinite(widest), np.minimum(widest, top), top)
        best2 = (4.0 * noise.max() / bent) ** 0.25
        step2[which] = np.clip(np.where(np.isfinite(best2), best2, widest), least, np.maximum(widest, least))
    wide = step[:, None]
    error = TRUST * np.abs(bend) * wide**2 + 2.0 * noise / wide
    # The slope is zero where a minimiser goes, and how much the function varies is not.
    enough = np.maximum(_GOOD * np.maximum(variation, np.abs(first.value)), _AS_GOOD * first.error)
    double = (error > enough).any(axis=1)
    rest = np.abs(bend4) * (WIDER * step4[:, None] ** 2) ** 2
    error = np.where(double[:, None], rest + 2.5 * noise / step4[:, None], error)
    length = np.sqrt(np.maximum(variation, np.abs(first.value)) / np.abs(bend))
    if not (error <= enough).all():
        return None
    return Known(
        x=sampler.x,
        step=np.where(double, step4, step),
        double=double,
        bend=bend,
        rest=rest,
        curvature=second.value,
        steady=0.5 * np.abs(second.value) + np.where(length > 0.0, variation / length, 0.0),
        reach=_NEARBY * np.where(np.isnan(length), np.inf, length).min(axis=1),
        noise=noise,
        step2=step2,
        bend2=bend2,
        out_shape=sampler.out_shape,
    )


def _bend(measured: Any, found: Derivative, which: NDArray[np.intp], noise: Floats, h: Floats) -> Floats:
    """By what plain differences are off, per square of the step."""
    off = measured.estimate - found.value[which]
    least = np.maximum(_VISIBLE * noise * measured.amplification, _AS_GOOD * found.error[which])
    return _smallest(off / h[:, :, None] ** 2, measured.usable & (np.abs(off) > least))


def _bend4(measured: Any, found: Derivative, which: NDArray[np.intp], noise: Floats, h: Floats) -> Floats:
    """By what differences without their leading error are off, per fourth power of the step."""
    large, small = measured.estimate[:-1], measured.estimate[1:]
    off = small + (small - large) / (RATIO**2 - 1.0) - found.value[which]
    least = np.maximum(_VISIBLE * noise * measured.amplification[1:], _AS_GOOD * found.error[which])
    seen = measured.usable[:-1] & measured.usable[1:] & (np.abs(off) > least)
    return _smallest(-(RATIO**2) * off / h[:-1, :, None] ** 4, seen)


def _smallest(bends: Floats, seen: NDArray[np.bool_]) -> Floats:
    """The bends at the smallest step where they can be seen, and 0 where none can."""
    last = len(seen) - 1 - np.argmax(seen[::-1], axis=0)
    return np.where(seen.any(axis=0), np.take_along_axis(bends, last[None], axis=0)[0], 0.0)
