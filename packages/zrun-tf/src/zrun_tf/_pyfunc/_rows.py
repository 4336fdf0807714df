"""Functions that map each row of an input to the same row of their results, such as a density of many events.

All rows of such an input can be moved at the same time, so that the evaluations do not grow with the number of rows.
Where the user has not said that a function is of that kind, it is tested: rows are moved in groups, such that for each
two rows there is a group with one and without the other, and none outside of the group may change.
"""

from __future__ import annotations

from itertools import combinations, islice
from math import comb
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from zrun_tf._errors import GradientError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    Array = NDArray[Any]

Rows: TypeAlias = "bool | tuple[int, ...] | None"
"""True: each input with as many rows as the results. Numbers: these slots. None: as a test shows."""

# A change of a result by this many roundings says nothing.
_ROUNDINGS = 8.0
# One input with fewer elements is not worth a test.
FEW = 3


def count_rows(results: Sequence[Array]) -> int | None:
    """How many rows the results have, if all have the same number, and more than one."""
    counts = {result.shape[0] if result.ndim else None for result in results}
    (count, *others) = counts
    return count if not others and count is not None and count > 1 else None


def groups(count: int) -> Iterator[NDArray[np.bool_]]:
    """The least number of groups such that each row is in one without any given other row.

    Each row gets a code of as many bits as there are groups, all with the same number of ones, so that none of the
    codes covers another one (Sperner 1928).
    """
    bits = 1
    while comb(bits, bits // 2) < count:
        bits += 1
    codes = np.zeros((bits, count), bool)
    for row, ones in enumerate(islice(combinations(range(bits), bits // 2), count)):
        codes[list(ones), row] = True
    yield from codes


def independent(
    results: Sequence[Array], moved: Callable[[NDArray[np.bool_]], Sequence[Array]], which: Iterator[NDArray[np.bool_]]
) -> bool:
    """Whether rows outside of each group stay as they are when the rows in it are moved."""
    for group in which:
        for before, after in zip(results, moved(group), strict=True):
            if after.shape != before.shape or not _same(before[~group], after[~group]):
                return False
    return True


def _same(before: Array, after: Array) -> bool:
    if before.dtype.kind != "f":
        return bool((before == after).all())
    with np.errstate(all="ignore"):
        near = np.abs(after - before) <= _ROUNDINGS * np.finfo(before.dtype).eps * np.abs(before)
    return bool((near | (before == after) | (np.isnan(before) & np.isnan(after))).all())


def declared(rows: Rows, slot: int, name: str, block: str, shape: tuple[int, ...], count: int | None) -> bool | None:
    """What the user said of a slot; None: to be tested."""
    fits = count is not None and len(shape) > 0 and shape[0] == count
    if isinstance(rows, tuple) and slot in rows and not fits:
        raise GradientError(
            f"{block}: rows says that it maps {name} row by row, but that has shape {shape}, and the results have "
            f"{count if count is not None else 'no common number of'} rows."
        )
    if not fits or rows is False:
        return False
    if rows is None:
        return False if int(np.prod(shape)) <= FEW else None
    return rows is True or slot in rows
