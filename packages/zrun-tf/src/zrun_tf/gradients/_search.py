"""The ladders of all parameters: evaluated, turned into derivatives, and extended where they missed the scale."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Final

import numpy as np

from ._arrays import NumpyArrays
from ._extrapolate import Derivative
from ._samples import Samples
from ._stencil import FIRST, LEVELS, SEARCH, Offsets, derive, next_level

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._samples import Sampler

# Entries of a level that are extrapolated at once: some 30 MB of temporary arrays.
_BLOCK: Final = 4096
# Noise this many times rounding is not told from truncation.
_QUIET: Final = 15.0
_KINDS: Final = (float, float, bool, bool, float, float)


def search(
    sampler: Sampler, orders: tuple[int, ...], *, frugal: bool = False
) -> tuple[list[Derivative], list[Samples]]:
    """Derivatives of these orders, of shape `(n, out)`, with more steps for the parameters that need them.

    Args:
        sampler: the function and its parameters.
        orders: 1, or 1 and 2.
        frugal: be content with a relative error of 1.5e-8 by the estimates, which is 1e-10 to 1e-9 in truth, where the
            noise shows at a quarter of the parameters; and try one more level before the whole ladder. It saves a third
            of the evaluations, and may take another batch.
    """
    size, levels = sampler.x.size, FIRST[max(orders)]
    groups = [sampler.first(levels)]
    found = _derive(sampler, orders, groups[0], lenient=frugal)
    lenient = frugal and _shows_noise(sampler, found[0])
    if frugal and not lenient:
        found = _derive(sampler, orders, groups[0])
    evaluated = np.isin(np.arange(LEVELS), levels)[:, None] & np.full(size, fill_value=True)
    for whole in (False, True) if frugal else (True,):
        missed, down = _missed(found)
        if not missed.any():
            return found, groups
        # One more level is at the end where it helps.
        place = np.where(down, next_level(levels, down=True), next_level(levels, down=False))
        due = ~evaluated & (whole | (np.arange(LEVELS)[:, None] == place)) & missed
        evaluated |= due
        group = sampler.more(_joined(groups), due)
        _improve(found, group, _derive(sampler, orders, group, whole=whole, lenient=lenient))
        groups = [*(each.only(~missed[each.which]) for each in groups), group]
    missed, down = _missed(found)
    if not missed.any():
        return found, groups
    searched = sampler.search(_joined(groups), missed & ~down, down)
    for group, searched_down in zip(searched, (False, True), strict=True):
        if group.which.size:
            more = _derive(sampler, orders, group, searched_down=searched_down, lenient=lenient)
            _improve(found, group, more, searched_up=not searched_down)
    return found, [*(each.only(~missed[each.which]) for each in groups), *searched]


def _joined(groups: list[Samples]) -> Samples:
    """The samples of all parameters, in order."""
    order = np.argsort(np.concatenate([group.which for group in groups]))
    at = Offsets(*(np.concatenate(parts, axis=1)[:, order] for parts in zip(*(g.at for g in groups), strict=True)))
    fa, fb = (np.concatenate(parts, axis=1)[:, order] for parts in zip(*((g.fa, g.fb) for g in groups), strict=True))
    return Samples(np.arange(order.size), at, fa, fb)


def derive_samples(sampler: Sampler, order: int, groups: list[Samples]) -> Derivative:
    """Derivatives of another order from samples of all parameters, without a further evaluation."""
    found = Derivative(*(np.empty((sampler.x.size, sampler.f0.size), kind) for kind in _KINDS))
    for group in groups:
        for target, part in zip(found, _derive(sampler, (order,), group)[0], strict=True):
            target[group.which] = part
    return found


def _shows_noise(sampler: Sampler, found: Derivative) -> bool:
    """Whether enough parameters tell how noisy the function is: with few levels, truncation looks like noise."""
    noise = np.quantile(found.noise, 0.25, axis=0)
    return bool((noise <= _QUIET * sampler.eps * np.abs(sampler.f0)).all())


def _missed(found: list[Derivative]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which parameters need more steps, and for which of these they are to be smaller."""
    bad = [~derivative.good for derivative in found]
    missed = np.any([b.any(axis=1) for b in bad], axis=0)
    return missed, np.any([(b & ~d.rounding).any(axis=1) for b, d in zip(bad, found, strict=True)], axis=0)


def _improve(found: list[Derivative], group: Samples, more: list[Derivative], *, searched_up: bool = False) -> None:
    """Replace derivatives of the parameters of a group by those from more steps, where these are better."""
    for target, new in zip(found, more, strict=True):
        old = Derivative(*(part[group.which] for part in target))
        if searched_up:
            old = old._replace(last=old.last + SEARCH)
        # One component may have asked for more steps on behalf of a parameter whose others were good: those stand.
        # Where rounding limited the derivative, it stands unless larger steps did better.
        better = ~old.good & (~old.rounding | ~(old.error <= new.error) | (not searched_up))
        for part, before, after in zip(target, old, new, strict=True):
            part[group.which] = np.where(better, after, before)


def _derive(
    sampler: Sampler,
    orders: tuple[int, ...],
    samples: Samples,
    *,
    searched_down: bool = False,
    whole: bool = False,
    lenient: bool = False,
) -> list[Derivative]:
    """Derivatives from samples, some parameters and components at a time to bound the memory."""
    _, count, width = samples.fa.shape
    rows, columns = max(1, _BLOCK // max(width, 1)), min(width, _BLOCK)
    found = [Derivative(*(np.empty((count, width), kind) for kind in _KINDS)) for _ in orders]
    side = sampler.plan.side[samples.which, None]
    for i, j in product(range(0, count, rows), range(0, width, max(columns, 1))):
        here, there = slice(i, i + rows), slice(j, j + columns)
        at = Offsets(*(offset[:, here, None] for offset in samples.at))
        fa, fb = samples.fa[:, here, there], samples.fb[:, here, there]
        with np.errstate(all="ignore"):
            part = derive(
                NumpyArrays,
                orders,
                sampler.f0[there],
                fa,
                fb,
                at,
                side[here],
                eps=sampler.eps,
                searched_down=searched_down,
                whole=whole,
                lenient=lenient,
                noise=sampler.noise,
            )
        for derivative, block in zip(found, part, strict=True):
            for target, values in zip(derivative, block, strict=True):
                target[here, there] = values
    return found
