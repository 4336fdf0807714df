"""A function as the cache sees it, and the entries it owns.

The entries of a function live in its owner and nowhere else; the cache orders them through weak references. So a graph
whose body refers to its own function is an ordinary cycle, which the garbage collector frees, and not a reason for the
cache to keep both for ever.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from itertools import count
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import ref

from ._budgets import check_count
from ._cache_info import FunctionInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from ._books import Books
    from ._build_once import Claim
    from ._explain import Difference, Rows
    from ._reads import Recording


class Change(NamedTuple):
    """Left for the cache: an entry depends on something that changed or died."""

    serial: int
    reason: str


class Obituary(NamedTuple):
    """Left for the cache: a function is gone, and its entries with it."""

    token: int
    info: FunctionInfo
    # The serial number and value of each; no value where nobody disposes of it.
    remains: tuple[tuple[int, Any], ...]


# Appending to a deque is safe wherever Python may run a finalizer, also in the middle of the cache's own work.
Inbox = deque["Change | Obituary"]


class Dropped(NamedTuple):
    """What is remembered of an entry that was dropped: words only."""

    rows: Rows
    reason: str
    seconds: float


class Death(ref[Any]):
    """A weak reference that tells the cache of the death of something that an entry depends on."""

    __slots__ = ("inbox", "serial", "what")

    inbox: Inbox
    serial: int
    what: str

    @classmethod
    def of(cls, obj: object, serial: int, inbox: Inbox) -> Death:
        """Watch an object.

        Args:
            obj: the object.
            serial: the entry that depends on it.
            inbox: where the cache looks for changes.

        Raises:
            TypeError: Python cannot refer to `obj` weakly.
        """
        try:
            made = cls(obj, _report)
        except TypeError:
            raise TypeError(
                f"weak holds {obj!r:.100} of type {type(obj).__qualname__}; Python cannot refer weakly to it, so its "
                f"end would go unseen. Add '__weakref__' to its __slots__, or put its value into the key."
            ) from None
        made.inbox = inbox
        made.serial = serial
        made.what = type(obj).__qualname__
        return made

    @property
    def reason(self) -> str:
        """What the end of the object means, in words."""
        return f"the {self.what} object it was traced for is gone"


class Outdate:
    """Tells a cache, which it does not keep alive, that what an entry had read is outdated."""

    __slots__ = ("_books", "_inbox", "_serial")

    def __init__(self, books: Books, inbox: Inbox, serial: int) -> None:
        self._books = ref(books)
        self._inbox = inbox
        self._serial = serial

    def __call__(self, reason: str) -> None:
        self._inbox.append(Change(self._serial, reason))
        if (books := self._books()) is not None:
            books.settle()


def _report(death: Death, change: type[Change] = Change) -> None:
    # As a default, because objects die on after the names of a module have gone at the end of the interpreter.
    death.inbox.append(change(death.serial, death.reason))


class Entry:
    """One built value, with what it depends on."""

    __slots__ = (
        "__weakref__",
        "deaths",
        "key",
        "nbytes",
        "owner",
        "reads",
        "rows",
        "seconds",
        "serial",
        "used",
        "value",
    )

    def __init__(
        self,
        serial: int,
        owner: CacheOwner,
        key: Hashable,
        value: Any,
        nbytes: int,
        deaths: tuple[Death, ...],
        reads: Recording | None,
        rows: Rows,
        seconds: float,
        used: float,
    ) -> None:
        self.serial = serial
        self.owner = ref(owner)
        self.key = key
        self.value = value
        self.nbytes = nbytes
        self.deaths = deaths
        self.reads = reads
        self.rows = rows
        self.seconds = seconds
        self.used = used

    @property
    def outdated(self) -> str:
        """Why the value must not be used any more; empty if it may."""
        said = self.reads.outdated if self.reads is not None else ""
        return said or next((death.reason for death in self.deaths if death() is None), "")


class CacheOwner:
    """One function as the cache sees it: its name, its own budget, its counters.

    Whoever decorates a function makes one and holds it as long as the function lives; its entries die with it.

    Args:
        name: the qualified name of the function.
        kind: its kind.
        max_graphs: how many graphs it may have; the least recently used go first. None means that only the budgets of
            the whole cache count. Fixed for good.

    Raises:
        ValueError: `max_graphs` is not a positive number.

    Attributes:
        hits: look-ups that found an entry, or got one from a thread that was just building it.
        misses: look-ups that started a build.
        builds: builds that succeeded.
        evictions: entries dropped by a budget, by age or by `clear`.
        invalidations: entries dropped because what they had read changed or died.
        seconds: time spent in builds.
        watched: whether many builds are warned of, or refused, as the policy says.
        advise: what to do about a difference between two builds, in words; empty where that is not known.

    Scope: belongs to the first cache it is used with.
    """

    __slots__ = (
        "__weakref__",
        "advise",
        "builds",
        "claims",
        "disposed",
        "dropped",
        "evictions",
        "hits",
        "home",
        "inbox",
        "invalidations",
        "kind",
        "max_graphs",
        "misses",
        "name",
        "nbytes",
        "order",
        "seconds",
        "table",
        "token",
        "watched",
    )

    def __init__(self, name: str, kind: str = "tensor", max_graphs: int | None = None) -> None:
        self.inbox: Inbox | None = None
        self.disposed = False
        check_count("max_graphs", max_graphs)
        self.name = name
        self.kind = kind
        self.max_graphs = max_graphs
        self.hits = self.misses = self.builds = self.evictions = self.invalidations = self.nbytes = 0
        self.seconds = 0.0
        self.watched = True
        self.advise: Callable[[Difference], str] = attrgetter("hint")
        self.token = next(_tokens)
        self.home: ref[Books] | None = None
        self.table: dict[Hashable, Entry] = {}
        self.order: OrderedDict[int, None] = OrderedDict()
        self.claims: dict[Hashable, Claim] = {}
        self.dropped: deque[Dropped] = deque(maxlen=8)

    def belong_to(self, cache: Books, inbox: Inbox) -> bool:
        """Belong to a cache.

        Args:
            cache: the cache.
            inbox: where it looks for changes.

        Returns:
            True if this is new.

        Raises:
            ValueError: it belongs to another cache.
        """
        home = self.home() if self.home is not None else None
        if home is cache:
            return False
        if home is not None:
            raise ValueError(
                f"{self.name} has its graphs in another cache already. Make a CacheOwner for each cache that it uses."
            )
        self.order.clear()
        self.nbytes = 0
        # The values must not outlive the cache that counts and clears them.
        self.home = ref(cache, lambda _, table=self.table: table.clear())  # type: ignore[misc]
        self.inbox = inbox
        # Kept here, because the garbage collector clears the weak references of what it collects first.
        self.disposed = cache.disposes
        return True

    def info(self) -> FunctionInfo:
        """Its row in the table of the cache."""
        counted = (self.hits, self.misses, self.evictions, self.invalidations)
        compiled = sum(bool(getattr(entry.value, "compiled", False)) for entry in list(self.table.values()))
        return FunctionInfo(self.name, self.kind, len(self.order), *counted, self.seconds, self.nbytes, compiled)

    def __del__(self) -> None:
        if self.inbox is None:
            return
        # A list takes them in one step: another thread may be dropping some, and the books will know which those were.
        entries = list(self.table.values())
        # Without a dispose function there is no need to keep the values for it.
        remains = tuple((each.serial, each.value if self.disposed else None) for each in entries)
        self.inbox.append(Obituary(self.token, self.info(), remains))

    def __repr__(self) -> str:
        return f"<CacheOwner of {self.name}: {len(self.order)} graphs>"


_tokens = count(1)
