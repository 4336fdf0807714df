"""How many CPUs this process may use, and why."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

from ._cgroups import number, own_groups
from ._numbers import whole_number
from .errors import CpuError


@dataclass(frozen=True)
class CpuCount:
    """A number of CPUs and the reasons for it.

    Attributes:
        count: CPUs this process may use; at least 1.
        limited_by: what the count comes from; where several are equal, the first in the order of this list.
        machine: CPUs of the machine.
        affinity: CPUs the scheduler may place this process on; None where the platform does not say.
        quota: CPUs' worth of time that the cgroups allow, not rounded; None where there is no limit.
        quota_directory: directory of the cgroup that sets the quota; None where there is no limit.
        override: the upper limit that was given (`ZRUN_CPUS`); None where none was.

    Example:
        >>> count = CpuCount(2, "quota", machine=8, affinity=8, quota=1.5, quota_directory="/sys/fs/cgroup/job")
        >>> print(count.explain())
        2 CPUs, limited by the cgroup quota. Affinity: 8 of the machine's 8 CPUs. Quota: 1.5 CPUs, rounded up,
        in /sys/fs/cgroup/job. ZRUN_CPUS: not set.
    """

    count: int
    limited_by: Literal["machine", "affinity", "quota", "override"]
    machine: int
    affinity: int | None = None
    quota: float | None = None
    quota_directory: str | None = None
    override: int | None = None

    def explain(self) -> str:
        """The count and each of its reasons, in sentences.

        Returns:
            One line of text.
        """
        by = {
            "machine": "all of the machine",
            "affinity": "limited by the affinity of the process",
            "quota": "limited by the cgroup quota",
            "override": "limited by ZRUN_CPUS",
        }[self.limited_by]
        affinity = f"{self.affinity} of" if self.affinity is not None else "unknown on this platform;"
        quota = "none" if self.quota is None else f"{_cpus(self.quota)}, rounded up, in {self.quota_directory}"
        override = "not set" if self.override is None else f"at most {_cpus(self.override)}"
        return (
            f"{_cpus(self.count)}, {by}. Affinity: {affinity} the machine's {_cpus(self.machine)}. "
            f"Quota: {quota}. ZRUN_CPUS: {override}."
        )


def count_cpus(override: int | None = None, *, root: str = "/") -> CpuCount:
    """Count the CPUs this process may use.

    The count is the least of the affinity of the calling thread, the quotas of the cgroups the process is in (version
    1 and 2, every group from the mount down to the process's own; rounded up) and `override`, and at least 1. Where
    the platform has no affinity, the CPUs of the machine stand in for it. Files that are missing, empty, unreadable
    or malformed set no limit.

    Args:
        override: an upper limit (what `ZRUN_CPUS` says), at least 1; None means none. It cannot raise the count.
        root: the directory below which `proc` and `sys` are looked for.

    Returns:
        The count with its reasons.

    Raises:
        CpuError: `override` is less than 1.
        TypeError: `override` is not an integer.

    Scope: process (reads only). A quota or an affinity that changes later is seen by the next call.

    Example:
        >>> count_cpus(override=1).count
        1
    """
    if override is not None:
        hint = "Leave it out to use every CPU that affinity and quota allow."
        override = whole_number("override (ZRUN_CPUS)", override, least=1, hint=hint, error=CpuError)
    machine = os.cpu_count() or 1
    affinity = _affinity()
    limits: list[tuple[int, Literal["machine", "affinity", "quota", "override"]]] = [
        (machine, "machine") if affinity is None else (affinity, "machine" if affinity == machine else "affinity")
    ]
    quota = _least_quota(root)
    if quota is not None:
        limits.append((max(1, -(-quota[0] // quota[1])), "quota"))
    if override is not None:
        limits.append((override, "override"))
    count, limited_by = min(limits, key=lambda limit: limit[0])
    return CpuCount(
        count,
        limited_by,
        machine=machine,
        affinity=affinity,
        quota=None if quota is None else quota[0] / quota[1],
        quota_directory=None if quota is None else quota[2],
        override=override,
    )


def _cpus(n: float) -> str:
    return f"{n:.12g} CPU{'' if n == 1 else 's'}"


def _affinity() -> int | None:
    """The number of CPUs the calling thread may run on; None where the platform does not say."""
    try:
        return len(os.sched_getaffinity(0)) or None
    except (AttributeError, OSError):
        return None


def _least_quota(root: str) -> tuple[int, int, str] | None:
    """Quota and period in microseconds, and the directory, of the group that allows the least; None for no limit."""
    found = []
    for group in own_groups("cpu", root):
        if group.version == 1:
            texts = [group.read("cpu.cfs_quota_us"), group.read("cpu.cfs_period_us")]
        else:
            texts = [*(group.read("cpu.max") or "").split()]
        quota, period = [number(text) for text in texts] if len(texts) == 2 else (None, None)
        # -1 stands for no quota in version 1.
        if quota is not None and quota > 0 and period is not None and period > 0:
            found.append((quota, period, group.directory))
    return min(found, key=lambda entry: entry[0] / entry[1], default=None)
