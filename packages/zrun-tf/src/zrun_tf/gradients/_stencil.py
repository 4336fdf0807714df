"""Where a function is evaluated for a numerical derivative, and the differences made of its values.

The ladder of a parameter has steps `top`, `top / RATIO`, … . At each level the function is evaluated at two points that
differ from the parameters in that one parameter: at `+h` and `-h`, or, where a bound is too near, at `h` and `h / 2` on
the far side. Both engines share these formulas; see `_extrapolate` for `xp` and for the axis of levels.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from ._extrapolate import RATIO, Derivative, Differences, extrapolate, spacing

LEVELS: Final = 6
"""Levels of the ladder."""

FIRST: Final = {1: range(1, 4), 2: range(3)}
"""By the highest order: the levels that every parameter gets. The others follow where these are not enough.

Rounding counts once per step in a first derivative, and twice in a second one, which is best at larger steps.
"""

SEARCH: Final = 12
"""Levels that are added, up or down, where the ladder missed the scale on which the function varies."""

CROSS: Final = 3
"""Levels of a mixed second derivative."""

# By the order: how many times the noise counts that was seen in one difference only; found on the zoo. Of a first
# derivative, that difference has truncation on top of the noise.
_FEW_FACTOR: Final = {1: 1.0, 2: 4.0}

# The function varies on the scale of the parameter, as a rule; a parameter this small says nothing about a scale.
_START: Final = 0.125
_NO_SCALE: Final = 1e-14
# A central stencil may be this much narrower than the ladder asks for before a one-sided one is better.
_CENTRAL_ROOM: Final = RATIO**-3
# Steps below this many roundings of the parameter measure nothing.
_SPACINGS: Final = 8.0


def next_level(first: range, *, down: bool) -> int:
    """The level that follows the first ones: below them where `down`, else above them if there is any."""
    return first.stop if down or not first.start else first.start - 1


class Ladder(NamedTuple):
    """The ladders of all parameters, each of shape `(n,)`.

    Attributes:
        top: the largest step; 0 where the bounds leave no room.
        side: 0 for a central stencil, +1 or -1 for a one-sided one.
        room: how far from the parameter the function may be evaluated.
        spacing: the least step that is worth taking.
    """

    top: Any
    side: Any
    room: Any
    spacing: Any


class Offsets(NamedTuple):
    """Distances of the points from the parameters, of shape `(levels, n)`; `wide` marks the levels to evaluate."""

    a: Any
    b: Any
    wide: Any


def ladder(xp: Any, x: Any, low: Any, high: Any, scale: Any, resolution: Any) -> Ladder:
    """Plan the ladders.

    Args:
        xp: the array library.
        x: the parameters, of shape `(n,)`.
        low: lower bounds, of shape `(n,)`, `-inf` for none.
        high: upper bounds, likewise.
        scale: on what scale the function varies with each parameter, of shape `(n,)`; NaN: its absolute value.
        resolution: relative spacing of the numbers a parameter can take, of shape `(n,)`.
    """
    size = xp.abs(x)
    scale = xp.where(xp.isfinite(scale), scale, xp.where(size < _NO_SCALE, 1.0, size))
    wanted = _START * scale
    up, down = high - x, x - low
    near, far = xp.minimum(up, down), xp.maximum(up, down)
    central = near >= _CENTRAL_ROOM * wanted
    room = xp.where(central, near, far)
    most = xp.minimum(wanted, room)
    positive = most > 0.0
    # Powers of two: adding and subtracting such a step is exact, as a rule.
    top = xp.exp2(xp.floor(xp.log2(xp.where(positive, most, 1.0))))
    top = xp.where(top > most, 0.5 * top, top)
    side = xp.where(central, 0.0, xp.where(up >= down, 1.0, -1.0))
    return Ladder(xp.where(positive, top, 0.0), side, room, _SPACINGS * resolution * size)


def steps(xp: Any, plan: Ladder, searched: str | Any = "") -> Any:
    """The steps of the ladder, `(LEVELS, n)`; searched `"up"` or `"down"`, those that are added, `(SEARCH, n)`."""
    places = {
        "": np.arange(LEVELS),
        "up": np.arange(-SEARCH, 0),
        "down": np.arange(LEVELS, LEVELS + SEARCH),
    }[searched]
    return xp.constant(RATIO ** -places.astype(np.float64))[:, None] * plan.top[None, :]


def offsets(xp: Any, x: Any, plan: Ladder, h: Any, rounded: Any) -> Offsets:
    """Where the points of the steps `h`, of shape `(levels, n)`, come to lie.

    `rounded` turns parameters into the nearest ones that the function can be given.
    """
    a = xp.where(plan.side == 0.0, h, plan.side * h)
    b = xp.where(plan.side == 0.0, -h, 0.5 * plan.side * h)
    wide = (
        (h <= plan.room) & (0.5 * h >= plan.spacing) & (h > 0.0) & xp.isfinite(x + 2.0 * h) & xp.isfinite(x - 2.0 * h)
    )
    a = xp.where(wide, rounded(x + a) - x, h)
    b = xp.where(wide, rounded(x + b) - x, -h)
    return Offsets(a, b, wide & (a != b) & (a != 0.0) & (b != 0.0))


def differences(xp: Any, order: int, f0: Any, fa: Any, fb: Any, at: Offsets) -> Differences:
    """First or second difference quotients.

    Args:
        xp: the array library.
        order: of the derivative, 1 or 2.
        f0: the function at the parameters.
        fa: the function at the offsets `at.a`, with the levels along axis 0.
        fb: the function at the offsets `at.b`.
        at: the offsets, of a shape that broadcasts against `fa`.
    """
    a, b, _ = at
    da, db, usable = _changes(xp, (fa, fb), f0, at.wide)
    magnitude = xp.maximum(xp.maximum(xp.abs(f0 + da), xp.abs(f0 + db)), xp.abs(f0))
    slope = (xp.abs(da) + xp.abs(db)) / (2.0 * xp.abs(a))
    gap = xp.abs(da / a - db / b)
    if order == 1:
        # Products of steps would overflow or underflow where a parameter is near the ends of the floats.
        wa, wb = -(b / a) / (a - b), (a / b) / (a - b)
        amplification = xp.abs(wa) + xp.abs(wb) + xp.abs(wa + wb)
        return Differences(wa * da + wb * db, amplification, magnitude, slope, gap, usable)
    # Errors of the three values rarely add up to the worst, 4 / h²; found on the zoo, as in `_extrapolate`.
    amplification = 0.8 * (xp.abs(1.0 / a) + xp.abs(1.0 / b) + xp.abs(1.0 / a - 1.0 / b)) / xp.abs(a - b)
    curvature = 2.0 * (da / a - db / b) / (a - b)
    smooth = xp.zeros_like(gap)
    return Differences(curvature, amplification, magnitude, slope / xp.abs(a), smooth, usable)


def _changes(xp: Any, values: tuple[Any, ...], f0: Any, wide: Any) -> tuple[Any, ...]:
    """The changes from `f0`, and which levels count.

    No level counts that is wider than one with NaN or infinity, nor any so narrow that nothing changes there or below.
    """
    finite, moved = wide, wide & False
    for value in values:
        finite = finite & xp.isfinite(value)
        moved = moved | (wide & (value != f0))
    inside = xp.sum_from_end(xp.where(wide & ~finite, 1.0, 0.0)) == 0.0
    moving = xp.sum_from_end(xp.where(moved, 1.0, 0.0)) > 0.0
    usable = finite & inside & moving
    return (*(xp.where(usable, value - f0, 0.0) for value in values), usable)


def derive(
    xp: Any,
    orders: tuple[int, ...],
    f0: Any,
    fa: Any,
    fb: Any,
    at: Offsets,
    side: Any,
    *,
    eps: float,
    searched_down: Any = False,
    whole: Any = False,
    lenient: bool = False,
    noise: float | None = None,
) -> list[Derivative]:
    """Derivatives of these orders, 1 or 2, with their errors; see `differences` and `tolerance_of` for the arguments.

    Where the `whole` ladder has been evaluated, what would follow is a search, of many more points, which a function
    that is not noisy is spared. `lenient` spares all functions, and also the rest of the ladder.

    A function that gives one value at all points has the derivative 0, known as well as rounding at the largest step
    allows; likewise for `derive_mixed`.
    """
    # The orders are one more axis, next to that of the levels.
    each = [differences(xp, order, f0, fa, fb, at) for order in orders]
    measured = Differences(*(xp.stack(parts, axis=1) for parts in zip(*each, strict=True)))
    apart: Any = 0.0
    if searched_down is not False:
        # Steps that are not tiny may lead to exact values, which have wide spacings and no rounding.
        apart = xp.where(searched_down, spacing(xp, (fa, fb), f0, at.wide, eps), 0.0)
    step = xp.where(side == 0.0, 2.0, 1.0)
    first = xp.stack([xp.zeros_like(step) + 2.0 if order == 1 else step for order in orders])
    column = [-1] + [1] * len(side.shape)
    tolerance, quiet = (
        xp.constant(np.reshape([tolerance_of(order, eps, lenient=each) for order in orders], column))
        for each in (lenient, True)
    )
    found = extrapolate(
        xp,
        measured,
        first=first,
        step=step,
        eps=eps,
        tolerance=tolerance,
        quiet_tolerance=xp.where(whole, quiet, tolerance),
        searched_down=searched_down,
        noise=noise,
        apart=apart,
        few_factor=xp.constant(np.reshape([_FEW_FACTOR[order] for order in orders], column)),
    )
    still = ~xp.any(at.wide & ((fa != f0) | (fb != f0)), axis=0)
    areas = xp.stack([xp.abs(at.a) ** order for order in orders], axis=1)
    found = _or_still(xp, found, still, f0, at.wide[:, None], areas, eps=eps, tolerance=tolerance)
    return [Derivative(*(part[place] for part in found)) for place in range(len(orders))]


def _or_still(
    xp: Any, found: Derivative, still: Any, f0: Any, wide: Any, divisor: Any, *, eps: float, tolerance: Any
) -> Derivative:
    """Replace the derivative by 0 where the function gave one value at all points."""
    still = still & xp.any(wide, axis=0)
    reach = xp.max(xp.where(wide, divisor, 0.0), axis=0)
    reach = xp.where(reach > 0.0, reach, 1.0)
    return Derivative(
        value=xp.where(still, 0.0, found.value),
        error=xp.where(still, eps * xp.abs(f0) / reach, found.error),
        good=xp.where(still, eps <= tolerance * reach, found.good),
        rounding=still | found.rounding,
        last=xp.where(still, 0.0, found.last),
        noise=found.noise,
    )


def tolerance_of(order: int, eps: float, *, lenient: bool = False) -> float:
    """The relative error below which a derivative counts as good, and no further steps are tried.

    Args:
        order: of the derivative, 1 or 2.
        eps: relative rounding error of a function value.
        lenient: whether to be content with less, for fewer evaluations.
    """
    return float(eps ** ((0.5 if lenient else 0.6) if order == 1 else 0.45))


def derive_mixed(
    xp: Any,
    f0: Any,
    corner: tuple[Any, Any],
    edges: tuple[Any, ...],
    at: tuple[Offsets, Offsets],
    sides: Any,
    *,
    eps: float,
    noise: Any,
) -> Derivative:
    """Mixed second derivative with its error.

    Args:
        xp: the array library.
        f0: the function at the parameters.
        corner: the function where both parameters have moved, by their offsets `a` and by their offsets `b`.
        edges: the function where one has moved: the first by `a` and by `b`, the second by `a` and by `b`.
        at: the offsets of the two parameters.
        sides: how many of the two have a one-sided stencil.
        eps: relative rounding error of a function value.
        noise: error of a function value.
    """
    (ai, bi, wi), (aj, bj, wj) = at
    *changes, usable = _changes(xp, (*corner, *edges), f0, wi & wj)
    both_a, both_b, i_a, i_b, j_a, j_b = changes
    area_a, area_b = ai * aj, bi * bj
    # With two one-sided stencils the two corners lie in line with the point, and what is linear in the step cancels.
    wa, wb = xp.where(sides == 2.0, -1.0, 0.5) / area_a, xp.where(sides == 2.0, 2.0, 0.5) / area_b
    estimate = wa * (both_a - i_a - j_a) + wb * (both_b - i_b - j_b)
    size = xp.maximum(xp.abs(f0 + both_a), xp.abs(f0 + both_b))
    measured = Differences(
        estimate=estimate,
        amplification=4.0 * (xp.abs(wa) + xp.abs(wb)),
        magnitude=xp.maximum(size, xp.abs(f0)),
        variation=(xp.abs(both_a) + xp.abs(both_b)) / xp.abs(area_a),
        gap=xp.zeros_like(estimate),
        usable=usable,
    )
    first, step = xp.where(sides == 1.0, 1.0, 2.0), xp.where(sides == 0.0, 2.0, 1.0)
    tolerance = tolerance_of(2, eps)
    found = extrapolate(xp, measured, first=first, step=step, eps=eps, tolerance=tolerance, noise=noise)
    wide = wi & wj
    moved = wide & False
    for value in (*corner, *edges):
        moved = moved | (wide & (value != f0))
    still = ~xp.any(moved, axis=0)
    return _or_still(xp, found, still, f0, wide, xp.abs(area_a), eps=eps, tolerance=tolerance)
