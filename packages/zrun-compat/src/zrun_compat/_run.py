"""`RunManager`: zrun's run manager, which also answers to the names that zfit's had."""

from __future__ import annotations

import sys
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Literal, overload

from typing_extensions import deprecated

import zrun_tf
from zrun_core._manager import DEFAULT_MAX_GRAPHS, UNSET
from zrun_core._numbers import whole_number
from zrun_core.errors import CpuError, CpuLeaseTimeoutError

from ._chunking import MAX_N_POINTS, Chunking
from ._deprecate import Notice, old, removed
from ._mode_names import ModeNames

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from zrun_core._cache_info import Freed

_GONE: Final = {
    "experimental_disable_param_update": "zrun's minimiser bridge leaves variables as they were; assign the result of "
    "a fit to them where that is wanted.",
    "hashing_data": "Graphs are found by the structure of their arguments, so no data are hashed; remove the call.",
    "set_data_hashing": "Graphs are found by the structure of their arguments, so no data are hashed; remove the call.",
}

_CALL_GC: Final = Notice(
    "run.clear_graph_cache(call_gc=...)",
    "Write `zrun.run.clear_graph_cache(release_memory=...)`",
    removed_in="1.0",
)
_SIZE: Final = Notice(
    "run.set_graph_cache_size(size)",
    "Write `zrun.run.set_graph_cache_size(graphs=...)`, which counts the graphs of all functions together, no longer "
    "those of each function",
    removed_in="1.0",
)


class RunManager(ModeNames):
    """`zrun_tf.RunManager` that also answers to the names that zfit's run manager had in its releases 0.5 to 0.28.

    What an old name does is done by zrun, which keeps all state. Names that zrun has too are as there, except that
    `set_mode` and `set_mode_default` return an object that can be used in a `with` statement, and that `chunksize` is
    a number.

    Args:
        n_cpu: number of CPUs: `"auto"` or a positive number.

    Raises:
        CpuError: `n_cpu` is neither.

    Scope: process.

    Example:
        >>> import zrun_tf as zrun
        >>> from zrun_compat import run
        >>> run.set_mode(graph=False)
        set_mode(graph=False)
        >>> zrun.run.mode["graph"]
        False
        >>> zrun.run.set_mode_default()
    """

    MAX_CHUNK_SIZE: Final = sys.maxsize

    # In the run manager itself, so that each face of one sees it.
    _rows = MAX_N_POINTS

    # -- graphs -----------------------------------------------------------------------------------------------------

    @overload
    def clear_graph_cache(self, release_memory: bool = False) -> Freed: ...
    @overload
    @deprecated("Write `zrun.run.clear_graph_cache(release_memory=...)`", category=None)
    def clear_graph_cache(self, release_memory: bool = False, *, call_gc: bool | None) -> Freed: ...
    def clear_graph_cache(self, release_memory: bool = False, *, call_gc: bool | None = None) -> Freed:
        """Drop every cached graph of this manager. It may change speed and memory, never a result.

        Args:
            release_memory: also collect garbage and give memory back to the operating system.
            call_gc: the old name of `release_memory`; deprecated.

        Returns:
            How many graphs were dropped, and the bytes.

        Scope: process.
        """
        if call_gc is not None:
            _CALL_GC.warn()
        return super().clear_graph_cache(release_memory or bool(call_gc))

    @overload  # type: ignore[override]  # the old first parameter has another name
    @deprecated("Write `zrun.run.set_graph_cache_size(graphs=...)`", category=None)
    def set_graph_cache_size(self, size: int | None = None) -> None: ...
    @overload
    def set_graph_cache_size(self, size: int | None, bytes: int) -> None: ...
    @overload
    def set_graph_cache_size(self, *, graphs: int | None, bytes: int | None = None) -> None: ...
    def set_graph_cache_size(
        self,
        size: int | None = None,
        bytes: int | None = None,  # noqa: A002 - zrun's name
        *,
        graphs: int | None = UNSET,
    ) -> None:
        """Set the budget of the graph cache; the least recently used graphs go first.

        Args:
            size: given alone, the old form, deprecated: a number of graphs; None means zrun's default. It counted the
                graphs of each function; zrun counts those of all functions together.
            bytes: how many bytes the graphs may take, as estimated; None: no limit.
            graphs: how many graphs are kept; None: no limit.

        Raises:
            ValueError: a budget is not positive.

        Scope: process.
        """
        if graphs is UNSET and bytes is not None:
            graphs = size
        elif graphs is UNSET:
            _SIZE.warn()
            graphs = DEFAULT_MAX_GRAPHS if size is None else size
        super().set_graph_cache_size(graphs, bytes)

    # -- CPUs and chunks --------------------------------------------------------------------------------------------

    @deprecated("Write `with zrun.run.acquire_cpu(max_cpu) as cpus:`, where `cpus` is how many", category=None)
    @old("run.aquire_cpu(...)", removed_in="1.0")
    def aquire_cpu(self, max_cpu: int = -1) -> AbstractContextManager[list[str]]:
        """Lease CPUs for the length of a `with` block, without waiting for them.

        Args:
            max_cpu: how many at most; a negative number counts from the end of the pool (-1 = all).

        Returns:
            A context manager that yields a name for each CPU; none where all are leased.

        Raises:
            TypeError: `max_cpu` is not an integer.

        Scope: process.
        """
        limit = whole_number("max_cpu", max_cpu, least=None, hint="-1 means all.", error=CpuError)
        return _leased_names(self, limit if limit >= 0 else self.n_cpu + 1 + limit)

    @property
    def chunksize(self) -> int | Literal["auto"]:
        """Rows evaluated at once under the policy in force here; `MAX_CHUNK_SIZE` where there are no chunks.

        Scope: context.
        """
        chunksize = super().chunksize
        return self.MAX_CHUNK_SIZE if chunksize is None else chunksize

    @property
    def chunking(self) -> Chunking:
        """The old attributes `active` and `max_n_points`."""
        return Chunking(self)

    # -- checks of numbers ------------------------------------------------------------------------------------------

    @property
    @deprecated("Write `zrun.run.policy.check_numerics`", category=None)
    @old("run.numeric_checks", removed_in="1.0", read=True)
    def numeric_checks(self) -> bool:
        """Whether results that are NaN or infinite raise. Scope: context; process when it is set."""
        return self.policy.check_numerics

    @numeric_checks.setter
    @deprecated("Write `with zrun.run.using(check_numerics=...):`", category=None)
    @old("run.numeric_checks = ...", removed_in="1.0")
    def numeric_checks(self, check: bool) -> None:
        self._set_default(f"numeric_checks = {check!r}", {"check_numerics": check})

    @property
    @deprecated("Write `zrun.run.policy.check_numerics`", category=None)
    @old("run.check_numerics", removed_in="1.0", read=True)
    def check_numerics(self) -> bool:
        """The later name of `numeric_checks`. Scope: context; process when it is set."""
        return self.policy.check_numerics

    @check_numerics.setter
    @deprecated("Write `with zrun.run.using(check_numerics=...):`", category=None)
    @old("run.check_numerics = ...", removed_in="1.0")
    def check_numerics(self, check: bool) -> None:
        self._set_default(f"check_numerics = {check!r}", {"check_numerics": check})

    if TYPE_CHECKING:
        # With a __getattr__, type checkers would accept any name.
        pass
    else:

        def __getattr__(self, name: str) -> Any:
            if name in _GONE:
                raise removed(f"run.{name}", _GONE[name])
            # Said again by Python itself, in its own words.
            return object.__getattribute__(self, name)


@contextmanager
def _leased_names(run: RunManager, limit: int) -> Iterator[list[str]]:
    with ExitStack() as lease:
        numbers: tuple[int, ...] = ()
        if limit > 0:
            # What zfit did: where nothing is left, the block runs with nothing.
            with suppress(CpuLeaseTimeoutError):
                numbers = lease.enter_context(run.acquire_cpu(limit, timeout=0)).numbers
        yield [f"dummy_cpu{number}" for number in numbers]


def _face_of(manager: zrun_tf.RunManager) -> RunManager:
    """A run manager with the old names and the very state of another one."""
    face = RunManager.__new__(RunManager)
    face.__dict__ = manager.__dict__
    return face


run = _face_of(zrun_tf.run)
"""`zrun_tf.run`, which also answers to the old names."""
