"""Locks on CPUs that every process of one user sees: one file per CPU, released by the kernel when a process dies."""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from .errors import CpuError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def check_supported() -> None:
    """Raise unless this platform has the locks.

    Raises:
        CpuError: it has not.
    """
    if fcntl is None:
        raise CpuError(
            "shared=True needs the file locks of POSIX (fcntl), which this platform does not have. "
            "Use shared=False, and give each process its own part of the CPUs with ZRUN_CPUS."
        )


def lock_directory(path: str | None = None) -> str:
    """The directory of the lock files, made if need be.

    Args:
        path: a directory to use; None means `$XDG_RUNTIME_DIR/zrun` where that variable names a directory of this
            user, else `zrun-<user id>` among the temporary files.

    Returns:
        Its path. It belongs to this user, and nobody else may look into it.

    Raises:
        CpuError: it cannot be made, is not a directory, belongs to somebody else, or is open to others.
    """
    directory = _default_directory() if path is None else path
    hint = "Set XDG_RUNTIME_DIR or pass lock_directory to name another one, the same in every process."
    try:
        with suppress(FileExistsError):
            os.mkdir(directory, 0o700)  # noqa: PTH102 - importing pathlib is slow
        # Not followed: a link could be turned elsewhere by whoever made it.
        found = os.lstat(directory)
    except OSError as error:
        raise CpuError(f"The directory of the shared CPU locks cannot be used: {error}. {hint}") from error
    fault = None
    if not stat.S_ISDIR(found.st_mode):
        fault = "is not a directory"
    elif found.st_uid != os.geteuid():
        fault = f"belongs to user {found.st_uid}, not to user {os.geteuid()} who asks"
    elif found.st_mode & 0o077:
        fault = f"is open to other users (mode {stat.S_IMODE(found.st_mode):04o}; needed: 0700)"
    if fault:
        raise CpuError(f"The directory of the shared CPU locks, {directory}, {fault}. {hint}")
    return directory


def _default_directory() -> str:
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    # Another user's directory can be inherited, for example through sudo.
    with suppress(OSError):
        if runtime.startswith("/") and os.stat(runtime).st_uid == os.geteuid():  # noqa: PTH116
            return f"{runtime}/zrun"
    import tempfile

    return f"{tempfile.gettempdir()}/zrun-{os.geteuid()}"


class CpuLocks:
    """The locks that one lease holds; on files, so that other processes see them.

    Not thread-safe: the pool that owns the lease calls it under its own lock.

    Args:
        directory: where the lock files are.
    """

    __slots__ = ("_directory", "_files")

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._files: list[int] = []

    def take(self, numbers: list[int], limit: int) -> tuple[int, ...]:
        """Lock what can be locked at once of the given CPUs.

        Args:
            numbers: the CPUs to try, in this order.
            limit: how many to lock at most.

        Returns:
            The CPUs that are now locked.

        Raises:
            CpuError: a lock file cannot be opened or locked.
        """
        # An interrupt in an earlier attempt may have left locks that nobody was told of.
        self.release()
        taken: list[int] = []
        try:
            for number in numbers:
                if len(taken) == limit:
                    break
                if self._lock(self._path(number)):
                    taken.append(number)
        except OSError as error:
            self.release()
            raise CpuError(
                f"A CPU cannot be locked for this process: {error}. Shared leases need a local directory that can be "
                "written; set XDG_RUNTIME_DIR or pass lock_directory, or use shared=False."
            ) from error
        return tuple(taken)

    def _lock(self, path: str) -> bool:
        """Try to lock one file; keep it open if that worked."""
        # A separate opening per lease: locks belong to the opening, so two pools of one process exclude each other too.
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._files.append(file)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._files.remove(file)
            os.close(file)
            return False
        os.ftruncate(file, 0)
        os.pwrite(file, b"%d\n" % os.getpid(), 0)
        return True

    def release(self) -> None:
        """Release all of them; without effect where nothing is held."""
        while self._files:
            file = self._files[-1]
            # Closing alone would leave the lock with a forked process that still has the file open.
            fcntl.flock(file, fcntl.LOCK_UN)
            self._files.pop()
            os.close(file)

    def forget(self) -> None:
        """In a forked process: let go of the files, and leave the locks with the parent, whose they are."""
        while self._files:
            os.close(self._files.pop())

    def holder(self, number: int) -> str:
        """Who locked a CPU last, in words. Only of interest where `take` could not have it."""
        try:
            with open(self._path(number), encoding="ascii") as file:  # noqa: PTH123 - importing pathlib is slow
                pid = int(file.read(32))
        except (OSError, ValueError):
            return "another process"
        return f"process {pid}" if pid != os.getpid() else f"process {pid} (this one, through another pool)"

    def _path(self, number: int) -> str:
        return f"{self._directory}/cpu-{number}.lock"
