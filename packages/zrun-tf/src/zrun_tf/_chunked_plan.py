"""How many rows are handed to a thread at once, and how many of these are computed at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from zrun_core._chunks import plan_chunks
from zrun_core.errors import ChunkError

from ._chunked_tuner import COMPILED

if TYPE_CHECKING:
    from zrun_core._policy import Chunksize

# A call of a graph costs a fraction of a millisecond; this many rows take several. Where there are so many that each
# thread makes some calls all the same, these are larger: of a few sizes only, since XLA compiles for each.
_CALL_ROWS: Final = (262_144, 524_288, 1_048_576)
_CALL_BYTES: Final = 16 * 2**20
_CALLS_EACH: Final = 4

# In XLA's code, sums within a block are plain loops: what they lose to rounding stays below 1e-12 up to this many rows.
MOST_COMPILED: Final = COMPILED[2]

# Up to this many rows, the calling thread alone may be as fast as several; up to fewer, it is likely to be.
_SOME_ROWS: Final = 1_048_576
FEW_ROWS: Final = 131_072

# Rows of a block where TensorFlow itself spreads a block over threads, with XLA and without.
_ALONE: Final = (131_072, 262_144)

# The same without XLA where only values are computed, of which less is kept at a time.
_LIGHT: Final = 524_288

_MAP_ROWS: Final = 65_536

# Pieces are cut at multiples of this, where TensorFlow shares their memory whatever the dtype.
_STEP: Final = 64


class Plan(NamedTuple):
    """How rows are cut.

    Attributes:
        size: rows handed to a thread at once.
        block: rows computed at once; None: as it turns out to be fastest.
        usual: whether `size` is the same for other numbers of rows too, so that it is worth compiling for.
    """

    size: int
    block: int | None
    usual: bool = True


def check_chunksize(chunksize: Any) -> Chunksize:
    """A chunk size as it may be given.

    Raises:
        ChunkError: it is no positive number, `"auto"` or None.
        TypeError: it is no integer.
    """
    plan_chunks(0, chunksize=chunksize, memory_budget=2**30)
    return None if chunksize is None else chunksize if chunksize == "auto" else int(chunksize)


def plan_of(
    n_rows: int | None, row_bytes: int | None, chunksize: Chunksize, *, workers: int, graph: bool, jit: bool, sums: bool
) -> Plan:
    """Cut rows for one pass over them.

    Args:
        n_rows: how many there are; None: not known.
        row_bytes: bytes of one row of the data; None: not known.
        chunksize: rows computed at once, `"auto"`, or None for everything in one piece.
        workers: threads that share the work.
        graph: whether a graph runs.
        jit: whether it is compiled.
        sums: whether results are added up, so that one call can compute several blocks.
    """
    if chunksize is None:
        if n_rows is None:
            raise ChunkError(
                "chunksize=None computes all rows in one piece, but these come in batches, and how many there are is "
                "not known. Give a number of rows, or 'auto'."
            )
        return Plan(max(1, n_rows), max(1, n_rows))
    if not graph or not sums:
        if chunksize != "auto":
            return Plan(chunksize, chunksize)
        rows = 2**40 if n_rows is None else n_rows
        # What is computed of a row takes several times its size.
        size = plan_chunks(rows, bytes_per_row=8 * (row_bytes or 8)).chunksize if not graph else _MAP_ROWS
        return Plan(max(1, min(size, rows)), None)
    block = None if chunksize == "auto" else chunksize
    if jit and block is not None and block > MOST_COMPILED:
        block = -(-block // -(-block // MOST_COMPILED))
    most = max(COMPILED[1], min(_call_rows(n_rows, workers), _CALL_BYTES // (row_bytes or 8)))
    few = False
    if n_rows is not None and n_rows <= workers * most:
        few = True
        most = max(1, -(-n_rows // workers))
        # Fewer rows than a block are not worth another thread.
        most = max(most, min(n_rows, block or COMPILED[0]))
    if block is None:
        return Plan(-(-most // _STEP) * _STEP, None, not few)
    return Plan(max(1, -(-most // block)) * block, block, not few)


def _call_rows(n_rows: int | None, workers: int) -> int:
    """Rows of one call, such that no thread is left with a long one while the others have nothing to do."""
    each = (n_rows or 0) // (workers * _CALLS_EACH)
    return max((rows for rows in _CALL_ROWS if rows <= each), default=_CALL_ROWS[0])


def may_be_alone(n_rows: int, row_bytes: int | None) -> bool:
    """Whether the calling thread alone may be as fast as several.

    Args:
        n_rows: how many rows there are.
        row_bytes: bytes of one row of the data.
    """
    return n_rows <= _SOME_ROWS and n_rows * (row_bytes or 8) <= _CALL_BYTES


def plan_alone(n_rows: int, *, jit: bool, light: bool) -> Plan:
    """Give rows to the calling thread at once; TensorFlow's operations and XLA's code use threads of their own.

    Args:
        n_rows: how many there are.
        jit: whether the graph is compiled.
        light: whether only values are computed, which without XLA gain nothing from smaller blocks.
    """
    most = _ALONE[0] if jit else _LIGHT if light else _ALONE[1]
    return Plan(n_rows, -(-n_rows // -(-n_rows // most)), usual=False)
