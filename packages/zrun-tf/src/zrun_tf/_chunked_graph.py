"""A traced piece, and the loops over its blocks that are built around it.

The user's function is traced once, for any number of rows. A loop over blocks calls that graph; it is built without
XLA for any number of rows, and with XLA, where the policy asks for it, once for each number of rows that comes often.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from functools import cached_property
from threading import RLock
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar
from weakref import ref

import numpy as np
import tensorflow as tf

from zrun_core._events import listening
from zrun_core._scope import current
from zrun_core._structure import Flattening

from ._autograph import leave_alone
from ._chunked_loop import settled, sum_blocks
from ._chunked_piece import Notes, notes
from ._chunked_tuner import Sharing, Tuner
from ._dispatch import executable
from ._function import Function
from ._graph import Traced, placeholder, to_input
from ._leaves import COMPOSITES, ChunkRows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from zrun_core._function import Ruling, Taken
    from zrun_core._structure import Key

P = ParamSpec("P")
R = TypeVar("R")

# A number of rows is worth compiling for when it came this often, as the last rows of the data of a fit do; and XLA
# keeps what it compiled for ever.
_OFTEN: Final = 3
_MOST_COMPILED: Final = 16

_SMALL: Final = 1000


class ChunkFunction(Function[P, R]):
    """A zrun function of one chunk. Where it is a graph, a call returns a `ChunkRun` instead of running it.

    Attributes:
        per_row: whether its results have the rows of the chunk.
        checked: whether its results were checked for being sums, when it ran as Python.
    """

    per_row = False
    checked = False

    @cached_property
    def sharing(self) -> dict[tuple[Any, ...], Sharing]:
        """Whether threads pay, by the number of rows and what else it depends on."""
        return {}

    def way(self) -> tuple[bool, bool]:
        """Whether the policy in force says that it is a graph, and whether that is compiled."""
        ruling = self._rule(current())
        return ruling.graph, ruling.jit

    def known(self, places: dict[Any, Any]) -> ChunkGraph | None:
        """The graph of a call like this one, if `remember` noted where it is and it may be used as it is.

        Args:
            places: where graphs are, for arguments that have not changed.
        """
        ruling, backend = self._rule(current()), self._manager.backend
        held = places.get((self._owner.token, ruling.bits))
        entry = None if held is None else held()
        # What was traced under a distribution strategy is for that alone.
        if entry is None or not ruling.graph or backend.is_tracing() or backend.context() is not None:
            return None
        graph: Any = self._manager.cache.use(self._owner, entry)
        if graph is not None and listening("hit"):
            self._emit("hit")
        return graph if isinstance(graph, ChunkGraph) else None

    def remember(self, places: dict[Any, Any], parts: Sequence[Key]) -> None:
        """Note where the graph of a call is.

        Args:
            places: where to note it; the graph is not held.
            parts: the keys of the arguments of the call.
        """
        bits = self._rule(current()).bits
        entry = self._owner.table.get((bits, None, *parts))
        if entry is not None and isinstance(entry.value, ChunkGraph):
            places[self._owner.token, bits] = ref(entry)

    def _build(self, key: Key, taken: Taken, ruling: Ruling) -> Any:
        found = Notes()
        token = notes.set(found)
        try:
            # The body alone is not compiled: the loops around it are.
            graph: Any = super()._build(key, taken, ruling._replace(jit=False))
        finally:
            notes.reset(token)
        concrete = getattr(graph, "_concrete", None)
        if concrete is None:
            return graph
        return ChunkGraph(graph, found, taken.leaves, jit=ruling.jit, per_row=self.per_row)


class ChunkGraph:
    """The graph of a piece with the loops around it.

    Args:
        graph: the traced piece.
        found: what was noted while it was traced.
        leaves: what it was traced for.
        jit: whether loops are compiled with XLA.
        per_row: whether results have the rows of the chunk, so that there is no loop.
    """

    def __init__(self, graph: Any, found: Notes, leaves: Sequence[Any], *, jit: bool, per_row: bool) -> None:
        self._graph = graph
        self._concrete = graph._concrete
        # A graph that sets private variables runs one call at a time, and so do the loops that call it.
        self._serial: Any = RLock() if graph._shadows else nullcontext()
        self.nbytes = graph.nbytes
        self.notes = found
        self.jit = jit
        self.per_row = per_row
        self.tuner = Tuner(jit)
        self.calls = 0
        self._is_row = [isinstance(leaf, ChunkRows) for leaf in leaves]
        self._specs = [placeholder(leaf) for leaf in leaves]
        self._whole = any(isinstance(leaf, COMPOSITES) for leaf in leaves)
        self._lock = RLock()
        self._loose: Any = None
        self._compiled: dict[tuple[int, int], Any] = {}
        self._seen: dict[int, int] = {}

    def __call__(self, leaves: Sequence[Any]) -> ChunkRun:
        """Make the graph ready to be run for the chunks of one pass over the data."""
        return ChunkRun(self, [None if row else ready(leaf) for row, leaf in zip(self._is_row, leaves, strict=True)])

    def plain(self, inputs: Sequence[Any]) -> list[Any]:
        """Run the piece on all rows at once."""
        with self._serial:
            return _numpy(tf.nest.flatten(self._graph(inputs)))

    def looped(self, inputs: Sequence[Any], n_rows: int, block: int | None, *, usual: bool) -> list[list[Any]]:
        """Run the piece on blocks of the rows.

        Args:
            inputs: the inputs of the graph.
            n_rows: rows among them.
            block: rows of each block; None: as it turns out to be fastest.
            usual: whether this number of rows will come often.

        Returns:
            Terms to be added up.
        """
        size = n_rows if self.per_row else self.tuner.choose() if block is None else block
        loop = self._loop_for(n_rows, size, usual=usual)
        start = time.perf_counter()
        if loop is not None:
            with self._serial:
                found = _numpy(loop(inputs))
        elif n_rows <= size:
            return [self.plain(inputs)]
        else:
            with self._serial:
                found = _numpy(self._any_rows()([*inputs, tf.constant(size, tf.int64)]))
        if block is None and not self.per_row and n_rows >= 4 * size and (loop is not None or not self.jit):
            self.tuner.record(size, n_rows, time.perf_counter() - start)
        return [found]

    def _loop_for(self, n_rows: int, block: int, *, usual: bool) -> Any:
        """The compiled loop for exactly this number of rows; None where there is none, or not yet."""
        if not self.jit or n_rows == 0:
            return None
        found = self._compiled.get((n_rows, block))
        if found is not None:
            return found
        with self._lock:
            found = self._compiled.get((n_rows, block))
            if found is not None or len(self._compiled) >= _MOST_COMPILED:
                return found
            seen = self._seen[n_rows] = self._seen.get(n_rows, 0) + 1
            if not usual and seen < _OFTEN:
                if len(self._seen) > 1000:
                    self._seen.clear()
                return None
            start = time.perf_counter()
            found = self._build_loop(n_rows, block, jit=True)
            # XLA compiles when it runs for the first time.
            found = _Timed(found, self.tuner.built, time.perf_counter() - start)
            self._compiled[n_rows, block] = found
            return found

    def _any_rows(self) -> Any:
        if self._loose is None:
            with self._lock:
                if self._loose is None:
                    self._loose = self._build_loop(None, None, jit=False)
        return self._loose

    def _build_loop(self, n_rows: int | None, block: int | None, *, jit: bool) -> Any:
        outputs = [tf.TensorSpec(out.shape, out.dtype) for out in self._concrete.outputs]
        specs = [
            tf.TensorSpec([n_rows, *spec.shape[1:]], spec.dtype) if row else spec
            for row, spec in zip(self._is_row, self._specs, strict=True)
        ]
        sizes = [] if block is not None else [tf.TensorSpec([], tf.int64)]

        @leave_alone
        def zrun_blocks(*inputs: Any) -> Any:
            size = inputs[-1] if block is None else block
            fixed = inputs[: len(self._is_row)]

            def compute(rows: list[tf.Tensor]) -> list[tf.Tensor]:
                given = iter(rows)
                placed = [next(given) if row else leaf for row, leaf in zip(self._is_row, fixed, strict=True)]
                return self._concrete(*placed)  # type: ignore[no-any-return]

            if self.per_row:
                return list(self._concrete(*fixed))
            rows = [leaf for row, leaf in zip(self._is_row, fixed, strict=True) if row]
            sums, errors = sum_blocks(compute, outputs, rows, size)
            # Rounded once for all blocks of a call, which is less than what is rounded within one of them.
            return [total + error for total, error in zip(sums, settled(sums, errors), strict=True)]

        function = tf.function(zrun_blocks, autograph=False, jit_compile=jit or None)
        concrete = function.get_concrete_function(*specs, *sizes)
        result = Flattening().visit(tuple(concrete.outputs))
        traced = Traced(self._graph.name, concrete, result, 0, "now" if jit else "no", whole=self._whole)
        return executable(traced)


class _Timed:
    """A function whose first call, which compiles it, is timed."""

    def __init__(self, function: Callable[..., Any], report: Callable[[float], None], seconds: float) -> None:
        self._function = function
        self._report: Callable[[float], None] | None = report
        self._seconds = seconds

    def __call__(self, inputs: Sequence[Any]) -> Any:
        report, self._report = self._report, None
        if report is None:
            return self._function(inputs)
        start = time.perf_counter()
        found = self._function(inputs)
        report(self._seconds + time.perf_counter() - start)
        return found


class ChunkRun:
    """One pass over the data: a graph with everything but the rows.

    Args:
        graph: the graph.
        inputs: its inputs, None in place of rows.
    """

    def __init__(self, graph: ChunkGraph, inputs: list[Any]) -> None:
        self.graph = graph
        self._inputs = inputs

    def _with(self, rows: Sequence[tf.Tensor]) -> list[Any]:
        given = iter(rows)
        return [next(given) if leaf is None else leaf for leaf in self._inputs]

    def terms(self, rows: Sequence[tf.Tensor], block: int | None, *, usual: bool) -> list[list[Any]]:
        """What a chunk adds to the sums; see `ChunkGraph.looped`."""
        return self.graph.looped(self._with(rows), int(rows[0].shape[0]), block, usual=usual)

    def once(self, rows: Sequence[tf.Tensor]) -> list[Any]:
        """The results of the piece for these rows, as one block."""
        return self.graph.plain(self._with(rows))


def ready(leaf: Any) -> Any:
    """A leaf to be given to each call; a small array as it is, which the call itself converts fastest."""
    return leaf if isinstance(leaf, np.ndarray) and leaf.size <= _SMALL else to_input(leaf)


def _numpy(tensors: Any) -> list[Any]:
    return [np.asarray(tensor) for tensor in tensors]
