"""The thread pools of NumPy's linear algebra (BLAS): sized once, through threadpoolctl where it is installed."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

_lock = Lock()
# How many threads each library used when it was first asked, by file: what a later, larger number may go back to.
_first: dict[str, int] = {}


class BlasPool(NamedTuple):
    """One library that is loaded.

    Attributes:
        library: its name, such as `"openblas"`.
        file: where it was loaded from.
        threads: how many threads it uses, the calling one included.
    """

    library: str
    file: str
    threads: int

    @property
    def owner(self) -> str:
        """The package that brought it: SciPy has one of its own, which TensorFlow up to 2.17 imports."""
        return "SciPy" if {"scipy", "scipy.libs"} & set(Path(self.file).parts) else "NumPy"


def blas_pools() -> tuple[BlasPool, ...] | None:
    """The BLAS libraries that are loaded; None where threadpoolctl is not installed.

    Scope: process (reads only).
    """
    libraries = _libraries()
    if libraries is None:
        return None
    return tuple(BlasPool(lib.internal_api, lib.filepath, lib.num_threads or 1) for lib in libraries)


def limit_blas(threads: int) -> None:
    """Have each BLAS library use at most this many threads, and never more than it did at first.

    What a user has limited further, with `OPENBLAS_NUM_THREADS=1` for example, stays so. Threads that a library has
    started already sleep from now on; none of them can end one.

    Args:
        threads: at least 1.

    Scope: process. Without threadpoolctl it does nothing.
    """
    with _lock:
        for library in _libraries() or ():
            first = _first.setdefault(library.filepath, library.num_threads or 1)
            library.set_num_threads(min(first, threads))


def _libraries() -> list[Any] | None:
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return None
    return list(ThreadpoolController().select(user_api="blas").lib_controllers)
