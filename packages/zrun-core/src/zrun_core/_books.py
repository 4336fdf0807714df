"""The books of a cache: which entries there are, in which order they were used, and what they weigh.

How it is made safe. One lock guards the order of entries and the counters. Building, disposing and callbacks happen
outside of it. Finalizers may run in the middle of anything, so they only leave a note in the inbox; notes are worked
off under the lock before anything is found, so an id that is in use again never finds an entry of the object that had
it before. Each change of the books is one step that leaves them right, since a finalizer may also call the cache. An
interrupt (Ctrl-C) can hit between two steps; whoever opens the books next finds them marked, and mends them.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict, deque
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from math import inf
from threading import RLock
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from weakref import ref

from ._budgets import check_budgets
from ._cache_info import FunctionInfo
from ._events import Event, EventName, emit
from ._explain import Explanation, nearest
from ._fork import is_owned, renewed_in_child
from ._order import Place, first, last
from ._owner import CacheOwner, Change, Dropped, Entry, Inbox, Obituary
from .errors import ZrunWarning

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._explain import Rows

T = TypeVar("T")

# How many keys of a function a new one is compared with, to say what differs.
_COMPARED = 32


class Books:
    """The books; `GraphCache` works with them. See there for the arguments."""

    def __init__(
        self,
        max_entries: int | None,
        max_bytes: int | None,
        max_age: float | None,
        dispose: Callable[[Any], None] | None,
        clock: Callable[[], float],
    ) -> None:
        check_budgets(max_entries, max_bytes, max_age)
        self._max_entries, self._max_bytes, self._max_age = max_entries, max_bytes, max_age
        self._dispose = dispose
        self._clock = clock
        self._lock = RLock()
        renewed_in_child.add(self)
        self._busy = False
        self._torn = False
        # From the least recently used on; the owners hold the entries.
        self._lru: OrderedDict[int, Place] = OrderedDict()
        # The entry used last, as long as it is on the books; 0 stands for none.
        self._newest = 0
        self._bytes = 0
        self._owners: dict[int, ref[CacheOwner]] = {}
        self._gone = FunctionInfo("(gone)", "")
        self._inbox: Inbox = deque()
        # Before this time, no entry is too old.
        self._due = inf
        # What is to be done once the lock is released.
        self._after: list[Callable[[], object]] = []

    @property
    def disposes(self) -> bool:
        """Whether values are handed to a `dispose` function."""
        return self._dispose is not None

    def is_held(self) -> bool:
        """Whether the calling thread holds the lock."""
        return is_owned(self._lock)

    def renew(self) -> None:
        """Start anew in a forked child, where the threads that hold locks and build are no more."""
        self._lock = RLock()
        self._busy = False
        self._after = []
        for owner in self.owners():
            owner.claims.clear()

    def owners(self) -> list[CacheOwner]:
        """The functions that live and have used this cache."""
        return [owner for found in list(self._owners.values()) if (owner := found()) is not None]

    def settle(self) -> None:
        """Work off the notes."""
        self._open(lambda: None)

    def _open(self, work: Callable[[], T]) -> T:
        """Work on the books under the lock, with all notes worked off; the outermost then does what was left for later.

        Not a block: an interrupt in the machinery of a generator keeps the lock for as long as somebody keeps the
        traceback, as notebooks do.
        """
        after: list[Callable[[], object]] = []
        try:
            with self._lock:
                nested = self._busy
                try:
                    self._busy = True
                    if self._torn and not nested:
                        self._mend()
                    self._torn = True
                    self._read_notes()
                    done = work()
                    self._torn = nested
                    return done
                finally:
                    self._busy = nested
                    if not nested:
                        after, self._after = self._after, after
        finally:
            # A stack runs them all, whatever one of them raises.
            with ExitStack() as stack:
                for action in reversed(after):
                    stack.callback(action)

    def _mend(self) -> None:
        """After an interrupted change: what is in the order of use is on the books, and nothing else."""
        self._bytes = self._newest = 0
        for owner in self.owners():
            owner.order.clear()
            owner.nbytes = 0
            for key, entry in list(owner.table.items()):
                if entry.serial not in self._lru or entry.outdated:
                    self._lru.pop(entry.serial, None)
                    del owner.table[key]
        for serial, place in list(self._lru.items()):
            known = place()
            holder = known.owner() if known is not None else None
            if holder is None:
                del self._lru[serial]
                continue
            holder.order[serial] = None
            holder.nbytes += place.nbytes
            self._bytes += place.nbytes

    def _admit(self, owner: CacheOwner) -> None:
        with self._lock:
            if owner.belong_to(self, self._inbox):
                self._owners[owner.token] = ref(owner)

    def _enter(self, owner: CacheOwner, entry: Entry) -> None:
        """Put an entry on the books, and drop what no longer fits."""
        owner.table[entry.key] = entry
        owner.order[entry.serial] = None
        owner.nbytes += entry.nbytes
        self._bytes += entry.nbytes
        self._lru[entry.serial] = Place.of(entry)
        self._newest = 0
        if self._max_age is not None:
            self._due = min(self._due, entry.used + self._max_age)
        self._trim(owner)

    def _drop(self, serial: int, event: Literal["evict", "invalidate"], reason: str) -> None:
        """Take one entry off the books, if it is on them."""
        self._newest = 0
        place = self._lru.pop(serial, None)
        if place is None:
            return
        self._bytes -= place.nbytes
        entry = place()
        owner = entry.owner() if entry is not None else None
        if entry is None or owner is None:
            # Its function has died; then the obituary settles the rest.
            return
        owner.order.pop(serial, None)
        owner.nbytes -= place.nbytes
        if event == "evict":
            owner.evictions += 1
        else:
            owner.invalidations += 1
        owner.dropped.append(Dropped(entry.rows, reason, entry.seconds))
        self._let_go_later(entry.value, owner.name, entry)
        self._emit_later(owner, event, reason)
        # Last, because comparing keys may run code of users.
        if owner.table.get(entry.key) is entry:
            del owner.table[entry.key]

    def _read_notes(self) -> None:
        while True:
            # In one step with the look whether there is one: a finalizer may come and work them off.
            try:
                note = self._inbox.popleft()
            except IndexError:
                break
            if isinstance(note, Change):
                self._drop(note.serial, "invalidate", note.reason)
            else:
                self._bury(note)
        self._expire()

    def _bury(self, gone: Obituary) -> None:
        """Take a function that died off the books."""
        info = gone.info
        self._owners.pop(gone.token, None)
        self._newest = 0
        for serial, value in gone.remains:
            place = self._lru.pop(serial, None)
            if place is None:
                # Dropped while the function died.
                continue
            self._bytes -= place.nbytes
            if value is not None:
                self._let_go_later(value, info.function)
            event = Event("invalidate", info.function, info.kind, "the function is gone", owner=gone.token)
            self._after.append(partial(emit, event))
        # What it had is no longer there, and counts as dropped.
        lost = info._replace(graphs=0, bytes=0, compiled=0, invalidations=info.invalidations + info.graphs)
        done = False
        while not done:
            before = self._gone
            after = before.plus(lost)
            # Else a finalizer had another function buried meanwhile.
            if done := self._gone is before:
                self._gone = after

    def _expire(self) -> None:
        """Drop what has not been used for too long; cheap as long as nothing is due."""
        if self._max_age is None or (now := self._clock()) <= self._due:
            return
        self._due = inf
        while self._lru:
            serial = first(self._lru)
            place = self._lru.get(serial)
            entry = place() if place is not None else None
            if entry is not None and now <= entry.used + self._max_age:
                self._due = entry.used + self._max_age
                break
            self._drop(serial, "evict", f"not used for {self._max_age:g} s")

    def _trim(self, owner: CacheOwner | None) -> None:
        """Drop the least recently used until the budgets are kept. Whatever was used last stays."""
        # What died a moment ago may have made room already.
        self._read_notes()
        if owner is not None and owner.max_graphs is not None:
            while len(owner.order) > owner.max_graphs:
                serial = first(owner.order)
                self._drop(serial, "evict", f"max_graphs={owner.max_graphs}")
                # Still there if a drop was interrupted here, by a finalizer that brought us back.
                owner.order.pop(serial, None)
        while self._max_entries is not None and len(self._lru) > self._max_entries:
            self._drop(first(self._lru), "evict", f"max_entries={self._max_entries}")
        while self._max_bytes is not None and self._bytes > self._max_bytes and len(self._lru) > 1:
            self._drop(first(self._lru), "evict", f"max_bytes={self._max_bytes}")

    def _explain(self, owner: CacheOwner, rows: Rows) -> Explanation:
        """Compare a key that is not there with the most recent ones of its function, and with those dropped last."""
        if not rows:
            return Explanation(seen=owner.builds)
        # Keys without a description cannot be compared.
        known = [each for each in self._open(lambda: self._known(owner)) if each.rows]
        told = nearest(rows, [each.rows for each in known])
        if told.nearest is None:
            return Explanation(seen=owner.builds)
        best = known[told.nearest]
        dropped = "" if told.differences else best.reason
        return replace(told, dropped=dropped, seconds=best.seconds)

    def _known(self, owner: CacheOwner) -> list[Dropped]:
        """What a new key of a function is compared with."""
        recent = [self._lru.get(serial) for serial in last(owner.order, _COMPARED)]
        found = [place() for place in recent if place is not None]
        kept = [Dropped(entry.rows, "", entry.seconds) for entry in found if entry is not None]
        return [*kept, *reversed(owner.dropped)]

    def _emit_later(self, owner: CacheOwner, name: EventName, reason: str, **more: Any) -> None:
        self._after.append(partial(emit, Event(name, owner.name, owner.kind, reason, owner=owner.token, **more)))

    def _let_go_later(self, value: object, name: str, *held: object) -> None:
        # `held` is what must not end under the lock either: ending may run code of users.
        self._after.append(partial(self._let_go, value, name, *held))

    def _let_go(self, value: object, name: str, *_held: object) -> None:
        if self._dispose is None:
            return
        try:
            self._dispose(value)
        except Exception as error:  # noqa: BLE001 - whatever it is, it concerns nobody who just looks something up
            warnings.warn(
                f"dispose raised {type(error).__name__}: {error} for a value of {name}. The cache has let go of it all "
                f"the same; correct the dispose function.",
                ZrunWarning,
                stacklevel=2,
            )
