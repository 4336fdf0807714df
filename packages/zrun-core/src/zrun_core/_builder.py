"""Using entries of a cache and building them: one builder per key at a time, and what is recorded meanwhile."""

from __future__ import annotations

from itertools import count
from operator import index
from typing import TYPE_CHECKING, Any

from ._books import Books
from ._fork import is_at_work
from ._owner import Death, Entry, Outdate
from ._reads import Recording, note_read

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ._build_once import Claim
    from ._explain import Rows
    from ._owner import CacheOwner

_serials = count(1)


class Builder(Books):
    """What `GraphCache` does on a hit and on a miss."""

    def __init__(
        self,
        max_entries: int | None,
        max_bytes: int | None,
        max_age: float | None,
        sizeof: Callable[[Any], int],
        dispose: Callable[[Any], None] | None,
        clock: Callable[[], float],
    ) -> None:
        for name, given in (("sizeof", sizeof), ("dispose", dispose), ("clock", clock)):
            if not callable(given) and not (name == "dispose" and given is None):
                raise TypeError(f"{name} must be a function; got {given!r} of type {type(given).__name__}.")
        super().__init__(max_entries, max_bytes, max_age, dispose, clock)
        self._sizeof = sizeof

    def use(self, owner: CacheOwner, entry: Entry) -> Any:
        """Use an entry that was found before, as a look-up of its key would.

        Args:
            owner: the function.
            entry: the entry, which may have been dropped meanwhile.

        Returns:
            The value, now the most recently used, or None.

        Scope: process.
        """
        if self._inbox or (self._max_age is not None and self._clock() > self._due):
            self.settle()
        if entry.serial == self._newest and self._max_age is None:
            # Nothing to put in order. CPython does not leave a thread in the middle of this statement.
            owner.hits += 1
        else:
            with self._lock:
                try:
                    self._lru.move_to_end(entry.serial)
                except KeyError:
                    return None
                self._newest = entry.serial
                if owner.max_graphs is not None:
                    owner.order.move_to_end(entry.serial)
                if self._max_age is not None:
                    entry.used = self._clock()
                owner.hits += 1
        if entry.reads is not None:
            entry.reads.replay()
        return entry.value

    def _claim(self, owner: CacheOwner, claim: Claim, may_wait: bool) -> Any:
        """Get the right to build (None), or the value that another builder shares."""
        while (other := owner.claims.setdefault(claim.key, claim)) is not claim:
            if not may_wait or is_at_work():
                return None
            other.wait()
            # It may be outdated already, by a change that came before this call.
            if (shared := other.shared) is not None and not shared.outdated:
                with self._lock:
                    owner.hits += 1
                if shared.reads is not None:
                    shared.reads.replay()
                return shared.value
            # It failed, or was interrupted before it could do this itself.
            self._release(owner, other)
        return None

    def _release(self, owner: CacheOwner, claim: Claim) -> None:
        with self._lock:
            if owner.claims.get(claim.key) is claim:
                del owner.claims[claim.key]

    def _build(
        self,
        owner: CacheOwner,
        claim: Claim,
        build: Callable[[], Any],
        weak: Sequence[object],
        rows: Callable[[], Rows] | None,
    ) -> Any:
        # It is gone through twice.
        weak = tuple(weak)
        serial = next(_serials)
        # From now on, so that none can die unseen.
        deaths = tuple(Death.of(obj, serial, self._inbox) for obj in weak)
        described = rows() if rows is not None else ()
        reason = self._explain(owner, described).reason
        with self._lock:
            owner.misses += 1
        start = self._clock()
        with Recording() as reads:
            try:
                for obj in weak:
                    note_read(obj)
                value = build()
            finally:
                # An interrupt can skip the end of the block; then this context would note on and on.
                reads.open = False
        now = self._clock()
        if value is None:
            raise TypeError(f"The build of {owner.name} returned None, which stands for 'not in the cache'.")
        nbytes = _checked_size(self._sizeof(value), owner)
        depends = reads if reads.reads else None
        if depends is not None:
            depends.watch(Outdate(self, self._inbox, serial))
        entry = Entry(serial, owner, claim.key, value, nbytes, deaths, depends, described, now - start, now)
        return self._keep(owner, entry, claim, reason)

    def _keep(self, owner: CacheOwner, entry: Entry, claim: Claim, reason: str) -> Any:
        """Put what was built on the books, share it, and say so."""

        def put(entry: Entry) -> Any:
            self._emit_later(owner, "build", reason, seconds=entry.seconds, rows=entry.rows, retrace=owner.builds > 0)
            owner.builds += 1
            owner.seconds += entry.seconds
            present = owner.table.get(entry.key)
            if present is not None and present.serial in self._lru:
                # Somebody built it for himself meanwhile; one graph per key is enough.
                self._let_go_later(entry.value, owner.name, entry)
                entry = present
            else:
                self._enter(owner, entry)
            # Only now: what changes from here on finds the entry on the books.
            if entry.outdated:
                self._drop(entry.serial, "invalidate", entry.outdated)
            else:
                claim.shared = entry
            return entry.value

        return self._open(lambda: put(entry))


def _checked_size(size: Any, owner: CacheOwner) -> int:
    """What `sizeof` returned, as an int; NaN and the like would make the sum of all sizes useless for good."""
    try:
        nbytes = index(size)
    except TypeError:
        nbytes = -1
    if nbytes < 0:
        raise ValueError(f"sizeof must return a number of bytes, 0 or more; got {size!r} for {owner.name}.")
    return nbytes
