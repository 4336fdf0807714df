"""One pass of a piece over all rows: what it is computed from, and the way outside of graphs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import tensorflow as tf

from ._autograph import leave_alone
from ._chunked_graph import ChunkFunction
from ._chunked_pass import Work, passed
from ._leaves import ChunkRows
from ._run import run as manager

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from zrun_core._policy import Chunksize

    from ._chunked_piece import Call, Notes, Piece
    from ._chunked_rows import Source


class Task(NamedTuple):
    """A piece with all it is computed from.

    Attributes:
        piece: what is computed.
        call: the user's function.
        source: the rows.
        rows: how the arrays of a chunk are nested, for the piece: a nested tuple of anything.
        ups: what derivatives are multiplied by, nested as the piece wants it.
        chunksize: rows computed at once.
        progress: whether a bar may appear; None: on a terminal.
    """

    piece: Piece
    call: Call
    source: Source
    rows: Any
    ups: tuple[Any, ...]
    chunksize: Chunksize
    progress: bool | None

    @property
    def name(self) -> str:
        """Of the user's function."""
        return self.call.name


class Found(NamedTuple):
    """What a pass has found.

    Attributes:
        outputs: the results of the piece, added up or concatenated.
        notes: what was noted of the user's function.
    """

    outputs: list[tf.Tensor]
    notes: Notes


def function_of(piece: Piece, name: str, kind: str) -> ChunkFunction[..., Any]:
    """The zrun function that computes a piece of one user's function; made once."""
    found: ChunkFunction[..., Any] | None = piece.__dict__.get("function")
    if found is None:

        @leave_alone
        def body(call: Call, rows: Any, ups: tuple[Any, ...]) -> Any:
            return piece.compute(call, _bare(rows), ups)

        body.__qualname__ = f"{name} ({piece.name})"
        made: ChunkFunction[..., Any] = ChunkFunction(body, manager, kind=kind)
        made.per_row = piece.per_row
        found = piece.__dict__.setdefault("function", made)
    return found


def _bare(rows: Any) -> Any:
    """Nested rows as tensors; a graph has made tensors of them already."""
    if isinstance(rows, ChunkRows):
        return rows.tensor
    return tuple(_bare(part) for part in rows) if isinstance(rows, tuple) else rows


def nested(structure: Any, leaves: Iterator[Any]) -> Any:
    """Leaves in place of what is no tuple in a structure."""
    return tuple(nested(part, leaves) for part in structure) if isinstance(structure, tuple) else next(leaves)


def evaluate(task: Task) -> Found:
    """Compute a piece over all rows, outside of graphs."""
    piece = task.piece

    function = function_of(piece, task.name, getattr(task.call.func, "kind", "loss"))

    def call(tensors: Sequence[tf.Tensor]) -> Any:
        return function(task.call, nested(task.rows, map(ChunkRows, tensors)), task.ups)

    # Derivatives come after their function, which was checked then.
    checked = not piece.is_derivative
    work = Work(task.name, piece.name, function, call, task.source, task.chunksize, task.progress, checked, checked)
    outputs, found = passed(work)
    if found.counted:
        # Looked at chunk by chunk.
        outputs.pop()
    return Found([tf.constant(output) for output in outputs], found)
