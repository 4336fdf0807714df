"""`run`: the run manager whose backend is TensorFlow."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from zrun_core._cpus import count_cpus
from zrun_core._environment import cpus_from_environment
from zrun_core._manager import UNSET, given_parts
from zrun_core._manager import RunManager as CoreRunManager
from zrun_core._policy import Policy
from zrun_core._scope import Using, default
from zrun_core.errors import PolicyError, RuntimeStartedError, ZrunWarning

from . import _leaves, _threads
from ._backend import TensorFlowBackend
from ._forked import watch_forks

if TYPE_CHECKING:
    from collections.abc import Callable

    from zrun_core._function import Function as CoreFunction
    from zrun_core._policy import Chunksize, GraphPolicy, JitPolicy, RetracePolicy

P = ParamSpec("P")
R = TypeVar("R")

_leaves.register()

# One for the process, as the switches it sets are.
_backend = TensorFlowBackend()


class RunManager(CoreRunManager):
    """`zrun_core.RunManager` with TensorFlow as its backend.

    Args:
        n_cpu: number of CPUs: `"auto"` or a positive number.

    Raises:
        CpuError: `n_cpu` is neither.

    Scope: process.
    """

    backend: TensorFlowBackend

    def __init__(self, n_cpu: int | str = "auto") -> None:
        super().__init__(n_cpu, backend=_backend)

    def using(
        self,
        *,
        graph: GraphPolicy | None = None,
        autograd: bool | None = None,
        jit: JitPolicy | None = None,
        check_numerics: bool | None = None,
        chunksize: Chunksize = UNSET,
        retrace: RetracePolicy | None = None,
        tensorflow: bool = False,
    ) -> Using:
        """A block, or a decorated function, under another policy; what is not given stays as it is.

        See `zrun_core.RunManager.using`, which this extends.

        Args:
            graph: True, False, `"auto"` or a dict of kinds to bool.
            autograd: whether derivatives are automatic.
            jit: whether graphs are compiled with XLA: a bool or a dict of kinds to bool.
            check_numerics: whether results that are NaN or infinite raise.
            chunksize: rows evaluated at once, `"auto"`, or None for everything in one piece.
            retrace: `"allow"`, `"warn"` or `"error"`.
            tensorflow: with `graph=False`, also have every `tf.function` of the process run eagerly for the length of
                the block. Unlike the rest this is not scoped: other threads see it.

        Returns:
            The block; `with` yields the policy.

        Raises:
            PolicyError: a part has a value it cannot take, or `tensorflow=True` without `graph=False`.

        Scope: context (thread, asyncio task); with `tensorflow=True`, process.

        Example:
            >>> import tensorflow as tf
            >>> with run.using(graph=False, tensorflow=True):
            ...     tf.config.functions_run_eagerly()
            True
            >>> tf.config.functions_run_eagerly()
            False
        """
        parts = given_parts(graph, autograd, jit, check_numerics, chunksize, retrace)
        if not tensorflow:
            return Using(parts)
        if graph is not False:
            raise PolicyError(
                f"using: tensorflow=True switches tf.functions to eager execution and goes with graph=False; "
                f"got graph={graph!r}."
            )
        return Using(parts, self.backend.request_eager, self.backend.release_eager)

    def cpu_report(self) -> str:
        """Say how many CPUs there are and why, who has leased them, and which threads there are.

        Returns:
            Sentences: the count with its reasons, the leases, TensorFlow's thread counts and whether they hold already,
            the threads of the process by pool (before TensorFlow started and now), and NumPy's BLAS.

        Scope: process.
        """
        return f"{super().cpu_report()} {_threads.thread_report()}"

    def _function(self, body: Callable[P, R], **options: Any) -> CoreFunction[P, R]:
        from ._function import Function

        return Function(body, self, **options)


def _follow_what_was_set() -> None:
    """The default may say `graph=False` already, and `ZRUN_CPUS` or a quota how many threads there are to be."""
    _backend.default_changed(Policy(), default())
    watch_forks(_backend)
    if cpus_from_environment() is None:
        # Of affinity TensorFlow knows itself.
        if count_cpus().limited_by == "quota" and _threads.left_to_tensorflow() and not _threads.started():
            run.set_n_cpu("auto")
        return
    try:
        run.set_n_cpu("auto")
    except RuntimeStartedError as error:
        warnings.warn(f"ZRUN_CPUS came too late. {error}", ZrunWarning, stacklevel=2)


run = RunManager()
run._lease_from_process()
_follow_what_was_set()

function = run.function
