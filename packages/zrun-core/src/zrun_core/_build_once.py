"""One builder per key at a time: claims on keys, waiting for them, and who must not wait."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable
    from types import TracebackType

    from ._owner import Entry


class Reentrant(Exception):  # noqa: N818 - a signal to the caller, not an error
    """Raised by `GraphCache.get_or_build`: this very context is building that entry further up. Inline the call."""


class Claim:
    """Somebody's building of one key, and what the others wait for.

    Args:
        owner: the token of the function.
        key: the key.
    """

    __slots__ = ("gate", "is_open", "key", "owner", "shared")

    def __init__(self, owner: int, key: Hashable) -> None:
        self.owner = owner
        self.key = key
        # What the builder gives to those who wait.
        self.shared: Entry | None = None
        # Whether its builder is still at work.
        self.is_open = True
        # Closed until then. Not a `threading.Event`: that is Python code with a lock of its own, in which an interrupt,
        # or a finalizer that asks for this very key, would leave those who wait waiting for ever.
        self.gate = threading.Lock()
        self.gate.acquire()

    def wait(self) -> None:
        """Wait until the builder is done, or has failed."""
        with self.gate:
            pass


class _Thread(threading.local):
    # Not made by a constructor, in the middle of which a finalizer would find nothing.
    claims: tuple[Claim, ...] = ()


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


class Building:
    """A block in which this thread and context are marked as building.

    Not made of a generator: an interrupt in its machinery would leave that to end at any later time, in any thread.

    Args:
        claim: what is being built.
    """

    __slots__ = ("_claim", "_outer")

    def __init__(self, claim: Claim) -> None:
        self._claim = claim
        self._outer = _thread.claims, _building.get()

    def __enter__(self) -> None:
        claims, context = self._outer
        _thread.claims = (*claims, self._claim)
        _building.set((*context, self._claim))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _thread.claims, context = self._outer
        _building.set(context)
