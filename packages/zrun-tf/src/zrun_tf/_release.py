"""What becomes of graphs that nobody uses any more.

A graph of TensorFlow is a cycle of Python objects: its operations refer to it. So its memory comes back at a full
garbage collection, which with TensorFlow loaded takes some 0.3 s. Python makes one now and then by itself, when enough
objects have come; building graphs brings them fast, so that some ten dropped graphs wait at any time. This module
steps in only where that does not happen (because of large constants in few objects, or because collection is switched
off): when many dropped graphs, or much of their memory, wait, one collection serves all.

What XLA compiled is another matter. TensorFlow keeps it for the life of the process, about 3.5 MB a graph, whatever
becomes of the graph, and has no interface to give it back. Graphs that are for single objects are therefore compiled
only once they have been used several times, and a process that drops many compiled ones is warned.
"""

from __future__ import annotations

import ctypes
import gc
import warnings
from collections import deque
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final
from weakref import ref

from zrun_core.errors import ZrunWarning

if TYPE_CHECKING:
    from ._graph import Graph, Status

MOST_WAITING: Final = 32
MOST_BYTES_WAITING: Final = 256 << 20
KEPT_BY_XLA: Final = 3_500_000
# As many compiled graphs, dropped, hold some 200 MB.
_MOST_COMPILED_DROPPED: Final = 64


class _Watched(ref[Any]):
    """A graph in use, weakly, with what is known of it."""

    __slots__ = ("function_graph", "name", "nbytes", "status")

    function_graph: ref[Any]
    name: str
    nbytes: int
    status: Status


class Release:
    """Keeps an eye on the graphs that were let go. Scope: process."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._in_use: dict[int, _Watched] = {}
        # Filled by callbacks, which may run in the middle of anything.
        self._let_go: deque[_Watched] = deque()
        self._waiting: list[tuple[ref[Any], int]] = []
        self._warned = False
        self.compiled_dropped = 0

    def watch(self, graph: Graph, function_graph: Any) -> None:
        """Be told when a graph is let go.

        Args:
            graph: as the cache holds it.
            function_graph: TensorFlow's, which is a cycle of objects.
        """
        watched = _Watched(graph, self._note)
        watched.status = graph.status
        watched.function_graph = ref(function_graph)
        watched.name = graph.name
        watched.nbytes = graph.nbytes
        self._in_use[id(watched)] = watched

    def _note(self, watched: _Watched) -> None:
        self._in_use.pop(id(watched), None)
        self._let_go.append(watched)

    def settle(self) -> None:
        """Collect garbage where too much of it waits; called before another graph is built."""
        with self._lock:
            name = ""
            while self._let_go:
                gone = self._let_go.popleft()
                self._waiting.append((gone.function_graph, gone.nbytes))
                if gone.status.compiled:
                    self.compiled_dropped += 1
                    name = gone.name
            self._waiting = [pair for pair in self._waiting if pair[0]() is not None]
            waiting, nbytes = len(self._waiting), sum(size for _, size in self._waiting)
            too_many = self.compiled_dropped >= _MOST_COMPILED_DROPPED and not self._warned
            self._warned = self._warned or too_many
        if waiting >= MOST_WAITING or nbytes >= MOST_BYTES_WAITING:
            gc.collect()
        if too_many:
            warnings.warn(
                f"{self.compiled_dropped} graphs that XLA had compiled were dropped, the last of {name}; TensorFlow "
                f"keeps about {KEPT_BY_XLA / 1e6:.1f} MB of each until the process ends. Have objects share a graph "
                f"(make their class a dataclass or a @struct class, and pass arrays as arguments), or run what is "
                f"made anew each time with run.using(jit=False).",
                ZrunWarning,
                stacklevel=2,
            )


def give_back() -> int:
    """Collect garbage and hand freed memory back to the system.

    Returns:
        The bytes that the process shrank by; 0 where the system does not tell.
    """
    before = _resident_bytes()
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if hasattr(ctypes, "CDLL") else None
    if trim is not None:
        trim(0)
    return max(0, before - _resident_bytes())


def _resident_bytes() -> int:
    """Resident memory of this process; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096
    except OSError:
        return 0
