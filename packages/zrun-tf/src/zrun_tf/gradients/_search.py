"""The ladders of all parameters: evaluated, turned into derivatives, and extended where they missed the scale."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Final

import numpy as np

from ._arrays import NumpyArrays
from ._extrapolate import Derivative
from ._stencil import SEARCH, Offsets, derive

if TYPE_CHECKING:
    from ._samples import Sampler, Samples

# Entries of a level that are extrapolated at once: some 30 MB of temporary arrays.
_BLOCK: Final = 4096
_KINDS: Final = (float, float, bool, bool, float, float)


def search(sampler: Sampler, orders: tuple[int, ...]) -> tuple[list[Derivative], list[Samples]]:
    """Derivatives of these orders, of shape `(n, out)`, with more steps for the parameters that need them."""
    base = sampler.base()
    found = _derive(sampler, orders, base)
    bad = [~derivative.good for derivative in found]
    missed = np.any([b.any(axis=1) for b in bad], axis=0)
    if not missed.any():
        return found, [base]
    down = np.any([(b & ~d.rounding).any(axis=1) for b, d in zip(bad, found, strict=True)], axis=0)
    up = missed & ~down
    groups = sampler.search(base, up, down)
    for group, searched_down in zip(groups, (False, True), strict=True):
        if not group.which.size:
            continue
        for target, more in zip(found, _derive(sampler, orders, group, searched_down=searched_down), strict=True):
            old = Derivative(*(part[group.which] for part in target))
            if not searched_down:
                old = old._replace(last=old.last + SEARCH)
            # One component may have asked for more steps on behalf of a parameter whose others were good: those stand.
            # Where rounding limited the derivative, it stands unless larger steps did better.
            better = ~old.good & (searched_down | ~old.rounding | ~(old.error <= more.error))
            for part, before, after in zip(target, old, more, strict=True):
                part[group.which] = np.where(better, after, before)
    return found, [base.only(~missed), *groups]


def _derive(
    sampler: Sampler, orders: tuple[int, ...], samples: Samples, *, searched_down: bool = False
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
            )
        for whole, block in zip(found, part, strict=True):
            for target, values in zip(whole, block, strict=True):
                target[here, there] = values
    return found
