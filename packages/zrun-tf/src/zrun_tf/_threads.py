"""TensorFlow's thread pools: one per process, sized once, before the first operation; and what became of that."""

from __future__ import annotations

import os
from dataclasses import dataclass
from threading import RLock
from typing import TYPE_CHECKING

import tensorflow as tf

from zrun_core.errors import RuntimeStartedError

from ._blas import blas_pools, limit_blas
from ._dispatch import on_first_use, runtime_state
from ._thread_counts import OTHERS, by_pool, count_threads
from ._user_frame import user_line

if TYPE_CHECKING:
    from ._blas import BlasPool

_config = tf.config.threading
_lock = RLock()


class _Start:
    """When and where TensorFlow started, as far as it can be known."""

    def __init__(self) -> None:
        self.before_import = started()
        self.threads = count_threads()
        self.imported_at = user_line()
        self.line: str | None = None
        self.watched = not self.before_import and on_first_use(self._note)

    def _note(self) -> None:
        self.threads = count_threads()
        self.line = user_line()

    def __str__(self) -> str:
        if self.line is not None:
            return f"at {self.line}"
        if self.before_import:
            return f"before zrun_tf was imported{f' ({self.imported_at})' if self.imported_at else ''}"
        return "after zrun_tf was imported"


@dataclass(frozen=True)
class ThreadReport:
    """What TensorFlow and NumPy were told, and the threads there are.

    Attributes:
        intra: threads within an operation, as they are or will be.
        inter: operations that run at the same time, likewise.
        started: whether TensorFlow has started, after which these cannot change.
        started_at: where, in words; empty if it has not started.
        before: number of threads just before TensorFlow started (so far, if it has not); None where the platform does
            not tell, or TensorFlow started before zrun_tf was imported.
        now: number of threads by pool; None where the platform does not tell.
        blas: the BLAS libraries of NumPy and SciPy that are loaded; None where threadpoolctl is not installed.
    """

    intra: int
    inter: int
    started: bool
    started_at: str
    before: int | None
    now: dict[str, int] | None
    blas: tuple[BlasPool, ...] | None

    def __str__(self) -> str:
        state = f"has started, {self.started_at}," if self.started else "has not started; it is set"
        said = [f"TensorFlow {state} with {_some(self.intra)} within operations and {self.inter} between them."]
        if self.now is not None:
            pools = ", ".join(f"{number} {name}" for name, number in self.now.items())
            before = "" if self.before is None else f"{self.before} before TensorFlow started, "
            said.append(f"Threads of this process: {before}{sum(self.now.values())} now: {pools}.")
        if self.blas is None:
            said.append("NumPy's BLAS: not known; install threadpoolctl to have it follow (zrun-tf[threads]).")
        else:
            said.extend(f"{pool.owner}'s BLAS ({pool.library}) uses {pool.threads}." for pool in self.blas)
        return " ".join(said)


def _some(threads: int) -> str:
    return f"{threads} thread{'' if threads == 1 else 's'}"


def started() -> bool:
    """Whether TensorFlow has started its thread pools. Scope: process."""
    return _state()[0]


def _state() -> tuple[bool, int, int]:
    """Whether TensorFlow has started, and its thread counts as they were set; 0: they were not."""
    return runtime_state() or _state_in_public()


def _state_in_public() -> tuple[bool, int, int]:
    with _lock:
        intra, inter = _config.get_intra_op_parallelism_threads(), _config.get_inter_op_parallelism_threads()
        # The public interface tells whether it has started only by refusing a change.
        try:
            _config.set_intra_op_parallelism_threads(intra + 1)
            _config.set_intra_op_parallelism_threads(intra)
        except RuntimeError:
            return True, intra, inter
        return False, intra, inter


def effective_threads() -> tuple[int, int]:
    """The threads within and between operations that TensorFlow runs with, or will: what was set, or its own choice.

    Scope: process (reads only).
    """
    _, intra, inter = _state()
    return intra or _own_choice("TF_NUM_INTRAOP_THREADS"), inter or _own_choice("TF_NUM_INTEROP_THREADS")


def _own_choice(variable: str) -> int:
    """What TensorFlow takes where nothing was set."""
    text = os.environ.get(variable, "")
    if text.isascii() and text.isdecimal() and int(text) > 0:
        return int(text)
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def left_to_tensorflow() -> bool:
    """Whether nobody has said how many threads there are to be. Scope: process (reads only)."""
    return not any(_state()[1:]) and not {"TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"} & set(os.environ)


def set_threads(intra: int | None, inter: int | None) -> None:
    """Set the threads within an operation and between operations; None leaves one alone.

    NumPy's BLAS is limited to the threads within an operation, where threadpoolctl is installed.

    Raises:
        RuntimeStartedError: TensorFlow has started with other numbers. Nothing is changed.

    Scope: process.
    """
    with _lock:
        if started():
            now = effective_threads()
            if intra not in (None, now[0]) or inter not in (None, now[1]):
                raise RuntimeStartedError(_too_late(now, intra, inter))
        else:
            # Only before the start: TensorFlow takes its own choice for another number than the same one given.
            if intra is not None:
                _config.set_intra_op_parallelism_threads(intra)
            if inter is not None:
                _config.set_inter_op_parallelism_threads(inter)
    if intra is not None:
        limit_blas(intra)


def _too_late(now: tuple[int, int], intra: int | None, inter: int | None) -> str:
    wanted = (now[0] if intra is None else intra, now[1] if inter is None else inter)
    cpus = max(wanted)
    return (
        f"TensorFlow had started already ({_start}) with {_some(now[0])} within operations and {now[1]} between them, "
        f"and cannot change to {wanted[0]} and {wanted[1]}: it sizes its pools once, at its first operation. Start the "
        f"program with 'zrun run --cpus {cpus} ...' or with ZRUN_CPUS={cpus} in the environment, or call "
        f"run.set_n_cpu({cpus}) before the first TensorFlow operation."
    )


def thread_report() -> ThreadReport:
    """What the thread pools were told, and the threads there are.

    Scope: process (reads only); starts nothing.
    """
    running = started()
    intra, inter = effective_threads()
    counted = count_threads()
    earlier = None if _start.threads is None or _start.before_import else _start.threads
    pools = blas_pools()
    if counted is not None and not running:
        earlier = counted
    within, between = (intra, inter) if running else (0, 0)
    nameless = earlier[OTHERS] if earlier is not None else sum(pool.threads - 1 for pool in pools or ())
    return ThreadReport(
        intra=intra,
        inter=inter,
        started=running,
        started_at=str(_start) if running else "",
        before=None if earlier is None else sum(earlier.values()),
        now=None if counted is None else by_pool(counted, nameless, within, between),
        blas=pools,
    )


_start = _Start()
