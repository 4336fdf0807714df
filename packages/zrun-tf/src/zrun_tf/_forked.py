"""A process forked after TensorFlow had started: its threads are not there, and what waits for them waits for ever.

TensorFlow itself does not notice, and hangs. What zrun runs is refused in such a child instead, with an error that a
pool of processes hands to its parent. A fork before TensorFlow has started is fine, and so is one whose child does
something else.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NoReturn

from zrun_core.errors import RuntimeStartedError

from ._dispatch import direct
from ._graph import Graph
from ._threads import started

if TYPE_CHECKING:
    from ._backend import TensorFlowBackend

_TEXT = (
    "This process was forked after TensorFlow had started in its parent. A fork copies none of its threads, so that "
    "TensorFlow would wait for them for ever here. Start worker processes with multiprocessing.get_context('spawn') "
    "(for concurrent.futures, ProcessPoolExecutor(mp_context=...)), or fork before the first TensorFlow operation."
)


class _Fork:
    started_before = False
    unusable = False


def check_process() -> None:
    """Raise in a process in which TensorFlow cannot work.

    Raises:
        RuntimeStartedError: it was forked after TensorFlow had started.

    Scope: process.
    """
    if _Fork.unusable:
        raise RuntimeStartedError(_TEXT)


def watch_forks(backend: TensorFlowBackend) -> None:
    """Have children that are forked from now on refuse to run TensorFlow if it has started by then.

    Args:
        backend: what functions are run with.

    Scope: process, and those forked from it. Called once.
    """

    def before() -> None:
        _Fork.started_before = _Fork.unusable or started()

    def in_child() -> None:
        if _Fork.started_before:
            _Fork.unusable = True
            # In place of what runs, so that a call costs nothing more where there was no fork.
            direct.symbols = None
            Graph.__call__ = _refuse  # type: ignore[method-assign, assignment]
            vars(backend).update(is_tracing=_refuse, compile=_refuse)

    # Windows cannot fork.
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=before, after_in_child=in_child)


def _refuse(*_: Any) -> NoReturn:
    raise RuntimeStartedError(_TEXT)
