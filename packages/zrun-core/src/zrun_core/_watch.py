"""Noticing a function that is traced again and again, and the argument behind it."""

from __future__ import annotations

import time
from collections import Counter, deque
from itertools import pairwise
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from ._explain import differences
from ._fork import Guard

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._explain import Difference, Rows
    from ._owner import CacheOwner


class RetraceWatch:
    """Counts the builds of each function and says when they become too many.

    Args:
        limit: how many builds of one function within `seconds` are fine.
        seconds: the length of the window.
        clock: returns the time in seconds; never goes back.

    Raises:
        ValueError: `limit` or `seconds` is not positive.

    Scope: functions are held weakly; safe to share between threads.
    """

    def __init__(self, limit: int = 5, seconds: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        if limit < 1:
            raise ValueError(f"limit must be a positive number of builds; got {limit!r}.")
        if not seconds > 0:
            raise ValueError(f"seconds must be a positive time; got {seconds!r}.")
        self._limit = limit
        self._seconds = seconds
        self._clock = clock
        self._guard = Guard()
        self._histories: WeakKeyDictionary[CacheOwner, deque[tuple[float, Rows]]] = WeakKeyDictionary()
        self._warned: WeakKeyDictionary[CacheOwner, bool] = WeakKeyDictionary()

    def note(self, owner: CacheOwner, rows: Rows, *, once: bool = True) -> str | None:
        """Note that a function is about to be built.

        Args:
            owner: the function.
            rows: the key it is built for.
            once: give the text once per function. False gives it at each build over the limit, as a policy that refuses
                retraces needs it.

        Returns:
            The text of a warning or error if this is one build too many, else None.
        """
        now = self._clock()
        with self._guard.lock:
            history = self._histories.setdefault(owner, deque(maxlen=self._limit + 1))
            history.append((now, rows))
            recent = [entry for entry in history if entry[0] > now - self._seconds]
            if len(recent) <= self._limit or (once and self._warned.get(owner)):
                return None
            if once:
                self._warned[owner] = True
        return _text(owner, now - recent[0][0], [entry[1] for entry in recent])


def _text(owner: CacheOwner, span: float, keys: list[Rows]) -> str:
    """Name the argument that changed most among the keys of successive builds."""
    changes = [difference for old, new in pairwise(keys) for difference in differences(old, new)]
    said = f"{owner.name} was traced {len(keys)} times within {max(span, 0.01):.2g} s"
    if not changes:
        return (
            f"{said}, each time for the same arguments: its graphs were dropped in between. "
            f"run.cache_info() tells whether the budget of the cache or a change of tracked state did that."
        )
    path, count = Counter(change.path for change in changes).most_common(1)[0]
    last: Difference = next(change for change in reversed(changes) if change.path == path)
    advice = owner.advise(last)
    hint = f" Next step: {advice}." if advice else ""
    return f"{said}; {path} changed {count} times, last {last}.{hint}"
