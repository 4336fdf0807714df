"""One pass over all rows outside of graphs: chunks to threads, their results added up or put together."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import tensorflow as tf

from zrun_core._scope import _Pinned, current

from ._chunked_additive import check_additive, is_due
from ._chunked_buffers import to_tensor
from ._chunked_crew import elsewhere, in_order, leased
from ._chunked_graph import ChunkRun
from ._chunked_piece import Notes, notes
from ._chunked_plan import plan_of
from ._chunked_progress import Progress
from ._chunked_rows import empty_chunk
from ._chunked_sums import Total
from ._run import run as manager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from zrun_core._policy import Chunksize

    from ._chunked_graph import ChunkFunction
    from ._chunked_rows import Source


# Up to this many rows, handing them to other threads and waiting for those takes as long as the work.
_FEW_ROWS: Final = 131_072


class Work(NamedTuple):
    """What is to be done for each chunk.

    Attributes:
        name: of the user's function.
        what: what is computed, for messages.
        function: computes it for one chunk.
        arguments: makes its arguments from the tensors of a chunk.
        source: the rows.
        chunksize: rows computed at once.
        progress: whether a bar may appear; None: on a terminal.
        checked: whether a single value for a chunk is to be checked for being a sum over its rows.
        taped: whether a tape may look on, from which the work is hidden in another thread.
    """

    name: str
    what: str
    function: ChunkFunction[..., Any]
    arguments: Callable[[Sequence[tf.Tensor]], tuple[Any, ...]]
    source: Source
    chunksize: Chunksize
    progress: bool | None = None
    checked: bool = True
    taped: bool = True

    def hidden(self, function: Callable[[], Any]) -> Any:
        """Run a function where no tape sees it."""
        return elsewhere(function) if self.taped else function()


def passed(work: Work) -> tuple[list[Any], Notes]:
    """Go over the rows once.

    Args:
        work: what is to be done.

    Returns:
        The results, NumPy arrays, and what was noted of the user's function.
    """
    policy = current()
    if policy.chunksize is not None:
        # It is a matter of the loop, not of what is traced.
        policy = policy.changed(chunksize=None)
    source = work.source
    most = manager.n_cpu if source.n_rows is None or source.n_rows > 1 else 1
    with _Pinned(policy), leased(most) as workers:
        return _Pass(work, workers).run()


class _Pass:
    """One pass over the rows."""

    def __init__(self, work: Work, workers: int) -> None:
        source = work.source
        self._graph, jit = work.function.way()
        # Eager code is to be followed step by step, not by several threads at once.
        workers = workers if self._graph and work.chunksize is not None else 1
        if source.n_rows is not None and source.n_rows <= _FEW_ROWS:
            workers = 1
        self._what = work
        self._per_row = work.function.per_row
        self._plan = plan_of(
            source.n_rows,
            source.row_bytes,
            work.chunksize,
            workers=workers,
            graph=self._graph,
            jit=jit,
            sums=not self._per_row,
        )
        self._n_chunks = None if source.n_rows is None else -(-source.n_rows // self._plan.size)
        self._workers = workers if self._n_chunks is None else max(1, min(workers, self._n_chunks))
        self._notes = Notes()
        self._ready: ChunkRun | None = None
        self._begun = False
        self._total = Total()
        self._kept: list[list[Any]] = []

    def run(self) -> tuple[list[Any], Notes]:
        what, source = self._what, self._what.source
        progress = Progress(what.name, source.n_rows, self._n_chunks, what.progress)
        chunks = self._prepared(source.chunks(self._plan.size, share=self._graph))
        if self._n_chunks is not None and self._n_chunks <= 1:
            for chunk in chunks:
                self._use(what.hidden(partial(self._work, chunk)))
        else:
            in_order(f"{what.what} of {what.name}", chunks, self._work, self._use, self._workers, progress)
        if not self._begun:
            # No rows at all: what the function returns for none of them has the right shapes.
            none = next(iter(self._prepared([empty_chunk(source)])))
            self._use(elsewhere(lambda: self._work(none)))
        if self._per_row:
            return [np.concatenate(parts) for parts in zip(*self._kept, strict=True)], self._notes
        return self._total.result(), self._notes

    def _prepared(self, chunks: Iterable[list[Any]]) -> Iterator[list[Any]]:
        for chunk in chunks:
            if not self._begun:
                self._begun = True
                if self._graph:
                    self._trace(chunk)
            yield chunk

    def _trace(self, chunk: list[Any]) -> None:
        """Find the graph, with the first chunk. Where there is none in spite of the policy, Python runs."""
        sample = [to_tensor(array, share=True) for array in chunk]
        found = self._what.hidden(lambda: self._call(sample))
        if not isinstance(found, ChunkRun):
            return
        self._ready, self._notes = found, found.graph.notes
        found.graph.calls += 1
        if self._notes.totals and is_due(found.graph.calls):
            self._what.hidden(lambda: self._check(chunk, found.once))

    def _call(self, tensors: Sequence[Any]) -> Any:
        token = notes.set(self._notes)
        try:
            return self._what.function(*self._what.arguments(tensors))
        finally:
            notes.reset(token)

    def _work(self, chunk: list[Any]) -> list[list[Any]]:
        """What a chunk gives: terms to be added up, or its rows of the results."""
        ready = self._ready
        tensors = [to_tensor(array, share=ready is not None) for array in chunk]
        n_rows = int(tensors[0].shape[0])
        if ready is not None:
            return ready.terms(tensors, self._plan.block, usual=self._plan.usual and n_rows == self._plan.size)
        block = self._plan.block or n_rows or 1
        starts = range(0, n_rows, block) if n_rows else (0,)
        terms = [self._python([tensor[start : start + block] for tensor in tensors]) for start in starts]
        function = self._what.function
        if self._notes.totals and not function.checked:
            function.checked = True
            self._check(tensors, self._python)
        return terms

    def _python(self, tensors: Sequence[Any]) -> list[Any]:
        return [np.asarray(part) for part in tf.nest.flatten(self._call(tensors))]

    def _check(self, chunk: Sequence[Any], compute: Callable[[list[Any]], Sequence[Any]]) -> None:
        """A function that returns a single value must return a sum."""
        if self._what.checked:
            rows = [to_tensor(array[:1024], share=False) for array in chunk]
            eps = max(np.finfo(d.as_numpy_dtype).eps if d.is_floating else 0.0 for d in self._notes.dtypes)
            check_additive(self._what.name, compute, rows, float(eps))

    def _use(self, terms: list[list[Any]]) -> None:
        if self._per_row:
            self._kept.extend(terms)
            return
        for term in terms:
            self._total.add(term)
