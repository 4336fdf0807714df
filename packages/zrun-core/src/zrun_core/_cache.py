"""GraphCache: what was built is found again, within budgets, as long as what it read is as it was."""

from __future__ import annotations

import time
from math import inf
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import WeakSet

from ._budgets import check_budgets
from ._build_once import Building, Claim, Reentrant, is_building, is_building_key
from ._builder import Builder
from ._cache_info import CacheInfo, Freed, FunctionInfo
from ._events import Event, emit, listening
from ._explain import Explanation
from ._fork import Guard
from ._owner import CacheOwner

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence
    from types import EllipsisType

    from ._explain import Rows

__all__ = ["CacheInfo", "CacheOwner", "Freed", "FunctionInfo", "GraphCache", "Reentrant", "clear_all_caches"]

V = TypeVar("V")


class GraphCache(Builder, Generic[V]):
    """A bounded cache of built values; the least recently used go first.

    An entry belongs to a `CacheOwner` (one function) and a key. It goes when a budget asks for it, when the owner dies,
    when an object it was built for (`weak`) dies, and when tracked state changes that was read while it was built.

    The cache holds owners, the objects behind keys and tracked objects weakly. A value must do the same: one that holds
    an object of its own `weak` strongly (a closure over it, a bound method) keeps that object, and so itself, alive
    until a budget drops it. A value may refer to its own function.

    What a death or a change leaves behind is cleared up by the next operation on the cache, whichever that is.

    Args:
        max_entries: how many values may be kept. None means no limit.
        max_bytes: how many bytes they may have together, by `sizeof`. None means no limit. The value built last is kept
            even if it is larger.
        max_age: for how many seconds a value may go unused. None means for ever.
        sizeof: estimates the size of a value in bytes.
        dispose: called with each value that the cache lets go, after its lock is released. Somebody who was given the
            value may still be using it, so this must not destroy it. An exception is reported as a `ZrunWarning`.
        clock: returns the time in seconds; never goes back.

    Raises:
        TypeError: `sizeof`, `dispose` or `clock` cannot be called.
        ValueError: a budget is not positive.

    Scope: process; safe to share between threads. Registers itself for `clear_all_caches`.

    Example:
        >>> cache = GraphCache(max_entries=2, sizeof=len)
        >>> loss = CacheOwner("loss", "loss")
        >>> cache.get_or_build(loss, ("float64", 3), lambda: "a graph")
        'a graph'
        >>> cache.get(loss, ("float64", 3))
        'a graph'
        >>> cache.clear()
        Freed(graphs=1, bytes=7)
    """

    def __init__(
        self,
        *,
        max_entries: int | None,
        max_bytes: int | None = None,
        max_age: float | None = None,
        sizeof: Callable[[V], int],
        dispose: Callable[[V], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(max_entries, max_bytes, max_age, sizeof, dispose, clock)
        with _registry_guard.lock:
            _registry.add(self)

    def get(self, owner: CacheOwner, key: Hashable) -> V | None:
        """Find a value; the hot path.

        Args:
            owner: the function.
            key: the key.

        Returns:
            The value, now the most recently used, or None.

        Scope: process. Where tracked reads are being recorded, those of the value are noted as well.
        """
        # Comparing keys may run code of users, so it is done without the lock; the serial number tells what is valid.
        entry = owner.table.get(key)
        return None if entry is None else self.use(owner, entry)

    def get_or_build(
        self,
        owner: CacheOwner,
        key: Hashable,
        build: Callable[[], V],
        *,
        weak: Sequence[object] = (),
        rows: Callable[[], Rows] | None = None,
    ) -> V:
        """Find a value, or build it: one builder per key at a time, while other keys go on.

        Others who ask for the key wait and share the value; if the builder raises, they try themselves. A thread that
        is itself building something does not wait, since the other builder may be waiting for it: it builds for itself.
        A body that waits for a thread of its own hands it its context (`contextvars.copy_context().run`), so that a
        call of the same function there is known to be part of the build.

        Args:
            owner: the function.
            key: the key.
            build: makes the value. Tracked state that it reads is recorded; if that changes, the entry goes. An
                exception passes through and leaves nothing behind.
            weak: objects whose death drops the entry: those that `key` holds by identity. `touch` drops it too.
            rows: describes the key, for explanations, as `Flat.rows` does; called only before a build.

        Returns:
            The value.

        Raises:
            Reentrant: this context is building this very key further up.
            TypeError: `build` returned None, or Python cannot refer weakly to an object of `weak`.
            ValueError: `owner` belongs to another cache, or `sizeof` returned something else than a number of bytes.

        Scope: process.
        """
        value = self.get(owner, key)
        if value is not None:
            return self._hit(owner, value)
        self._admit(owner)
        if is_building_key(owner.token, key):
            raise Reentrant(f"{owner.name} is being built for this key further up in this context.")
        may_wait = not is_building()
        claim = Claim(owner.token, key)
        try:
            # Before the claim is made: a finalizer that asks for the key in between must not wait for this thread.
            with Building(claim):
                value = self._claim(owner, claim, may_wait)
                if value is None:
                    # Another may have built it between the look-up and the claim.
                    value = self.get(owner, key)
                if value is not None:
                    return self._hit(owner, value)
                built: V = self._build(owner, claim, build, weak, rows)
                return built
        finally:
            # One C call and no Python function, so that no interrupt can come in between and leave others waiting.
            claim.is_open = False
            claim.gate.release()
            self._release(owner, claim)

    def _hit(self, owner: CacheOwner, value: V) -> V:
        if listening("hit"):
            emit(Event("hit", owner.name, owner.kind, owner=owner.token))
        return value

    def resize(
        self,
        max_entries: int | EllipsisType | None = ...,
        max_bytes: int | EllipsisType | None = ...,
        max_age: float | EllipsisType | None = ...,
    ) -> Freed:
        """Set budgets, and drop at once what no longer fits.

        Args:
            max_entries: how many values may be kept. None means no limit; leaving it out leaves it as it is.
            max_bytes: how many bytes they may have together; likewise.
            max_age: for how many seconds a value may go unused; likewise.

        Returns:
            What was dropped.

        Raises:
            ValueError: a budget is not positive; nothing was changed.

        Scope: process.
        """

        def change() -> Freed:
            entries = self._max_entries if max_entries is ... else max_entries
            nbytes = self._max_bytes if max_bytes is ... else max_bytes
            age = self._max_age if max_age is ... else max_age
            check_budgets(entries, nbytes, age)
            before = len(self._lru), self._bytes
            self._max_entries, self._max_bytes, self._max_age = entries, nbytes, age
            self._due = -inf
            self._expire()
            self._trim(None)
            return Freed(before[0] - len(self._lru), before[1] - self._bytes)

        return self._open(change)

    def clear(self, owner: CacheOwner | None = None) -> Freed:
        """Drop all entries, or those of one function. Results never change; what is needed is built again.

        Args:
            owner: the function; None means all.

        Returns:
            What was dropped.

        Scope: process. A build that is going on is not disturbed, and its value is kept.
        """

        def drop() -> Freed:
            before = len(self._lru), self._bytes
            for serial in list(self._lru if owner is None else owner.order):
                self._drop(serial, "evict", "cleared")
            return Freed(before[0] - len(self._lru), before[1] - self._bytes)

        return self._open(drop)

    def info(self) -> CacheInfo:
        """What is in the cache.

        Returns:
            A row for each function that used it; prints as a table.

        Scope: process.
        """

        def read() -> CacheInfo:
            rows = [owner.info() for owner in self.owners()]
            rows.sort(key=lambda row: (-row.trace_seconds, row.function))
            if any(self._gone[2:]):
                rows.append(self._gone)
            return CacheInfo(tuple(rows), self._max_entries, self._max_bytes, self._max_age)

        return self._open(read)

    def explain(self, owner: CacheOwner, key: Hashable, rows: Rows) -> Explanation:
        """Say whether a key would be found, and if not, how it differs from the nearest one. Changes nothing.

        Args:
            owner: the function.
            key: the key.
            rows: describes the key, as `Flat.rows` does; it is compared with keys that were built with `rows` too.

        Returns:
            The explanation.

        Scope: process.
        """
        found = owner.table.get(key)
        self.settle()
        with self._lock:
            if found is not None and found.serial in self._lru:
                return Explanation(hit=True, seconds=found.seconds)
        return self._explain(owner, rows)


_registry: WeakSet[GraphCache[Any]] = WeakSet()
_registry_guard = Guard()


def clear_all_caches() -> Freed:
    """Drop every entry of every cache. Results never change; what is needed is built again.

    Returns:
        What was dropped.

    Scope: process.
    """
    with _registry_guard.lock:
        caches = list(_registry)
    freed = [cache.clear() for cache in caches]
    return Freed(sum(each.graphs for each in freed), sum(each.bytes for each in freed))
