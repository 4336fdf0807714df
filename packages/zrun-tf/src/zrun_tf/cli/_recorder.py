"""Hears zrun's events in the program and turns them into messages for the record."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import Counter, deque
from typing import TYPE_CHECKING

from zrun_core._events import Event, listen
from zrun_core._explain import nearest
from zrun_tf._user_frame import user_line

from ._record import BIN_SECONDS, Cause, Message, Record

if TYPE_CHECKING:
    from collections.abc import Callable

    from zrun_core._explain import Rows

_DROPPED = "its graph was dropped: "
_COMPARED = 32
_MOST_OWNERS = 1000


class Recorder:
    """Keeps the record of this process.

    Args:
        send: is given each message as well; for a watcher in another process.

    Scope: process. A forked child records nothing.
    """

    def __init__(self, send: Callable[[Message], None] = lambda _message: None) -> None:
        self.record = Record()
        self.began = time.perf_counter()
        self.cpu_before = time.process_time()
        self._send = send
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._seen: dict[int, deque[Rows]] = {}
        self._counts: Counter[tuple[str, str, str, str]] = Counter()
        self._open_since = 0.0
        self._listener = listen(self.hear)

    def start(self, about: Message) -> None:
        """Begin to listen.

        Args:
            about: the program and what it was started with.
        """
        self.say({"is": "about", **about})
        self._listener.__enter__()

    def stop(self) -> None:
        """Listen no more, and count in what is open."""
        self._listener.__exit__(None, None, None)
        with self._lock:
            self._flush(self.now())

    def now(self) -> float:
        """Seconds since the program began."""
        return time.perf_counter() - self.began

    def say(self, message: Message) -> None:
        """Put a message into the record."""
        with self._lock:
            self.record.apply(message)
            self._send(message)

    def hear(self, event: Event) -> None:
        """Take note of an event; called in the thread that caused it."""
        if os.getpid() != self._pid:
            return
        now = self.now()
        with self._lock:
            if event.name == "build":
                self.say(self._trace(event, now))
            else:
                self._counts[event.name, event.function, event.kind, event.reason] += event.count
            if now - self._open_since >= BIN_SECONDS:
                self._flush(now)

    def _trace(self, event: Event, now: float) -> Message:
        seen = self._seen.setdefault(event.owner, deque(maxlen=_COMPARED))
        if len(self._seen) > _MOST_OWNERS:
            # Functions that are decorated anew again and again.
            del self._seen[next(iter(self._seen))]
        causes = _causes(event, seen)
        seen.appendleft(event.rows)
        return {
            "is": "trace",
            "start": max(0.0, now - event.seconds),
            "seconds": event.seconds,
            "function": event.function,
            "kind": event.kind,
            "owner": event.owner,
            "reason": event.reason,
            "causes": causes,
            "retrace": event.retrace,
            "line": user_line(),
            "thread": threading.current_thread().name,
        }

    def _flush(self, now: float) -> None:
        resident, peak = memory()
        counts = [[*key, number] for key, number in self._counts.items()]
        self._counts.clear()
        start, self._open_since = self._open_since, now
        times = {"start": start, "end": now}
        self.say({"is": "bin", **times, "counts": counts, "memory": resident, "peak_memory": peak})


def _causes(event: Event, seen: deque[Rows]) -> list[Cause]:
    """What made a function be traced again."""
    if not event.retrace:
        return []
    if event.reason.startswith(_DROPPED):
        reason = event.reason.removeprefix(_DROPPED)
        return [Cause("(dropped)", reason, _hint_for_dropped(reason))]
    told = nearest(event.rows, [rows for rows in seen if rows]) if event.rows else None
    if told is None or not told.differences:
        return [Cause("(not known)", event.reason, "")]
    return [Cause(each.path, str(each).removeprefix(f"{each.path}: "), each.hint) for each in told.differences]


def _hint_for_dropped(reason: str) -> str:
    budget = reason.partition("=")[0]
    if budget in ("max_entries", "max_bytes"):
        return "raise the budget with run.set_graph_cache_size(...), or have fewer different structures"
    if budget == "max_graphs":
        return "raise max_graphs of this function, or have fewer different structures"
    if reason == "cleared":
        return "call run.clear_graph_cache less often"
    return ""


def memory() -> tuple[int | None, int | None]:
    """Resident bytes of this process now, and at most so far; None where the platform does not tell."""
    try:
        import resource
    except ImportError:
        return None, None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    try:
        # Not with pathlib: this runs four times a second.
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
            resident: int | None = int(file.read().split()[1]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        resident = None
    return resident, peak
