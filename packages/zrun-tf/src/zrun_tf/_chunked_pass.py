"""One pass over all rows outside of graphs: chunks to threads, their results added up or put together."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import tensorflow as tf

from zrun_core._events import Event, emit, listening
from zrun_core._scope import _Pinned, current

from ._chunked_additive import check_additive, is_due
from ._chunked_buffers import to_tensor
from ._chunked_counts import check_counts
from ._chunked_crew import elsewhere, in_order, leased
from ._chunked_graph import ChunkRun
from ._chunked_piece import Notes, notes
from ._chunked_plan import FEW_ROWS, may_be_alone, plan_alone, plan_of
from ._chunked_progress import Progress
from ._chunked_rows import ArraySource, empty_chunk
from ._chunked_sums import Total, added
from ._chunked_tuner import Sharing
from ._run import run as manager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from zrun_core._policy import Chunksize

    from ._chunked_rows import Source


# Numbers of rows of a function for which it is remembered whether threads pay.
_MOST_KEPT: Final = 64


class Work(NamedTuple):
    """What is to be done for each chunk.

    Attributes:
        name: of the user's function.
        what: what is computed, for messages.
        function: computes it for one chunk.
        call: calls it with the tensors of a chunk.
        source: the rows.
        chunksize: rows computed at once.
        progress: whether a bar may appear; None: on a terminal.
        checked: whether a single value for a chunk is to be checked for being a sum over its rows.
        light: whether only values are computed, which TensorFlow spreads over threads well.
        taped: whether a tape may look on, from which the work is hidden in another thread.
    """

    name: str
    what: str
    # A ChunkFunction, which type checkers would take for a method of this class.
    function: Any
    call: Callable[[Sequence[tf.Tensor]], Any]
    source: Source
    chunksize: Chunksize
    progress: bool | None = None
    checked: bool = True
    light: bool = False
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
    sharing, shared = _shared(work)
    with _Pinned(policy), leased(manager.n_cpu if shared else 1) as workers:
        one = _Pass(work, workers, alone=not shared and sharing is not None)
        start = time.perf_counter()
        outputs = one.run()
        if sharing is not None and shared == (workers > 1):
            sharing.record(shared, time.perf_counter() - start)
    one.tell()
    return outputs, one.notes


def _shared(work: Work) -> tuple[Sharing | None, bool]:
    """Whether several threads share the work, and where to say what that took, if it is to be found out."""
    source, (graph, jit) = work.source, work.function.way()
    # Eager code is to be followed step by step, not by several threads at once.
    if not graph or work.chunksize is None or source.n_rows == 0:
        return None, False
    n_rows = source.n_rows
    few = n_rows is not None and n_rows <= FEW_ROWS
    if (
        n_rows is None
        or work.chunksize != "auto"
        or work.function.per_row
        or not may_be_alone(n_rows, source.row_bytes)
    ):
        return None, not few
    known, n_cpu = work.function.sharing, manager.n_cpu
    if len(known) > _MOST_KEPT:
        known.clear()
    sharing = known.setdefault((n_rows, source.row_bytes, jit, n_cpu), Sharing(not few and not work.light))
    return sharing, n_cpu > 1 and sharing.choose()


class _Pass:
    """One pass over the rows."""

    def __init__(self, work: Work, workers: int, *, alone: bool) -> None:
        source = work.source
        self._graph, jit = work.function.way()
        self._what = work
        self._per_row = work.function.per_row
        # Rows in memory need nobody to read them.
        self._helps = self._graph and not work.taped and isinstance(source, ArraySource) and not source.mapped
        n_rows = source.n_rows
        if alone and n_rows:
            self._plan = plan_alone(n_rows, jit=jit, light=work.light)
        else:
            self._plan = plan_of(
                n_rows,
                source.row_bytes,
                work.chunksize,
                workers=workers,
                graph=self._graph,
                jit=jit,
                sums=not self._per_row,
            )
        self._n_chunks = None if n_rows is None else -(-n_rows // self._plan.size)
        self._workers = workers if self._n_chunks is None else max(1, min(workers, self._n_chunks))
        self.notes = Notes()
        self._ready: ChunkRun | None = None
        self._begun = False
        self._n_rows = 0
        self._total = Total()
        self._kept: list[list[Any]] = []

    def tell(self) -> None:
        """Emit an event, for whoever listens."""
        if listening("chunks"):
            what, ready = self._what, self._ready
            size = self._plan.block or (self._plan.size if ready is None else ready.graph.tuner.best)
            size = max(1, min(size, self._n_rows))
            count = max(1, -(-self._n_rows // size))
            text = f"{count} chunk{'' if count == 1 else 's'} of {size} row{'' if size == 1 else 's'}"
            emit(Event("chunks", what.name, what.function.kind, text, count=count))

    def run(self) -> list[Any]:
        """Go over the rows."""
        what, source = self._what, self._what.source
        chunks = self._prepared(source.chunks(self._plan.size, share=self._graph))
        if self._n_chunks is not None and self._n_chunks <= 1:
            terms = [term for chunk in chunks for term in what.hidden(partial(self._work, chunk))]
            if terms and not self._per_row:
                return added(terms)
            self._use(terms)
        else:
            title = f"{what.what} of {what.name}"
            progress = Progress(what.name, source.n_rows, self._n_chunks, what.progress)
            in_order(title, chunks, self._work, self._use, self._workers, progress, helps=self._helps)
        if not self._begun:
            # No rows at all: what the function returns for none of them has the right shapes.
            none = next(iter(self._prepared([empty_chunk(source)])))
            self._use(elsewhere(lambda: self._work(none)))
        if self._per_row:
            return [np.concatenate(parts) for parts in zip(*self._kept, strict=True)]
        return self._total.result()

    def _prepared(self, chunks: Iterable[list[Any]]) -> Iterator[list[Any]]:
        for chunk in chunks:
            if not self._begun:
                self._begun = True
                if self._graph:
                    self._trace(chunk)
            self._n_rows += len(chunk[0])
            yield chunk

    def _trace(self, chunk: list[Any]) -> None:
        """Find the graph, with the first chunk. Where there is none in spite of the policy, Python runs."""
        sample = [to_tensor(array, share=True) for array in chunk]
        found = self._what.hidden(lambda: self._call(sample))
        if not isinstance(found, ChunkRun):
            return
        self._ready, self.notes = found, found.graph.notes
        found.graph.calls += 1
        if self.notes.totals and is_due(found.graph.calls):
            self._what.hidden(lambda: self._check(chunk, found.once))

    def _call(self, tensors: Sequence[Any]) -> Any:
        token = notes.set(self.notes)
        try:
            return self._what.call(tensors)
        finally:
            notes.reset(token)

    def _work(self, chunk: list[Any]) -> list[list[Any]]:
        """What a chunk gives: terms to be added up, or its rows of the results."""
        ready = self._ready
        tensors = [to_tensor(array, share=ready is not None) for array in chunk]
        n_rows = int(tensors[0].shape[0])
        if ready is not None:
            terms = ready.terms(tensors, self._plan.block, usual=self._plan.usual and n_rows == self._plan.size)
            self._count(terms, n_rows)
            return terms
        block = self._plan.block or n_rows or 1
        starts = range(0, n_rows, block) if n_rows else (0,)
        terms = [self._python([tensor[start : start + block] for tensor in tensors]) for start in starts]
        function = self._what.function
        if self.notes.totals and not function.checked:
            function.checked = True
            self._check(tensors, self._python)
        return terms

    def _count(self, terms: list[list[Any]], n_rows: int) -> None:
        """See that a graph has given a value for each row."""
        name = self._what.name
        if self._per_row:
            for part in (part for term in terms for part in term):
                check_counts(name, n_rows, len(part), per_row=True)
        elif self.notes.counted:
            for term in terms:
                check_counts(name, *map(int, term[-1]), per_row=False)

    def _python(self, tensors: Sequence[Any]) -> list[Any]:
        return [np.asarray(part) for part in tf.nest.flatten(self._call(tensors))]

    def _check(self, chunk: Sequence[Any], compute: Callable[[list[Any]], Sequence[Any]]) -> None:
        """A function that returns a single value must return a sum."""
        if self._what.checked:
            rows = [to_tensor(array[:1024], share=False) for array in chunk]
            eps = max(np.finfo(d.as_numpy_dtype).eps if d.is_floating else 0.0 for d in self.notes.dtypes)
            check_additive(self._what.name, compute, rows, float(eps))

    def _use(self, terms: list[list[Any]]) -> None:
        if self._per_row:
            self._kept.extend(terms)
            return
        for term in terms:
            self._total.add(term)
