"""One builder per key at a time: claims on keys, waiting for them, and who must not wait."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from ._owner import Entry


class Reentrant(Exception):  # noqa: N818 - a signal to the caller, not an error
    """Raised by `GraphCache.get_or_build`: this very context is building that entry further up. Inline the call."""


class Claim:
    """Somebody's building of one key, and what the others wait for.

    Args:
        owner: the token of the function.
        key: the key.
    """

    __slots__ = ("_finished", "key", "owner", "shared")

    def __init__(self, owner: int, key: Hashable) -> None:
        self.owner = owner
        self.key = key
        # What the builder gives to those who wait.
        self.shared: Entry | None = None
        self._finished = threading.Event()

    @property
    def is_open(self) -> bool:
        """Whether its builder is still at work."""
        return not self._finished.is_set()

    def finish(self) -> None:
        """Let those who wait go on."""
        self._finished.set()

    def wait(self) -> None:
        """Wait until the builder is done, or has failed."""
        self._finished.wait()


class _Thread(threading.local):
    def __init__(self) -> None:
        self.claims: list[Claim] = []


# By context, because a body may hand its context to a helper thread and wait for it; by thread, because a body may run
# a part of itself in a fresh context.
_building: ContextVar[tuple[Claim, ...]] = ContextVar("zrun_building", default=())
_thread = _Thread()


def _claims_here() -> list[Claim]:
    # A task that was started by a body may live on after the build, and an interrupt may hit anywhere.
    return [claim for claim in (*_thread.claims, *_building.get()) if claim.is_open]


def is_building() -> bool:
    """Whether anything is being built by this thread, or by the context it works for.

    Then it must not wait for another builder, who may in turn wait for it.
    """
    return bool(_claims_here())


def is_building_key(owner: int, key: Hashable) -> bool:
    """Whether this key of this function is being built further up.

    Args:
        owner: the token of the function.
        key: the key.
    """
    return any(claim.owner == owner and claim.key == key for claim in _claims_here())


@contextmanager
def building(claim: Claim) -> Iterator[None]:
    """Mark this thread and context as building.

    Args:
        claim: what is being built.
    """
    outer_claims, outer_context = _thread.claims, _building.get()
    try:
        _thread.claims = [*outer_claims, claim]
        _building.set((*outer_context, claim))
        yield
    finally:
        _thread.claims = outer_claims
        _building.set(outer_context)
