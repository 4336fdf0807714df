"""Plans that cut rows of data into chunks, so that what is evaluated at once fits into memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, overload

from ._memory import available_memory, format_bytes
from ._numbers import whole_number
from .errors import ChunkError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ._policy import Chunksize

# Evaluating a chunk costs about the same per row between 1 MiB and 16 MiB of a float64 column: below, the cost of a
# call shows, above, the intermediate results leave the cache.
_CHUNK_BYTES = 8 * 2**20

# Where nobody says what a row takes: eight float64, a few columns and what is computed from them.
_ROW_BYTES = 64

# The part of the free memory that chunks may take; the rest is for the result, and for everybody else.
_MEMORY_SHARE = 4

# Where the platform does not say what is free.
_UNKNOWN_MEMORY = 2**30

# Fewer rows than this are not split to give more workers something to do.
_WORKER_ROWS = 1024

_HINT_CHUNKSIZE = "Use a number of rows, 'auto', or None for everything in one piece."


@dataclass(frozen=True)
class ChunkPlan(Sequence[slice]):
    """Rows cut into chunks: a sequence of slices that together cover every row once, in order.

    The slices are made when they are asked for, so a plan of a billion chunks costs no memory.

    Attributes:
        n_rows: number of rows, 0 or more.
        chunksize: rows in each chunk, except that the last one may have fewer; at least 1.
        reason: why the chunks have this size; plans that differ in it only are equal.

    Example:
        >>> plan = ChunkPlan(n_rows=10, chunksize=4)
        >>> list(plan)
        [slice(0, 4, None), slice(4, 8, None), slice(8, 10, None)]
        >>> len(plan), plan.remainder
        (3, 2)
    """

    n_rows: int
    chunksize: int
    reason: str = field(default="as given", compare=False)

    def __post_init__(self) -> None:
        rows = whole_number("n_rows", self.n_rows, least=0, hint="Give the number of rows.", error=ChunkError)
        size = whole_number("chunksize", self.chunksize, least=1, hint="Give a number of rows.", error=ChunkError)
        object.__setattr__(self, "n_rows", rows)
        object.__setattr__(self, "chunksize", size)

    @property
    def remainder(self) -> int:
        """Rows in the last chunk if it is smaller than the others; 0 where all are equal."""
        return self.n_rows % self.chunksize

    def __len__(self) -> int:
        return len(range(0, self.n_rows, self.chunksize))

    @overload
    def __getitem__(self, index: int) -> slice: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[slice, ...]: ...

    def __getitem__(self, index: int | slice) -> slice | tuple[slice, ...]:
        chosen = range(0, self.n_rows, self.chunksize)[index]
        return self._chunk(chosen) if isinstance(chosen, int) else tuple(map(self._chunk, chosen))

    def __iter__(self) -> Iterator[slice]:
        return map(self._chunk, range(0, self.n_rows, self.chunksize))

    def _chunk(self, start: int) -> slice:
        return slice(start, min(start + self.chunksize, self.n_rows))

    def explain(self) -> str:
        """The plan and its reason, as a sentence.

        Returns:
            One line of text.

        Example:
            >>> print(plan_chunks(10, chunksize=4).explain())
            10 rows in 3 chunks of 4 rows, the last one of 2: chunksize=4 was given.
        """
        if not self.n_rows:
            return f"No rows, so no chunks: {self.reason}."
        if len(self) == 1:
            return f"{_rows(self.n_rows)} in one piece: {self.reason}."
        last = f", the last one of {self.remainder}" if self.remainder else ""
        return f"{_rows(self.n_rows)} in {len(self)} chunks of {_rows(self.chunksize)}{last}: {self.reason}."


def plan_chunks(
    n_rows: int,
    *,
    bytes_per_row: int | None = None,
    chunksize: Chunksize = "auto",
    memory_budget: int | None = None,
    n_workers: int = 1,
) -> ChunkPlan:
    """Plan how to cut rows into chunks.

    `"auto"` takes as many rows as fit into the memory budget of a worker, but no more than keep intermediate results
    in the processor's cache, and spreads the rows evenly over that number of chunks. With several workers there is at
    least one chunk for each, unless there are hardly any rows.

    Args:
        n_rows: number of rows; with 0 the plan has no chunks.
        bytes_per_row: bytes that one row takes while it is evaluated, over all arrays and intermediate results; None
            means 64. Matters for `"auto"` only.
        chunksize: rows per chunk, `"auto"`, or None for everything in one piece.
        memory_budget: bytes that all chunks under evaluation may take together; None means a quarter of what
            `available_memory` says. Matters for `"auto"` only.
        n_workers: chunks that are evaluated at the same time. Matters for `"auto"` only.

    Returns:
        The plan.

    Raises:
        ChunkError: a number is too small, `chunksize` is another string, or the memory budget is less than one row.
        TypeError: an argument is not an integer.

    Scope: reads the free memory of the machine for `"auto"` without a budget; changes nothing.

    Example:
        >>> plan = plan_chunks(1_000_000, bytes_per_row=8, memory_budget=2_000_000)
        >>> len(plan), plan.chunksize, plan[-1]
        (4, 250000, slice(750000, 1000000, None))
    """
    n_rows = whole_number("n_rows", n_rows, least=0, hint="Give the length of the data.", error=ChunkError)
    hint = "Give the bytes that one row takes, or leave it out."
    row = _ROW_BYTES
    if bytes_per_row is not None:
        row = whole_number("bytes_per_row", bytes_per_row, least=1, hint=hint, error=ChunkError)
    hint = "Give bytes, for example 2 * 10**9, or leave it out for a part of the free memory."
    if memory_budget is not None:
        memory_budget = whole_number("memory_budget", memory_budget, least=1, hint=hint, error=ChunkError)
    hint = "Give how many chunks are evaluated at the same time."
    n_workers = whole_number("n_workers", n_workers, least=1, hint=hint, error=ChunkError)
    if isinstance(chunksize, str):
        if chunksize != "auto":
            raise ChunkError(
                f"chunksize must be a number of rows, 'auto' or None; got {chunksize!r}. {_HINT_CHUNKSIZE}"
            )
        return _automatic(n_rows, row, memory_budget, n_workers, assumed=bytes_per_row is None)
    if chunksize is None:
        return ChunkPlan(n_rows, max(1, n_rows), "chunksize=None was given")
    chunksize = whole_number("chunksize", chunksize, least=1, hint=_HINT_CHUNKSIZE, error=ChunkError)
    return ChunkPlan(n_rows, chunksize, f"chunksize={chunksize} was given")


def check_aligned(lengths: Mapping[str, int]) -> int:
    """Check that several arrays have the same number of rows, such as data and their weights.

    Args:
        lengths: number of rows by the name of the array; at least one.

    Returns:
        The number of rows.

    Raises:
        ChunkError: the numbers differ, or there is none; the message has all of them.
        TypeError: a length is not an integer.

    Example:
        >>> check_aligned({"data": 100, "weights": 100})
        100
        >>> check_aligned({"data": 100, "weights": 99})
        Traceback (most recent call last):
        zrun_core.errors.ChunkError: All arrays must have the same number of rows; got 100 (data) and 99 (weights). ...
    """
    names: dict[int, list[str]] = {}
    for name, length in lengths.items():
        hint = "Give the length of its first axis."
        rows = whole_number(f"The number of rows of {name}", length, least=0, hint=hint, error=ChunkError)
        names.setdefault(rows, []).append(name)
    if not names:
        raise ChunkError("At least one array is needed to know the number of rows; got none.")
    if len(names) > 1:
        got = [f"{rows} ({', '.join(group)})" for rows, group in names.items()]
        raise ChunkError(
            f"All arrays must have the same number of rows; got {', '.join(got[:-1])} and {got[-1]}. "
            "Cut them to the same rows before they are evaluated in chunks."
        )
    return next(iter(names))


def _rows(n: int) -> str:
    return f"{n} row{'' if n == 1 else 's'}"


def _automatic(n_rows: int, row: int, budget: int | None, n_workers: int, *, assumed: bool) -> ChunkPlan:
    """The plan for `"auto"`, from numbers that were checked."""
    size = f"{format_bytes(row)} per row{' (assumed)' if assumed else ''}"
    workers = f" for {n_workers} workers" if n_workers > 1 else ""
    if budget is None:
        free = available_memory().bytes
        budget = (_UNKNOWN_MEMORY if free is None else free) // _MEMORY_SHARE
        known = "an assumed 1.07 GB" if free is None else f"{format_bytes(free)} that are free"
        memory = f"{format_bytes(budget)} (a quarter of {known}){workers}"
    else:
        memory = f"the budget of {format_bytes(budget)}{workers}"
        if budget < row * n_workers:
            raise ChunkError(
                f"memory_budget must hold one row for each worker: {size}, {n_workers} at a time; got "
                f"{format_bytes(budget)}. Raise memory_budget, lower n_workers, or give chunksize."
            )
    fits = max(1, budget // n_workers // row)
    cached = max(1, _CHUNK_BYTES // row)
    at_a_time = "about 8 MB" if cached > 1 else "one row"
    most, reason = (fits, f"{size} in {memory}") if fits < cached else (cached, f"{size}, {at_a_time} at a time")
    n_chunks = -(-n_rows // most)
    if n_chunks < n_workers and n_rows >= n_workers * _WORKER_ROWS:
        n_chunks, reason = n_workers, f"one chunk for each of {n_workers} workers"
    return ChunkPlan(n_rows, max(1, -(-n_rows // max(1, n_chunks))), reason)
