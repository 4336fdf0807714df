"""How much memory this process may still use, and why."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ._cgroups import Group, number, own_groups, read_text

# A limit above this is the kernel's way of writing "none" in version 1.
_NO_LIMIT = 2**60

# What may be taken of a machine that tells its size but not what is free.
_SHARE_OF_MACHINE = 2


class _Limit(NamedTuple):
    free: int
    limit: int
    directory: str


@dataclass(frozen=True)
class AvailableMemory:
    """A number of bytes and the reasons for it.

    Attributes:
        bytes: what this process may still use; None where the platform does not say.
        limited_by: what the number comes from.
        machine: bytes that are free on the machine, what can be reclaimed included; None where it does not say.
        group: bytes that are left below the limits of the cgroups; None where there is no limit.
        group_limit: the limit itself, in bytes.
        group_directory: directory of the cgroup that leaves the least.

    Example:
        >>> print(AvailableMemory(6_000_000, "machine", machine=6_000_000).explain())
        6 MB, which is free on the machine; no cgroup limits it.
    """

    bytes: int | None
    limited_by: Literal["machine", "cgroup", "unknown"]
    machine: int | None = None
    group: int | None = None
    group_limit: int | None = None
    group_directory: str | None = None

    def explain(self) -> str:
        """The number and its reasons, as a sentence.

        Returns:
            One line of text.
        """
        if self.bytes is None:
            return "Unknown on this platform."
        machine = "unknown" if self.machine is None else format_bytes(self.machine)
        if self.group is None or self.group_limit is None:
            return f"{machine}, which is free on the machine; no cgroup limits it."
        group = f"limit of {format_bytes(self.group_limit)} in {self.group_directory}"
        if self.limited_by == "cgroup":
            return f"{format_bytes(self.bytes)}, which is left below the {group}; free on the machine: {machine}."
        return f"{machine}, which is free on the machine; {format_bytes(self.group)} are left below the {group}."


def available_memory(*, root: str = "/") -> AvailableMemory:
    """Find how much memory this process may still use.

    It is the least of what is free on the machine and what is left below the memory limits of the cgroups the process
    is in (version 1 and 2, every group from the mount down to the process's own). File cache that the kernel gives
    back on demand counts as free. Where the machine tells its size only (macOS), half of that stands for what is
    free. Files that are missing, empty, unreadable or malformed set no limit.

    Args:
        root: the directory below which `proc` and `sys` are looked for.

    Returns:
        The bytes with their reasons.

    Scope: process (reads only). The answer changes from moment to moment and reserves nothing.

    Example:
        >>> available_memory().bytes is None or available_memory().bytes >= 0
        True
    """
    machine = _machine(root)
    limits = [limit for group in own_groups("memory", root) for limit in _limits(group)]
    least = min(limits, default=None)
    if least is None:
        return AvailableMemory(machine, "unknown" if machine is None else "machine", machine)
    by: Literal["machine", "cgroup"] = "cgroup" if machine is None or least.free < machine else "machine"
    return AvailableMemory(least.free if by == "cgroup" else machine, by, machine, *least)


def format_bytes(n: int) -> str:
    """A number of bytes for people, in powers of 1000.

    Example:
        >>> format_bytes(999), format_bytes(16_777_216)
        ('999 B', '16.8 MB')
    """
    value, units = float(n), ["TB", "GB", "MB", "kB", "B"]
    # 999.5 is where three digits round up to a thousand.
    while value >= 999.5 and len(units) > 1:
        value /= 1000
        units.pop()
    return f"{value:.3g} {units[-1]}" if value < 999.5 else f"{value:.0f} {units[-1]}"


def _machine(root: str) -> int | None:
    """Bytes that are free on the machine; None where it does not say."""
    known = {}
    for line in (read_text(f"{root.rstrip('/')}/proc/meminfo") or "").splitlines():
        name, _, value = line.partition(":")
        amount, _, unit = value.strip().partition(" ")
        kilobytes = number(amount)
        if kilobytes is not None and unit == "kB":
            known[name] = kilobytes * 1024
    # Kernels before 3.14 have no MemAvailable.
    for name in ("MemAvailable", "MemFree"):
        if name in known:
            return known[name]
    pages = _sysconf("SC_AVPHYS_PAGES") or (_sysconf("SC_PHYS_PAGES") or 0) // _SHARE_OF_MACHINE
    return pages * (_sysconf("SC_PAGE_SIZE") or 0) or None


def _sysconf(name: str) -> int | None:
    """A positive value that the system states; None where it does not."""
    try:
        value = os.sysconf(name)
    except (AttributeError, OSError, ValueError):
        return None
    return value if value > 0 else None


def _limits(group: Group) -> list[_Limit]:
    """What the limits of one cgroup leave."""
    limits: tuple[str, ...]
    if group.version == 1:
        limits, usage, cache = ("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_inactive_file"
    else:
        # Above memory.high a group is slowed down until it is below again, so no plan should go there.
        limits, usage, cache = ("memory.max", "memory.high"), "memory.current", "inactive_file"
    found = [limit for name in limits if (limit := group.read_number(name)) is not None and 0 <= limit < _NO_LIMIT]
    if not found:
        return []
    used = group.read_number(usage) or 0
    # Usage includes file cache, of which the inactive part is given back as soon as somebody needs the memory.
    used -= min(_statistic(group, cache), used)
    return [_Limit(max(0, min(found) - used), min(found), group.directory)]


def _statistic(group: Group, name: str) -> int:
    """One row of the group's memory.stat; 0 where it cannot be read."""
    for line in (group.read("memory.stat") or "").splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return number(value) or 0
    return 0
