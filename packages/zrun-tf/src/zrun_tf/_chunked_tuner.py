"""The block size, found while the work is done: neighbours of the best so far are tried until none is better."""

from __future__ import annotations

from threading import Lock
from typing import Final

# Rows of a block to start from, and the least and most to be tried. With XLA, everything that is computed of a block
# is one loop over it, and larger blocks only leave the cache; without, each operation costs a call of its own.
COMPILED: Final = (4096, 1024, 16384)
INTERPRETED: Final = (32768, 4096, 262144)

_SAMPLES: Final = 3

# Graphs for a number of rows are compiled at the third pass.
_PASSES: Final = 8

# A neighbour must be better by this much, so that noise does not move the size for ever.
_GAIN: Final = 0.97

# What trying a size may cost, as a part of the time that the work has taken so far.
_SHARE: Final = 0.2


class Tuner:
    """Chooses the block size of one graph.

    Args:
        compiled: whether each size has to be compiled, which is tried only once it is a small part of the work.

    Attributes:
        best: rows of the best block so far.

    Scope: process (thread-safe); lives as long as the graph.
    """

    def __init__(self, compiled: bool) -> None:
        self.best, self._least, self._most = COMPILED if compiled else INTERPRETED
        self._compiled = compiled
        self._lock = Lock()
        self._times: dict[int, list[float]] = {}
        self._spent = 0.0
        self._cost = 0.0
        self._settled = False

    @property
    def settled(self) -> bool:
        """Whether no other size will be tried."""
        return self._settled

    def choose(self) -> int:
        """The size for the next call."""
        if self._settled:
            return self.best
        with self._lock:
            if len(self._times.get(self.best, ())) < _SAMPLES:
                return self.best
            for size in (self.best // 2, self.best * 2):
                if self._least <= size <= self._most and len(self._times.get(size, ())) < _SAMPLES:
                    started = size in self._times
                    if started or not self._compiled or self._cost <= _SHARE * self._spent:
                        return size
                    return self.best
            self._settled = True
            return self.best

    def record(self, block: int, rows: int, seconds: float) -> None:
        """Say what a call with this size took."""
        if self._settled:
            return
        with self._lock:
            self._spent += seconds
            self._times.setdefault(block, []).append(seconds / rows)
            # The least of some: other work on the machine only ever adds to a time.
            known = {size: min(times) for size, times in self._times.items() if len(times) >= _SAMPLES}
            if self.best in known:
                better = min(known, key=lambda size: known[size])
                if known[better] < _GAIN * known[self.best]:
                    self.best = better

    def built(self, seconds: float) -> None:
        """Say what it took to compile a graph for one size."""
        with self._lock:
            self._cost = max(self._cost, seconds)


class Sharing:
    """Whether rows are shared between threads, or left to the calling one, found by trying both.

    Waking another thread takes as long as computing some ten thousand rows of a simple function, and a few hundred of
    an expensive one; and XLA itself spreads large blocks over threads, which for some functions is as good.

    Args:
        first: what to begin with.

    Scope: process (thread-safe).
    """

    def __init__(self, first: bool) -> None:
        self._lock = Lock()
        self._first = first
        self._times: dict[bool, list[float]] = {False: [], True: []}
        self._spent = self._cost = 0.0
        self._tries = False
        self._found: bool | None = None

    def choose(self) -> bool:
        """Whether to share the next pass."""
        if self._found is not None:
            return self._found
        with self._lock:
            own, other = self._times[self._first], self._times[not self._first]
            if not self._tries:
                # The other way has to be built too, which takes about as long as the slowest pass did.
                if len(own) < _PASSES or self._cost > _SHARE * (self._spent - self._cost):
                    return self._first
                self._tries = True
                own.clear()
            if min(len(own), len(other)) < _PASSES:
                return (len(other) <= len(own)) != self._first
            self._found = (min(other) < _GAIN * min(own)) != self._first
            return self._found

    def record(self, shared: bool, seconds: float) -> None:
        """Say what a pass took."""
        if self._found is None:
            with self._lock:
                self._cost = max(self._cost, seconds)
                self._spent += seconds
                self._times[shared].append(seconds)
