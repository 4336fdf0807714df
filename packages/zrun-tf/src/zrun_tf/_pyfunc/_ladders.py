"""From values around a point to derivatives of one or many numbers: more steps where they are needed."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from zrun_tf.gradients._arrays import NumpyArrays
from zrun_tf.gradients._extrapolate import Derivative
from zrun_tf.gradients._stencil import CROSS, LEVELS, SEARCH, Offsets, derive, derive_mixed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from ._samples import Direction, Floats, Measured, Samples

    # Makes numbers of shape `(levels, units, out)` of results of shape `(levels, *shape)`.
    Project = Callable[[Sequence[Floats]], Floats]

# Entries that are extrapolated at once: some 30 MB of temporary arrays.
_BLOCK: Final = 4096
_KINDS: Final = (float, float, bool, bool, float, float)
# Of many rows some always miss the tolerance; those are worth more evaluations whose error matters beside the others.
_WORTH: Final = 1e-7


class Found(NamedTuple):
    """Derivatives with respect to one direction.

    Attributes:
        derivatives: of each order, of shape `(units, out)`; `last` counts levels from the top of the first ladder.
        lowest: the first level that was evaluated for each unit, `(units,)`.
        highest: the last.
    """

    derivatives: list[Derivative]
    lowest: NDArray[np.intp]
    highest: NDArray[np.intp]


def find(
    samples: Samples, direction: Direction, orders: tuple[int, ...], f0: Floats, project: Project, precision: float
) -> Found:
    """Derivatives of projected results, `f0` of shape `(units, out)` at the point itself."""
    side = samples.ladders(direction).plan.side[:, None]
    units = np.arange(len(side))

    def derived(parts: Sequence[Measured], *, searched_down: bool = False) -> list[Derivative]:
        at = Offsets(*(np.concatenate([part.at[place] for part in parts]) for place in range(3)))
        a, b = (np.concatenate([project(part[place]) for part in parts]) for place in (1, 2))
        return _derive(orders, f0, a, b, at, side, precision, searched_down=searched_down)

    base = samples.measured(direction)
    found = derived([base])
    lowest, highest = np.zeros_like(units), np.full_like(units, LEVELS - 1)
    bad = [_worth(derivative) for derivative in found]
    if not any(part.any() for part in bad):
        return Found(found, lowest, highest)
    down = np.any([(part & ~old.rounding).any(axis=1) for part, old in zip(bad, found, strict=True)], axis=0)
    up = np.any([part.any(axis=1) for part in bad], axis=0) & ~down
    for searched, which in (("up", up), ("down", down)):
        if not which.any():
            continue
        extra = samples.measured(direction, searched)
        parts = [extra, base] if searched == "up" else [base, extra]
        for target, more in zip(found, derived(parts, searched_down=searched == "down"), strict=True):
            if searched == "up":
                more = more._replace(last=more.last - SEARCH)  # noqa: PLW2901 - the same levels under other numbers
            # As in the engine for whole models: what was good stands, and so does what larger steps did not better.
            better = ~target.good & (searched == "down") | ~target.good & (
                ~target.rounding | ~(target.error <= more.error)
            )
            better &= which[:, None]
            for part, value in zip(target, more, strict=True):
                part[better] = value[better]
        lowest[which] = -SEARCH if searched == "up" else 0
        highest[which] += SEARCH if searched == "down" else 0
    return Found(found, lowest, highest)


def _worth(found: Derivative) -> NDArray[np.bool_]:
    """Which derivatives are worth more evaluations."""
    if found.value.size == 1:
        return ~found.good  # type: ignore[no-any-return]
    size = np.abs(found.value)
    known = size[np.isfinite(size)]
    size = np.maximum(size, known.mean() if known.size else 0.0)
    with np.errstate(all="ignore"):
        return ~found.good & ~(found.error <= _WORTH * size)  # type: ignore[no-any-return]


def _derive(
    orders: tuple[int, ...],
    f0: Floats,
    fa: Floats,
    fb: Floats,
    at: Offsets,
    side: Floats,
    eps: float,
    *,
    searched_down: bool,
) -> list[Derivative]:
    """Derivatives, some at a time to bound the memory."""
    units, out = f0.shape
    found = [Derivative(*(np.empty((units, out), kind) for kind in _KINDS)) for _ in orders]
    rows, columns = max(1, _BLOCK // max(out, 1)), max(1, min(out, _BLOCK))
    for i, j in product(range(0, units, rows), range(0, out, columns)):
        here, there = slice(i, i + rows), slice(j, j + columns)
        where = Offsets(*(part[:, here, None] for part in at))
        with np.errstate(all="ignore"):
            parts = derive(
                NumpyArrays,
                orders,
                f0[here, there],
                fa[:, here, there],
                fb[:, here, there],
                where,
                side[here],
                eps=eps,
                searched_down=searched_down,
            )
        for whole, part in zip(found, parts, strict=True):
            for target, values in zip(whole, part, strict=True):
                target[here, there] = values
    return found


def find_mixed(
    samples: Samples,
    pair: tuple[Direction, Direction],
    found: tuple[Found, Found],
    f0: Floats,
    project: Project,
    precision: float,
) -> Derivative:
    """Mixed second derivatives of projected results, of shape `(units,)`, on the levels that gave the unmixed ones."""
    at, edges = [], []
    for direction, known in zip(pair, found, strict=True):
        offset, *sides = _edges(samples, direction, known, project)
        at.append(offset)
        edges += sides
    both = at[0].wide & at[1].wide
    corner = [_values(samples, project, [(pair[0], at[0][side]), (pair[1], at[1][side])], both) for side in (0, 1)]
    sides = sum(np.abs(samples.ladders(direction).plan.side) for direction in pair)
    noise = np.maximum(found[0].derivatives[-1].noise[:, 0], found[1].derivatives[-1].noise[:, 0])
    with np.errstate(all="ignore"):
        return derive_mixed(
            NumpyArrays, f0, (corner[0], corner[1]), tuple(edges), (at[0], at[1]), sides, eps=precision, noise=noise
        )


def _edges(samples: Samples, direction: Direction, known: Found, project: Project) -> tuple[Offsets, Floats, Floats]:
    """Three levels of a direction, down to that which its unmixed derivative came from."""
    names = [
        name
        for name, there in (("up", (known.lowest < 0).any()), ("", True), ("down", (known.highest >= LEVELS).any()))
        if there
    ]
    parts = [samples.measured(direction, name) for name in names]
    last = known.derivatives[-1].last[:, 0]
    last = np.where(np.isfinite(last), last, known.highest)
    top = np.clip(last - (CROSS - 1), known.lowest, known.highest - (CROSS - 1)).astype(int)
    level = top + np.arange(CROSS)[:, None] + (SEARCH if names[0] == "up" else 0)

    def chosen(values: Floats) -> Any:
        return np.take_along_axis(values, np.broadcast_to(level, (CROSS, values.shape[1])), axis=0)

    offset = Offsets(*(chosen(np.concatenate([part.at[place] for part in parts])) for place in range(3)))
    a, b = (chosen(np.concatenate([project(part[place])[..., 0] for part in parts])) for place in (1, 2))
    return offset, a, b


def _values(
    samples: Samples, project: Project, moves: Sequence[tuple[Direction, Floats]], wide: NDArray[np.bool_]
) -> Floats:
    """Projected results where all of these directions have moved, of shape `(levels, units)`."""
    levels: list[Any] = []
    for level in range(len(wide)):
        here = wide[level]
        # What all rows depend on moves if it is to for one of them.
        places = [(direction, here if direction.by_row else here.any(keepdims=True)) for direction, _ in moves]
        moved = samples.moved(
            [
                (direction, np.where(where, offset[level], 0.0))
                for (direction, where), (_, offset) in zip(places, moves, strict=True)
            ]
        )
        levels.append(project([result[None] for result in moved])[0, :, 0])
    return np.stack(levels)
