"""A pool of CPUs from which threads, and on demand processes, lease what they need for a while."""

from __future__ import annotations

from os import fspath
from typing import TYPE_CHECKING, Final

from ._lease_queue import LeaseQueue, Request
from ._locks import CpuLocks, check_supported, lock_directory
from ._numbers import seconds, whole_number
from .errors import CpuError

if TYPE_CHECKING:
    import os
    from types import TracebackType

    from typing_extensions import Self

MOST_CPUS: Final = 2**16
"""More than any machine has; a pool that lists more would only fill the memory."""

_HINT_POOL = "Give the number of CPUs that may be leased at the same time; count_cpus() says how many there are."
_HINT_MAX_CPU = "Give how many CPUs at most, or count from the end of the pool: -1 for all, -2 for all but one."
_HINT_TIMEOUT = "Use None to wait for ever and 0 not to wait at all."


class Lease(int):
    """The CPUs of one lease: an int, how many they are, that also knows which.

    It can be used wherever a number of CPUs is wanted. A copy, or what arrives in another process, is a plain int.

    Attributes:
        numbers: the numbers of the CPUs within the pool, from 0, sorted. They tell leases apart; they do not name
            cores of the machine.
        shared: whether other processes see the lease.

    Example:
        >>> with CpuPool(4).acquire(2) as cpus:
        ...     cpus + 0, cpus.numbers, cpus.released
        (2, (0, 1), False)
        >>> cpus.released
        True
    """

    numbers: tuple[int, ...]
    shared: bool
    _queue: LeaseQueue
    _request: Request

    def __new__(cls, queue: LeaseQueue, request: Request) -> Self:
        """Made by entering what `CpuPool.acquire` returns."""
        lease = super().__new__(cls, len(request.numbers))
        lease.numbers, lease.shared = request.numbers, request.locks is not None
        lease._queue, lease._request = queue, request
        return lease

    @property
    def released(self) -> bool:
        """Whether the CPUs have gone back to the pool."""
        return not self._queue.is_out(self._request)

    def release(self) -> None:
        """Give the CPUs back before the block ends, from any thread. A second time it has no effect."""
        self._queue.release(self._request)

    def __reduce__(self) -> tuple[type[int], tuple[int]]:
        return int, (int(self),)

    def __repr__(self) -> str:
        return f"Lease({int(self)}, numbers={self.numbers}, shared={self.shared}, released={self.released})"

    def __str__(self) -> str:
        return int.__repr__(self)


class Acquisition:
    """What `CpuPool.acquire` returns: entering it takes a lease, leaving it gives the lease back.

    It can be entered again after it was left, and takes a new lease then. Leaving it when nothing is held has no
    effect. A lease lasts no longer than this object: dropping it gives the CPUs back too.
    """

    def __init__(self, queue: LeaseQueue, max_cpu: int, timeout: float, directory: str | None, *, shared: bool) -> None:
        self._queue = queue
        self._max_cpu = max_cpu
        self._timeout = timeout
        self._directory = directory
        self._shared = shared
        # What was entered, under one name; a dict, because it takes the first of two in one step.
        self._entered: dict[str, Request] = {}

    def __enter__(self) -> Lease:
        """Take a lease.

        Returns:
            The lease.

        Raises:
            CpuError: a lease that was taken through this object is still held; waiting would never end; or the files
                of a shared lease cannot be used.
            CpuLeaseTimeoutError: no CPU became free within the timeout.

        Scope: process; with `shared=True`, all processes of this user.
        """
        locks = CpuLocks(lock_directory(self._directory)) if self._shared else None
        request = Request(self._max_cpu, self._timeout, locks, self)
        try:
            if self._entered.setdefault("request", request) is not request:
                raise CpuError(
                    "acquire: this object has been entered already, and can be entered again only after it was left. "
                    "Call acquire() once per lease."
                )
            self._queue.wait(request)
            return Lease(self._queue, request)
        except BaseException:
            if self._entered.get("request") is request:
                self._leave()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give the lease back."""
        self._leave()

    def _leave(self) -> None:
        request = self._entered.get("request")
        if request is not None:
            self._queue.release(request)
            self._entered.clear()


class CpuPool:
    """CPUs that threads lease, so that together they use no more than there are.

    It counts; it binds no thread to a core. Each process has a pool of its own: a forked process starts with a full
    one, and leases of its parent mean nothing in it. What is leased with `shared=True` is kept from the other
    processes of this user too.

    Args:
        n_cpu: number of CPUs in the pool, from 1 to 65536.
        lock_directory: directory for the files of shared leases, the same in each process that shares; it is made
            with mode 0700 when first needed. None means `$XDG_RUNTIME_DIR/zrun`, or `zrun-<user id>` among the
            temporary files where that variable names no directory of this user.

    Raises:
        CpuError: `n_cpu` is less than 1, or more than 65536.
        TypeError: `n_cpu` is not an integer.

    Scope: process (thread-safe).

    Example:
        >>> pool = CpuPool(4)
        >>> with pool.acquire(max_cpu=3) as cpus:
        ...     print(f"{cpus} leased, {pool.available} left")
        3 leased, 1 left
        >>> pool.available
        4
    """

    def __init__(self, n_cpu: int, *, lock_directory: str | os.PathLike[str] | None = None) -> None:
        self._queue = LeaseQueue(whole_number("n_cpu", n_cpu, least=1, most=MOST_CPUS, hint=_HINT_POOL, error=CpuError))
        self._lock_directory = None if lock_directory is None else fspath(lock_directory)

    @property
    def n_cpu(self) -> int:
        """Number of CPUs in the pool."""
        return self._queue.n_cpu

    @property
    def available(self) -> int:
        """Number of CPUs that are free at this moment in this process; 0 while more are leased than the pool has."""
        return self._queue.available()

    def resize(self, n_cpu: int) -> None:
        """Change the number of CPUs in the pool.

        Leases that are out stay as they are. After growing, waiting threads get the new CPUs at once; after shrinking,
        nothing is granted until fewer CPUs are out than the pool has.

        Args:
            n_cpu: the new number, from 1 to 65536.

        Raises:
            CpuError: `n_cpu` is less than 1, or more than 65536; nothing was changed.
            TypeError: `n_cpu` is not an integer; nothing was changed.

        Scope: process.
        """
        self._queue.resize(whole_number("n_cpu", n_cpu, least=1, most=MOST_CPUS, hint=_HINT_POOL, error=CpuError))

    def acquire(self, max_cpu: int = -1, timeout: float | None = None, *, shared: bool = False) -> Acquisition:
        """Lease CPUs for the length of a `with` block.

        The lease has at least one CPU and at most those that are free when its turn comes; it does not wait for more
        than one. Threads get their turn in order of arrival. Waiting blocks the thread, so asyncio code should enter
        the block in a worker thread. The CPUs go back however the block is left.

        A thread that asks for a lease within a lease may have to wait for itself. Where waiting without a timeout
        could never end, because all CPUs are leased by threads that wait without a timeout too, an error says so at
        once.

        Args:
            max_cpu: how many CPUs at most. A negative number counts from the end of the pool: -1 means all, -2 all
                but one, and never less than one.
            timeout: seconds to wait for a CPU; None means for ever, 0 not at all.
            shared: keep the CPUs from the other processes of this user that lease with `shared=True`. The kernel
                gives them back if the process dies. Between processes there is no order of arrival.

        Returns:
            A context manager that yields the `Lease`. Entering it raises `CpuLeaseTimeoutError` when no CPU became
            free in time.

        Raises:
            CpuError: `max_cpu` is 0, `timeout` is negative or NaN, or this platform has no shared leases.
            TypeError: an argument is of the wrong type.

        Scope: process; with `shared=True`, all processes of this user.

        Example:
            >>> pool = CpuPool(2)
            >>> with pool.acquire() as cpus, pool.acquire(timeout=0):
            ...     pass
            Traceback (most recent call last):
            zrun_core.errors.CpuLeaseTimeoutError: acquire: no CPU became free within 0 s. ...
        """
        max_cpu = whole_number("max_cpu", max_cpu, least=None, hint=_HINT_MAX_CPU, error=CpuError)
        if max_cpu == 0:
            raise CpuError(f"max_cpu must not be 0. {_HINT_MAX_CPU}")
        limit = seconds("timeout", timeout, hint=_HINT_TIMEOUT, error=CpuError)
        if not isinstance(shared, bool):
            raise TypeError(f"shared must be True or False; got {shared!r} of type {type(shared).__name__}.")
        if shared:
            check_supported()
        return Acquisition(self._queue, max_cpu, limit, self._lock_directory, shared=shared)

    def explain(self) -> str:
        """Who holds what at this moment.

        Returns:
            A sentence, such as "1 of 4 CPUs is free in this process; leased: 3 by thread 'MainThread' (this one)."
        """
        return self._queue.explain()

    def __repr__(self) -> str:
        return f"CpuPool({self.n_cpu}, available={self.available})"
