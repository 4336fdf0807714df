"""The locks of zrun: free in a forked child, where the threads that held them are no more; and who holds one now."""

from __future__ import annotations

import os
from contextlib import suppress
from threading import RLock
from typing import Any, Protocol
from weakref import WeakSet


class Renewable(Protocol):
    """What can be made as new in a forked child."""

    def renew(self) -> None:
        """Be as new."""
        ...

    def is_held(self) -> bool:
        """Whether the calling thread holds its lock."""
        ...


class Guard:
    """A re-entrant lock, `guard.lock`, that a forked child finds free.

    A thread that holds a plain lock at the moment of the fork leaves it locked for ever in the child: a pool of
    processes would hang at random. The lock is not wrapped, because an interrupt must not hit between taking it and
    knowing so.

    Scope: process.
    """

    __slots__ = ("__weakref__", "lock")

    def __init__(self) -> None:
        self.lock = RLock()
        renewed_in_child.add(self)

    def renew(self) -> None:
        """Have a free lock."""
        self.lock = RLock()

    def is_held(self) -> bool:
        """Whether the calling thread holds the lock."""
        return is_owned(self.lock)


renewed_in_child: WeakSet[Renewable] = WeakSet()


def is_owned(lock: Any) -> bool:
    """Whether the calling thread holds a re-entrant lock.

    Args:
        lock: an `RLock`; `threading.Condition` asks any lock this question.
    """
    owned: bool = lock._is_owned()
    return owned


def is_at_work() -> bool:
    """Whether the calling thread holds any lock of zrun.

    So a finalizer finds it that runs in the middle of zrun's own work. It must not wait for another thread then, which
    may want that lock before it can go on.

    Scope: thread.
    """
    return any(each.is_held() for each in _all())


def _all() -> list[Renewable]:
    while True:
        # Another thread may add one while these are listed.
        with suppress(RuntimeError):
            return list(renewed_in_child)


def _renew_all() -> None:
    for each in _all():
        each.renew()


# Windows cannot fork.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
