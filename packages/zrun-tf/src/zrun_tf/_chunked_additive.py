"""A check that a function which returns a single value for a chunk returns a sum over its rows.

A mean, or a sum with something added once (a constraint, a normalisation of all rows), would be counted once for each
chunk, and the result would depend on the chunk size without a word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from zrun_core.errors import ChunkError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_ROWS: Final = 512


def is_due(calls: int) -> bool:
    """Whether the check is to be made at this call, counted from 1: less and less often, as parameters move on."""
    return calls & (calls - 1) == 0


def check_additive(name: str, compute: Callable[[list[Any]], Sequence[Any]], rows: Sequence[Any], eps: float) -> None:
    """Compare the results for some rows with those for each half of them.

    Args:
        name: of the function, for messages.
        compute: from arrays of rows to results.
        rows: a chunk.
        eps: relative rounding error of the values.

    Raises:
        ChunkError: the results of the halves do not add up.
    """
    half = min(len(rows[0]) // 2, _ROWS)
    if half == 0:
        return
    parts = [(0, 2 * half), (0, half), (half, 2 * half)]
    found = [compute([array[start:stop] for array in rows]) for start, stop in parts]
    for both, first, second in zip(*found, strict=True):
        both, first, second = (np.asarray(part) for part in (both, first, second))  # noqa: PLW2901
        with np.errstate(all="ignore"):
            size = np.abs(first) + np.abs(second) + np.abs(both)
            wrong = np.abs(both - (first + second)) > 1e5 * eps * size
        # Nothing can be said of what is not finite.
        if np.any(wrong & np.isfinite(size)):
            raise ChunkError(
                f"{name} returns a single value for a chunk, which must then be the sum over its rows; but for "
                f"{2 * half} rows it is {_text(both)}, while for the halves it is {_text(first)} and {_text(second)}, "
                f"together {_text(first + second)}. Return a value for each row, or leave out what is not summed over "
                f"rows (a mean, a constraint, a constant) and add it to the result."
            )


def _text(value: Any) -> str:
    return f"{value:.12g}" if np.ndim(value) == 0 and np.isrealobj(value) else str(value)
