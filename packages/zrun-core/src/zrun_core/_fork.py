"""Locks that are free in a forked child, where the threads that held them are no more."""

from __future__ import annotations

import os
from threading import RLock
from typing import Protocol
from weakref import WeakSet


class Renewable(Protocol):
    """What can be made as new in a forked child."""

    def renew(self) -> None:
        """Be as new."""
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


renewed_in_child: WeakSet[Renewable] = WeakSet()


def _renew_all() -> None:
    for each in list(renewed_in_child):
        each.renew()


# Windows cannot fork.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
