"""Who waits for CPUs and who holds them: the bookkeeping under `CpuPool`.

It has to survive an interrupt (Ctrl-C) between any two steps. Therefore the requests themselves are the only record,
what is free is computed from them, one assignment turns a waiting request into one that holds, and everything that
takes a request away can be done again.

It has to survive as well that a finalizer or signal handler calls it in the middle of its own work, when the thread
that would have to wait for the lock is the one that holds it. Such a call leaves a mark on the request it gives back,
and whoever it interrupted does the rest.
"""

from __future__ import annotations

import threading
import time
import weakref
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from ._fork import is_at_work, renewed_in_child
from .errors import CpuError, CpuLeaseTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._locks import CpuLocks

T = TypeVar("T")

# Waiters look again after this many seconds, in case an interrupt hit the thread that should have woken them.
_LOOK_AGAIN = 1.0

# Nobody wakes a waiter when another process gives a CPU back.
_LOOK_AGAIN_SHARED = 0.02

_FOREVER = float("inf")

_here = threading.local()


def _this_thread() -> object:
    """A mark of the calling thread that, unlike its number, no later thread gets again."""
    try:
        return _here.mark
    except AttributeError:
        _here.mark = object()
        return _here.mark


class Request:
    """One wish for CPUs: waiting while `numbers` is empty, then held.

    Args:
        max_cpu: how many at most; negative from the end of the pool.
        timeout: seconds to wait, possibly infinite.
        locks: where other processes are to see it; None means that they are not.
        owner: the object that has to give the CPUs back; once it is gone, they are free.
    """

    __slots__ = (
        "error",
        "gate",
        "given_back",
        "locks",
        "max_cpu",
        "numbers",
        "owner",
        "thread",
        "thread_name",
        "timeout",
    )

    def __init__(self, max_cpu: int, timeout: float, locks: CpuLocks | None, owner: object) -> None:
        self.max_cpu = max_cpu
        self.timeout = timeout
        self.locks = locks
        # An interrupt can hit the owner's __exit__ before its first step, or its __del__, if there were one.
        self.owner = weakref.ref(owner)
        self.numbers: tuple[int, ...] = ()
        self.given_back = False
        self.error: CpuError | None = None
        # Closed while waiting; whoever grants the wish opens it.
        self.gate = threading.Lock()
        self.gate.acquire()
        self.thread = _this_thread()
        self.thread_name = threading.current_thread().name

    @property
    def waits_forever(self) -> bool:
        """Whether it has nothing yet and will not give up."""
        return not self.numbers and self.timeout == _FOREVER

    @property
    def is_over(self) -> bool:
        """Whether what it holds, or its place in the queue, is free for others."""
        return self.given_back or self.owner() is None


class _AtWork(Exception):  # noqa: N818 - never leaves this module
    """A finalizer or signal handler asks for something while the thread it runs in is at work on the queue."""


def _no_waiting(request: Request) -> CpuError | CpuLeaseTimeoutError:
    """The error for a request in the middle of zrun's own work, for which others may have to wait to go on."""
    return (CpuError if request.timeout == _FOREVER else CpuLeaseTimeoutError)(
        "acquire: a finalizer or signal handler asks for CPUs in the middle of this thread's own work in zrun, so it "
        "cannot wait for them. Do it in a thread of its own."
    )


class LeaseQueue:
    """The requests of one pool, in order of arrival.

    Scope: process (thread-safe). Methods with an underscore are called with the lock held.

    Args:
        n_cpu: number of CPUs in the pool.
    """

    def __init__(self, n_cpu: int) -> None:
        self.n_cpu = n_cpu
        self.requests: dict[Request, None] = {}
        self.lock = threading.Lock()
        self._here = threading.local()
        renewed_in_child.add(self)

    def renew(self) -> None:
        """In a forked process: have nobody waiting or holding, and leave the locks to the parent, whose they are."""
        for request in self.requests:
            if request.locks is not None:
                request.locks.forget()
        self.requests = {}
        self.lock = threading.Lock()
        self._here = threading.local()

    def is_held(self) -> bool:
        """Whether the calling thread is at work on the queue."""
        return getattr(self._here, "at_work", False)

    def wait(self, request: Request) -> None:
        """Put a request in the queue and return when it holds CPUs.

        Raises:
            CpuError: waiting would never end, or the lock files cannot be used.
            CpuLeaseTimeoutError: no CPU became free in time.
        """
        deadline = time.monotonic() + request.timeout
        pause = _LOOK_AGAIN if request.locks is None else _LOOK_AGAIN_SHARED
        try:
            self._alone(partial(self._join, request))
        except _AtWork:
            raise _no_waiting(request) from None
        if not request.numbers and request.error is None and is_at_work():
            raise _no_waiting(request)
        while not request.numbers:
            if request.error is not None:
                raise request.error
            remaining = deadline - time.monotonic()
            if remaining > 0:
                request.gate.acquire(timeout=min(pause, remaining))
            self._alone(partial(self._look_again, request, is_late=remaining <= 0))

    def release(self, request: Request) -> None:
        """Give back what a request holds, or take it out of the queue; without effect when that was done before."""
        request.given_back = True
        self._settle()

    def is_out(self, request: Request) -> bool:
        """Whether a request holds CPUs, or waits for them."""
        return request in self.requests and not request.given_back

    def resize(self, n_cpu: int) -> None:
        """Change the number of CPUs, and grant what that makes free."""
        self.n_cpu = n_cpu
        self._settle()

    def available(self) -> int:
        """How many CPUs are free."""
        self._settle()
        return self._free()[0]

    def explain(self) -> str:
        """Who holds what, as a sentence."""
        self._settle()
        return self._explain()

    def _alone(self, work: Callable[[], T]) -> T:
        """Do something with the lock held.

        Raises:
            _AtWork: this thread holds it already, further down.
        """
        here = self._here
        if self.is_held():
            raise _AtWork
        # Before the lock is taken: a finalizer that runs in between must not take it.
        here.at_work = True
        try:
            with self.lock:
                return work()
        finally:
            here.at_work = False

    def _settle(self) -> None:
        # If this thread is at it already, what was given back is found there before it ends.
        with suppress(_AtWork):
            self._alone(self._dispatch)

    def _join(self, request: Request) -> None:
        self.requests[request] = None
        self._dispatch()
        self._refuse_deadlock(request)

    def _look_again(self, request: Request, *, is_late: bool) -> None:
        self._dispatch()
        if is_late and not request.numbers:
            raise CpuLeaseTimeoutError(
                f"acquire: no CPU became free within {request.timeout:g} s. {self._explain(request)} "
                "Give a longer timeout, or end another lease first."
            )

    def _forget(self, request: Request) -> None:
        if request.locks is not None:
            request.locks.release()
        self.requests.pop(request, None)

    def _free(self) -> tuple[int, list[int]]:
        """How many CPUs are free, and the numbers they may get: more than that, perhaps, after the pool shrank."""
        out = {number for request in list(self.requests) for number in request.numbers}
        return max(0, self.n_cpu - len(out)), [number for number in range(self.n_cpu) if number not in out]

    def _dispatch(self) -> None:
        """Take away what was given back, and grant what is free to those who wait, in order of arrival."""
        while True:
            for request in [request for request in self.requests if request.is_over]:
                self._forget(request)
            self._grant()
            # By a finalizer, meanwhile.
            if not any(request.given_back for request in self.requests):
                return

    def _grant(self) -> None:
        for request in [request for request in self.requests if not request.numbers]:
            n_free, numbers = self._free()
            if n_free == 0:
                return
            wanted = request.max_cpu if request.max_cpu > 0 else max(1, self.n_cpu + 1 + request.max_cpu)
            granted = tuple(numbers[: min(wanted, n_free)])
            if request.locks is not None:
                # An error belongs to the thread that waits, and this may be another one.
                try:
                    granted = request.locks.take(numbers, min(wanted, n_free))
                except CpuError as error:
                    request.error = error
                    granted = ()
            if granted or request.error:
                # Opened before the grant: an interrupt in between then costs the waiter a second look, not its turn.
                if request.gate.locked():
                    request.gate.release()
                request.numbers = granted

    def _refuse_deadlock(self, request: Request) -> None:
        """Raise if a request would wait for threads that themselves wait without end."""
        holders = {other.thread for other in self.requests if other.numbers}
        stuck = {other.thread for other in self.requests if other.waits_forever}
        if not request.waits_forever or self._free()[0] or not holders <= stuck:
            return
        # What a finalizer gave back meanwhile is granted at the next look.
        if any(other.is_over for other in self.requests):
            return
        # Taken out at once, so that no other thread counts it among those that wait.
        del self.requests[request]
        raise CpuError(
            "acquire: waiting would never end, because all CPUs are leased by threads that wait here as well. "
            f"{self._explain()} Use the CPUs of the outer lease, end it first, or give a timeout."
        )

    def _explain(self, request: Request | None = None) -> str:
        n_free, numbers = self._free()
        me = _this_thread()
        leased = [
            f"{len(other.numbers)} by thread {other.thread_name!r}{' (this one)' if other.thread is me else ''}"
            for other in list(self.requests)
            if other.numbers
        ]
        text = f"{n_free} of {self.n_cpu} CPUs {'is' if n_free == 1 else 'are'} free in this process"
        if leased:
            text += f"; leased: {', '.join(leased)}"
        if request is not None and request.locks is not None and n_free:
            locked = [f"CPU {number} by {request.locks.holder(number)}" for number in numbers]
            text += f"; locked: {', '.join(locked)}"
        return f"{text}."
