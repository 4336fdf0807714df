"""From differences at several steps to one derivative and its error: the formulas that both engines share.

Every array has the levels of the ladder of steps along axis 0, the largest step first; the other axes are free. `xp`
is the array library, as a class of `_arrays` or `_numeric_graph`, so that the two engines cannot drift apart.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

RATIO: Final = 8.0
"""Each step of the ladder is this many times smaller than the one before."""

ORDERS: Final = 3
"""How many terms of the truncation error are eliminated at most."""

# Found on a zoo of functions, where the estimates then cover the true error in 99 % of the cases.
_NOISE_FACTOR: Final = 3.0
_FEW: Final = 3.0
_NOISE_BAND: Final = 20.0
# Where the noise is known and not estimated; larger steps are tried then, which step over more.
_KNOWN_NOISE_BAND: Final = 4.0
_TRUNCATION_BAND: Final = 4.0
_NOISE_LEVELS: Final = 4
_ROUNDING_LIKE: Final = 30.0
# Powers of two by which the spacing of values is looked for above that of floats: up to 2³¹ times.
_SPACINGS: Final = (16, 8, 4, 2, 1)
# Of spacings still wider, the function's values are exact, as those of polynomials at round numbers are.
_CANCELLED: Final = (8.0, 4096.0)


class Differences(NamedTuple):
    """What was measured at each level.

    Attributes:
        estimate: the plain difference quotients.
        amplification: error of the quotient per error of a function value.
        magnitude: size of the function values that went into it.
        variation: size that the derivative would have if it made up all the change of the function over the step.
        gap: difference of the slopes on the two sides of the point, in proportion to the step for a smooth function.
        usable: whether the level can be used at all.
    """

    estimate: Any
    amplification: Any
    magnitude: Any
    variation: Any
    gap: Any
    usable: Any


class Derivative(NamedTuple):
    """The result of an extrapolation; no axis of levels.

    Attributes:
        value: the derivative; NaN where no level was usable.
        error: estimate of its absolute error.
        good: whether the error is small beside the derivative, or beside the variation of the function.
        rounding: whether it is rounding that limits the error, so that larger steps would help.
        last: the level of the smallest step that went into the value, as a float.
        noise: estimated error of a function value.
    """

    value: Any
    error: Any
    good: Any
    rounding: Any
    last: Any
    noise: Any


def extrapolate(
    xp: Any,
    measured: Differences,
    *,
    first: Any,
    step: Any,
    eps: float,
    tolerance: Any,
    quiet_tolerance: Any = None,
    searched_down: Any = False,
    noise: Any = None,
    apart: Any = 0.0,
    few_factor: Any = 1.0,
) -> Derivative:
    """Choose, per entry, the combination of levels with the smallest error estimate.

    Richardson extrapolation eliminates up to `ORDERS` terms of the truncation error. The error estimate of a
    combination has four parts: its distance to the best combination of one term less; the noise of the function
    values; its distance to the band in which the differences at all smaller steps agree; and the excess of `gap` that
    no smaller step is free of. The last two keep combinations out that agree with each other only because all of them
    step over what happens near the point.

    Args:
        xp: the array library.
        measured: the differences.
        first: exponent of the leading term of the truncation error.
        step: by how much the exponent grows from term to term.
        eps: relative rounding error of a function value.
        tolerance: relative error below which a value counts as good.
        quiet_tolerance: the same where there is no more noise than rounding makes; None: no other one.
        searched_down: whether the ladder was extended to smaller steps, so that its end shows noise and nothing else.
        noise: error of a function value: a number where it is known, an array where it was estimated before; None: it
            is estimated from the differences at the smallest steps.
        apart: the spacing of the function values, where it is known to show how they are rounded.
        few_factor: how many times the noise counts where it was seen in one difference only.
    """
    usable = measured.usable
    tableau = [xp.where(usable, measured.estimate, 0.0)]
    whole = [usable]
    for order in range(1, min(ORDERS, usable.shape[0] - 1) + 1):
        gain = 1.0 / (RATIO ** (first + (order - 1.0) * step) - 1.0)
        large, small = tableau[-1][:-1], tableau[-1][1:]
        tableau.append(small + (small - large) * gain)
        whole.append(usable[:-order] & usable[order:])

    rounding = 0.5 * eps * measured.magnitude
    band = _KNOWN_NOISE_BAND if isinstance(noise, float) else _NOISE_BAND
    if noise is None:
        noise = _noise(xp, tableau, measured, searched_down)
        scatter = xp.maximum(rounding, noise)
        like_rounding = scatter <= _ROUNDING_LIKE * rounding
    else:
        # What is known beforehand is a limit of the function, as rounding is: larger steps help.
        noise = xp.zeros_like(measured.estimate[0]) + noise
        scatter = xp.maximum(rounding, noise)
        like_rounding = scatter >= rounding
    if quiet_tolerance is not None:
        tolerance = xp.where(xp.any(usable & ~like_rounding, axis=0), tolerance, quiet_tolerance)
    scatter = scatter * measured.amplification
    around = scatter * band
    low, high = _band(xp, tableau[0], around, usable, first)
    excess = _excess(xp, measured.gap, around, usable)

    # All combinations in one axis: first each level by itself, then those of two, and so on.
    orders = range(len(tableau))
    counts = [column.shape[0] for column in tableau]
    value = xp.concatenate(tableau)
    known = xp.concatenate(whole)
    # Of so few levels, the noise is seen in one difference only, with truncation on top of it.
    few = xp.sum(xp.where(usable, 1.0, 0.0), axis=0) <= _FEW
    factor = xp.where(few, few_factor, _NOISE_FACTOR)
    noisy = factor * xp.concatenate([scatter[order:] for order in orders])
    # Half a spacing is the most by which a value can be rounded.
    spaced = 0.5 * apart * measured.amplification
    noisy = xp.maximum(noisy, xp.concatenate([spaced[order:] for order in orders]))
    like_rounding = xp.concatenate([like_rounding[order:] for order in orders])
    variation = xp.concatenate([measured.variation[:count] for count in counts])
    low = xp.concatenate([low, *(low[1 : count + 1] for count in counts[1:])])
    high = xp.concatenate([high, *(high[1 : count + 1] for count in counts[1:])])
    missing = [measured.variation, *(xp.abs(tableau[order] - tableau[order - 1][1:]) for order in orders[1:])]
    excess = xp.concatenate([excess[:count] for count in counts])
    error = xp.concatenate(missing) + noisy + xp.maximum(xp.maximum(low - value, value - high), 0.0) + excess
    error = xp.where(known & xp.isfinite(error), error, xp.inf)

    least = xp.min(error, axis=0)
    chosen = error == least
    share = xp.sum(xp.where(chosen, 1.0, 0.0), axis=0)
    found = xp.isfinite(least)
    picked = xp.where(found, xp.sum(xp.where(chosen, value, 0.0), axis=0) / share, xp.nan)
    size = xp.maximum(xp.abs(picked), xp.max(xp.where(chosen, variation, 0.0), axis=0))
    last = _numbered(xp, [level + order for order in orders for level in range(counts[order])], value)
    return Derivative(
        value=picked,
        error=least,
        good=found & (least <= tolerance * size),
        rounding=xp.any(chosen & like_rounding & (noisy >= 0.5 * error), axis=0),
        last=xp.min(xp.where(chosen, last, xp.inf), axis=0),
        noise=noise,
    )


def spacing(xp: Any, values: tuple[Any, ...], f0: Any, wide: Any, eps: float) -> Any:
    """The power of two of which all values of a function are multiples; 0 where that is about what rounding leaves.

    What is left of a cancellation has the spacing of the numbers that cancelled, and so their rounding: a residual is
    the difference of a model and a datum, both of which may be far larger. Differences rounded alike hide that.

    Args:
        xp: the array library.
        values: the function, with the levels along axis 0.
        f0: the function at the parameters.
        wide: which levels count.
        eps: relative rounding error of a function value.
    """
    known = [xp.where(wide & xp.isfinite(value), value, f0) for value in values]
    largest = xp.max(xp.stack([xp.max(xp.abs(value), axis=0) for value in known]), axis=0)
    least = found = eps * xp.exp2(xp.floor(xp.log2(xp.where(largest > 0.0, largest, 1.0))))

    def divides(trial: Any) -> Any:
        apart = [xp.any(xp.floor(value / trial) != value / trial, axis=0) for value in known]
        return ~(apart[0] | apart[1]) & (xp.floor(f0 / trial) == f0 / trial)

    for power in _SPACINGS:
        wider = found * 2.0**power
        found = xp.where(divides(wider), wider, found)
    fewest, most = (factor * least for factor in _CANCELLED)
    return xp.where((largest > 0.0) & (found >= fewest) & (found <= most), found, 0.0)


def _numbered(xp: Any, numbers: list[int], like: Any) -> Any:
    """These numbers along axis 0, to broadcast against `like`."""
    return xp.constant(np.reshape(np.array(numbers, np.float64), [-1] + [1] * (len(like.shape) - 1)))


def _band(xp: Any, estimate: Any, around: Any, usable: Any, first: Any) -> tuple[Any, Any]:
    """Per level, where this and all smaller steps say that the derivative lies."""
    truncation = _TRUNCATION_BAND * xp.abs(estimate[1:] - estimate[:-1]) / (RATIO**first - 1.0)
    width = around + xp.concatenate([xp.zeros_like(estimate[:1]) + xp.inf, truncation])
    low = xp.max_from_end(xp.where(usable, estimate - width, -xp.inf))
    high = -xp.max_from_end(xp.where(usable, -estimate - width, -xp.inf))
    return low, high


def _excess(xp: Any, gap: Any, around: Any, usable: Any) -> Any:
    """Per level, how far all smaller steps are from what a smooth function shows."""
    beyond = xp.maximum(gap[1:] - (2.0 / RATIO) * gap[:-1] - around[1:], 0.0)
    least = -xp.max_from_end(xp.where(usable[1:], -beyond, -xp.inf))
    return xp.concatenate([xp.where(xp.isfinite(least), least, 0.0), xp.zeros_like(gap[:1])])


def _noise(xp: Any, tableau: list[Any], measured: Differences, searched_down: Any) -> Any:
    """Error of a function value, from how much combinations of the smallest steps differ."""
    usable = measured.usable
    near_end = xp.sum_from_end(xp.where(usable, 1.0, 0.0)) <= _NOISE_LEVELS
    seen = []
    for order in (1, 2):
        if len(tableau) > order and tableau[order].shape[0] > 1:
            column = tableau[order]
            differs = xp.abs(column[1:] - column[:-1]) / measured.amplification[order + 1 :]
            counted = usable[: -order - 1] & usable[order + 1 :] & near_end[order + 1 :] & (differs > 0.0)
            seen.append(xp.where(counted, differs, xp.inf))
    ordered = xp.sort(xp.concatenate(seen), axis=0)
    known = xp.isfinite(ordered)
    # Without a search to smaller steps, truncation still shows in most of the differences; with one, noise does.
    rank = xp.floor(xp.sum(xp.where(known, 1.0, 0.0), axis=0) * xp.where(searched_down, 1.0 / 2, 1.0 / 6.0))
    index = _numbered(xp, list(range(ordered.shape[0])), ordered)
    return xp.sum(xp.where(known & (index == rank), ordered, 0.0), axis=0)
