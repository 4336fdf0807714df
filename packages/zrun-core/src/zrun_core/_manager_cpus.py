"""The CPU side of a run manager: how many there are, who has leased them, and what the backend was told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._cpus import CpuCount, count_cpus
from ._environment import cpu_limit
from ._fork import Guard
from ._leases import MOST_CPUS, CpuPool
from ._numbers import whole_number
from .errors import CpuError

if TYPE_CHECKING:
    from ._backend import Backend
    from ._leases import Acquisition

_HINT = "Give a positive number, or 'auto' for what affinity, cgroup quota and ZRUN_CPUS allow."


class CpuOptions:
    """The part of a run manager that counts and leases CPUs.

    Args:
        backend: is told the thread counts.
        n_cpu: `"auto"` or a positive number.

    Raises:
        CpuError: `n_cpu` is neither.
        TypeError: `n_cpu` is not a number.
    """

    backend: Backend

    def __init__(self, backend: Backend, n_cpu: int | str) -> None:
        self.backend = backend
        self._cpu_guard = Guard()
        self._pool: CpuPool | None = None
        self._of_process = False
        if n_cpu != "auto":
            self.set_n_cpu(n_cpu)

    def set_n_cpu(self, n_cpu: int | str = "auto", strict: bool = False) -> None:
        """Set how many CPUs are used: the size of the pool that leases come from, and the backend's threads.

        Args:
            n_cpu: `"auto"` (what affinity, cgroup quota and `ZRUN_CPUS` allow) or a positive number.
            strict: run each operation on one thread, so that parallelism is between operations only.

        Raises:
            CpuError: `n_cpu` is neither. Nothing is changed.
            RuntimeStartedError: the backend runs already, with another number of threads. Nothing is changed.
            TypeError: `n_cpu` is not an integer, or `strict` not a bool.

        Scope: process.

        Example:
            >>> from zrun_core import RunManager
            >>> run = RunManager()
            >>> run.set_n_cpu(2)
            >>> run.n_cpu
            2
        """
        if not isinstance(strict, bool):
            raise TypeError(f"strict must be True or False; got {strict!r} of type {type(strict).__name__}.")
        if isinstance(n_cpu, str):
            if n_cpu != "auto":
                raise CpuError(f"n_cpu must be 'auto' or a positive number; got {n_cpu!r}. {_HINT}")
            count = _counted().count
        else:
            count = whole_number("n_cpu", n_cpu, least=1, most=MOST_CPUS, hint=_HINT, error=CpuError)
        with self._cpu_guard.lock:
            pool = self._cpus()
            self.backend.set_threads(1 if strict else count, count)
            pool.resize(count)

    def set_cpus_explicit(self, intra: int, inter: int) -> None:
        """Set the backend's two thread counts one by one.

        Args:
            intra: threads within one operation, at least 1.
            inter: operations that run at the same time, at least 1.

        Raises:
            CpuError: a number is less than 1. Nothing is changed.
            RuntimeStartedError: the backend runs already, with other numbers.
            TypeError: a number is not an integer.

        Scope: process.
        """
        intra = whole_number("intra", intra, least=1, hint="It is a number of threads.", error=CpuError)
        inter = whole_number("inter", inter, least=1, hint="It is a number of threads.", error=CpuError)
        with self._cpu_guard.lock:
            self.backend.set_threads(intra, inter)

    @property
    def n_cpu(self) -> int:
        """Number of CPUs in the pool that leases come from. Scope: process."""
        return self._cpus().n_cpu

    def cpu_report(self) -> str:
        """Say how many CPUs there are and why, and who has leased them.

        Returns:
            Two sentences or more.

        Scope: process.
        """
        return f"{_counted().explain()} {self._cpus().explain()}"

    def acquire_cpu(self, max_cpu: int = -1, timeout: float | None = None, *, shared: bool = False) -> Acquisition:
        """Lease CPUs for the length of a `with` block; see `CpuPool.acquire`.

        Args:
            max_cpu: how many at most; a negative number counts from the end of the pool (-1 = all).
            timeout: seconds to wait for a CPU; None means for ever.
            shared: keep them from other processes of this user as well.

        Returns:
            A context manager that yields the number of CPUs granted, at least 1.

        Raises:
            CpuError: `max_cpu` is 0 or `timeout` is negative.
            CpuLeaseTimeoutError: on entering, where no CPU became free in time.

        Scope: process; with `shared=True`, all processes of this user.
        """
        return self._cpus().acquire(max_cpu, timeout, shared=shared)

    def _lease_from_process(self) -> None:
        """Lease from the pool that the packages' own managers share, instead of one of this manager's own."""
        self._of_process = True

    def _cpus(self) -> CpuPool:
        if self._of_process:
            return _process_pool()
        # Made when first needed: counting reads files, which an import should not.
        with self._cpu_guard.lock:
            if self._pool is None:
                self._pool = CpuPool(_counted().count)
            return self._pool


_guard = Guard()
_pool: CpuPool | None = None


def _process_pool() -> CpuPool:
    """The pool of `zrun_core.run` and its kin in other packages: whoever uses one of them leases the same CPUs."""
    global _pool  # noqa: PLW0603 - one pool per process, made late
    with _guard.lock:
        if _pool is None:
            _pool = CpuPool(_counted().count)
        return _pool


def _counted() -> CpuCount:
    return count_cpus(cpu_limit())
