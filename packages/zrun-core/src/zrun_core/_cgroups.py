"""The control groups (cgroups) that limit this process: where their files are, and what the files say.

Linux accounts CPU time and memory per cgroup. A host may mount version 1 (one tree per controller), version 2 (one
tree for all), or both at once, and a container may see only a part of the tree. A limit holds for a group and for all
groups below it, so the whole way from the mount down to the process's own group has to be read.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple


class Group(NamedTuple):
    """One cgroup: the version of the hierarchy it belongs to (1 or 2) and its directory."""

    version: int
    directory: str

    def read(self, name: str) -> str | None:
        """The text of one of the group's files, stripped; None where it cannot be read."""
        return read_text(f"{self.directory}/{name}")

    def read_number(self, name: str) -> int | None:
        """The integer in one of the group's files; None where there is none, for example with `max`."""
        return number(self.read(name))


class _Mount(NamedTuple):
    version: int
    root: str
    point: str
    controllers: frozenset[str]


def read_text(path: str) -> str | None:
    """The text of a file, stripped; None where it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:  # noqa: PTH123 - importing pathlib is slow
            return file.read().strip()
    except (OSError, ValueError):
        return None


def number(text: str | None) -> int | None:
    """The integer that `text` states; None for anything else, and for what no kernel would write."""
    try:
        value = int(text or "")
    except ValueError:
        return None
    return value if abs(value) < 2**63 else None


def own_groups(controller: str, root: str = "/") -> tuple[Group, ...]:
    """The cgroups of this process that `controller` may limit.

    Args:
        controller: `"cpu"` or `"memory"`.
        root: the directory below which `proc` and `sys` are looked for.

    Returns:
        The groups of version 1, then those of version 2, each from the mount point down to the process's own group.
        Not every directory need exist: where a container sees only a part of the tree, some do not.

    Scope: process (reads only).

    Example:
        >>> own_groups("cpu", root="/no/such/tree")
        ()
    """
    paths = _own_paths(controller, root)
    mounts = [mount for mount in _mounts(root) if mount.version == 2 or controller in mount.controllers]
    # A dict keeps the order and drops what two mounts of one hierarchy both show.
    found: dict[Group, None] = {}
    for version in (1, 2):
        below = [(mount, _below(paths.get(version, "/"), mount.root)) for mount in mounts if mount.version == version]
        # A mount that shows another part of the tree says nothing about this process, unless there is no other: then
        # the process's path and the mount were named from different sides of a namespace.
        if any(parts is not None for _, parts in below):
            below = [(mount, parts) for mount, parts in below if parts is not None]
        for mount, parts in below:
            directory = mount.point
            found[Group(version, directory)] = None
            for part in _parts(paths.get(version, "/")) if parts is None else parts:
                directory = f"{directory}/{part}"
                found[Group(version, directory)] = None
    return tuple(found)


def _own_paths(controller: str, root: str) -> dict[int, str]:
    """The process's own path in each hierarchy, by version, from /proc/self/cgroup."""
    paths: dict[int, str] = {}
    for line in (read_text(f"{root.rstrip('/')}/proc/self/cgroup") or "").splitlines():
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if hierarchy == "0" and not controllers:
            paths[2] = path
        elif controller in controllers.split(","):
            paths[1] = path
    return paths


def _parts(path: str) -> list[str]:
    """The components of an absolute path; none where the path leads out of what can be seen."""
    parts = [part for part in path.split("/") if part]
    return [] if ".." in parts else parts


def _below(path: str, mount_root: str) -> list[str] | None:
    """The way from the root of a mount to `path`; None if `path` is not below it."""
    own, top = ([part for part in text.split("/") if part] for text in (path, mount_root))
    rest = own[len(top) :]
    return None if own[: len(top)] != top or ".." in rest else rest


def _mounts(root: str) -> list[_Mount]:
    """The mounts of cgroup file systems, from /proc/self/mountinfo, or where they usually are."""
    mounts = []
    prefix = root.rstrip("/")
    for line in (read_text(f"{prefix}/proc/self/mountinfo") or "").splitlines():
        left, _, right = line.partition(" - ")
        place, kind = left.split(), right.split()
        if len(place) < 5 or len(kind) < 3 or kind[0] not in ("cgroup", "cgroup2"):
            continue
        point = prefix + _unescape(place[4])
        version = 2 if kind[0] == "cgroup2" else 1
        mounts.append(_Mount(version, _unescape(place[3]), point, frozenset(kind[2].split(","))))
    return mounts or _usual_mounts(f"{prefix}/sys/fs/cgroup")


def _usual_mounts(top: str) -> list[_Mount]:
    """What can be found where cgroups are usually mounted, for a sandbox that hides the list of mounts."""
    try:
        names = sorted(os.listdir(top))  # noqa: PTH208 - importing pathlib is slow
    except OSError:
        return []
    if "cgroup.controllers" in names:
        return [_Mount(2, "/", top, frozenset())]
    return [_Mount(2 if name == "unified" else 1, "/", f"{top}/{name}", frozenset(name.split(","))) for name in names]


def _unescape(path: str) -> str:
    r"""Undo the escapes of mountinfo: a blank is written as \040."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), path)
