"""What happens to graphs, as events: for callbacks, for counting traces, for the log.

The cache emits `build`, `evict` and `invalidate`, and `hit` where a caller gets what another thread has built; the
engine emits the other hits, `inline` and `eager`; a backend's package emits `gradient` and `chunks`. Callbacks run in
the thread that causes the event, never under a lock of zrun.
"""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from ._fork import Guard
from .errors import ZrunWarning

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Self

    from ._structure import KeyRow

EventName = Literal["build", "hit", "evict", "invalidate", "inline", "eager", "fallback", "gradient", "chunks"]
EVENT_NAMES: tuple[EventName, ...] = get_args(EventName)

_VERBS = {
    "build": "traced",
    "hit": "ran from the cache",
    "evict": "evicted a graph of",
    "invalidate": "dropped a graph of",
    "inline": "inlined",
    "eager": "ran eagerly",
    "fallback": "took another way for",
    "gradient": "differentiated",
    "chunks": "went in chunks through",
}


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to a graph, or to a call.

    Attributes:
        name: what happened. `build`: a graph was traced; `hit`: it was found; `evict`: it was dropped by a budget or
            cleared; `invalidate`: what it had read changed or died; `inline`: a call inside a trace; `eager`: a call
            ran as Python; `fallback`: a derivative was computed in another way than the cheapest; `gradient`:
            derivatives were computed; `chunks`: data were gone through in chunks.
        function: the qualified name of the function.
        kind: its kind; of a `gradient` event, what was computed (`"gradient"`, `"hessian"`, ...).
        reason: why, in words; empty where there is nothing to say. Of a `gradient` event, how: `"automatic"` or
            `"numerical"`.
        seconds: what a build took; 0.0 for other events.
        rows: the key of a graph that was built, where its function describes keys.
        retrace: a build of a function that had been built before.
        owner: a number that tells apart functions of the same name; 0 where it is not known.
        count: how many of them the event stands for: the chunks of a `chunks` event.
    """

    name: EventName
    function: str
    kind: str
    reason: str = ""
    seconds: float = 0.0
    rows: tuple[KeyRow, ...] = ()
    retrace: bool = False
    owner: int = 0
    count: int = 1

    def __str__(self) -> str:
        took = f" in {self.seconds:.3g} s" if self.name == "build" else ""
        why = f": {self.reason}" if self.reason else ""
        return f"{_VERBS[self.name]} {self.function} ({self.kind}){took}{why}"


class _Audience:
    """Who listens. The parts are replaced as wholes, so that `emit` and `listening` need no lock."""

    def __init__(self) -> None:
        self.guard = Guard()
        self.listeners: tuple[Listener, ...] = ()
        self.logged: frozenset[str] = frozenset()
        self.wanted: frozenset[str] = frozenset()

    def settle(self) -> None:
        self.wanted = self.logged.union(*(listener.names for listener in self.listeners))

    def replace(self, change: Callable[[tuple[Listener, ...]], tuple[Listener, ...]]) -> None:
        """Have other listeners."""
        with self.guard.lock:
            while True:
                before = self.listeners
                after = change(before)
                # A finalizer may have come and gone meanwhile; nothing can between this look and the assignment.
                if self.listeners is before:
                    self.listeners = after
                    break
            self.settle()


_audience = _Audience()


class Listener:
    """A callback that hears events while its `with` block is open; made by `listen`."""

    def __init__(self, callback: Callable[[Event], Any], names: frozenset[str]) -> None:
        self.callback = callback
        self.names = names

    def __enter__(self) -> Self:
        entered = _audience.listeners.count(self)
        try:
            _audience.replace(self._once_more)
        except BaseException:
            if _audience.listeners.count(self) > entered:
                _audience.replace(self._once_less)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        entered = _audience.listeners.count(self)
        try:
            _audience.replace(self._once_less)
        except BaseException:
            if _audience.listeners.count(self) == entered:
                _audience.replace(self._once_less)
            raise

    def _once_more(self, listeners: tuple[Listener, ...]) -> tuple[Listener, ...]:
        return (*listeners, self)

    def _once_less(self, listeners: tuple[Listener, ...]) -> tuple[Listener, ...]:
        """Without the last place at which this one is, if there is any."""
        for place in range(len(listeners) - 1, -1, -1):
            if listeners[place] is self:
                return (*listeners[:place], *listeners[place + 1 :])
        return listeners

    def __repr__(self) -> str:
        return f"listen({_name_of(self.callback)}, {', '.join(map(repr, sorted(self.names)))})"


def listen(callback: Callable[[Event], Any], *names: EventName) -> Listener:
    """Have a function called for each event while a `with` block is open.

    Args:
        callback: called with the `Event`, in the thread that causes it, after every lock has been released. An
            exception it raises does not disturb the computation; it is reported as a `ZrunWarning`.
        *names: which events: `"build"`, `"hit"`, `"evict"`, `"invalidate"`, `"inline"`, `"eager"`, `"fallback"`,
            `"gradient"`, `"chunks"`; none means all.

    Returns:
        A context manager. It can be entered again, also while it is open: the callback is called once per event until
        the last block is left.

    Raises:
        TypeError: `callback` cannot be called.
        ValueError: there is no event of this name.

    Scope: process. Events of every thread are heard.

    Example:
        >>> from zrun_core import CacheOwner, GraphCache
        >>> cache, tables = GraphCache(max_entries=10, sizeof=len), CacheOwner("tables")
        >>> with listen(print, "build"):
        ...     cache.get_or_build(tables, "key", lambda: "a table")
        traced tables (tensor) in ... s: first call
        'a table'
    """
    if not callable(callback):
        raise TypeError(f"listen takes a callable; got {callback!r} of type {type(callback).__name__}.")
    for name in names:
        check_event_name(name, "listen")
    return Listener(callback, frozenset(names or EVENT_NAMES))


def check_event_name(name: object, asked: str) -> None:
    """Raise unless there is an event of this name.

    Args:
        name: what was given.
        asked: the function it was given to, for the message.

    Raises:
        ValueError: there is none.
    """
    if name not in EVENT_NAMES:
        from difflib import get_close_matches

        near = get_close_matches(str(name), EVENT_NAMES, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"{asked}: there is no event {name!r}.{hint} The events are {', '.join(EVENT_NAMES)}.")


def listening(name: EventName | None = None) -> bool:
    """Whether anybody wants events; asked on hot paths before an event is made.

    Args:
        name: ask for this event only. None asks for any.

    Returns:
        True if a listener, or a log that was configured, wants it.

    Scope: process.
    """
    return bool(_audience.wanted) if name is None else name in _audience.wanted


def emit(event: Event) -> None:
    """Hand an event to whoever listens, and to the log.

    Args:
        event: the event.

    Scope: process.
    """
    failures = []
    # One that was entered twice hears it once.
    for listener in dict.fromkeys(_audience.listeners):
        if event.name in listener.names:
            try:
                listener.callback(event)
            except Exception as raised:  # noqa: BLE001 - whatever it is, the computation goes on
                failures.append((listener, raised))
    # Whoever has not imported logging cannot have asked it for anything.
    if "logging" in sys.modules:
        from ._logging import log

        log(event)
    for listener, error in failures:
        warnings.warn(
            f"The listener {_name_of(listener.callback)} raised {type(error).__name__}: {error} "
            f"on the event {event.name!r} of {event.function}. The computation went on; correct the callback.",
            ZrunWarning,
            stacklevel=2,
        )


def configure_logging(choice: str) -> None:
    """Print events to standard error, a line each. `ZRUN_LOG` does this at import.

    Args:
        choice: `"retrace"` prints each time a function is traced again, and why; `"build"` every trace; `"debug"` every
            event but those of single calls (cache hits, derivatives, chunks); `"all"` these too; `"off"` undoes it.
            While it is on, the logger "zrun" lets everything through and passes nothing on to the root logger; `"off"`
            restores what it was.

    Raises:
        ValueError: `choice` is none of these.

    Scope: process.

    Example:
        >>> configure_logging("retrace")
        >>> configure_logging("off")
    """
    from ._logging import configure

    configure(choice)


def set_logged(names: frozenset[str]) -> None:
    """Have `listening` say yes for the events that a configured log prints."""
    with _audience.guard.lock:
        _audience.logged = names
        _audience.settle()


def _name_of(callback: object) -> str:
    return getattr(callback, "__qualname__", None) or repr(callback)
