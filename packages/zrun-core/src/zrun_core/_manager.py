"""`RunManager`: the policy, the graph cache, the CPUs and the chunks of a process behind one object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, overload

from . import _scope
from ._backend import Backend, PythonBackend
from ._budgets import check_count
from ._cache import CacheInfo, Freed, GraphCache, clear_all_caches
from ._events import listen
from ._manager_cpus import CpuOptions
from ._manager_policy import UNSET, PolicyOptions, given_parts
from ._tracing import is_tracing, know_backend
from ._watch import RetraceWatch
from .errors import IllegalInGraphError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ._events import Event, EventName, Listener
    from ._function import Function
    from ._report import CallReport

__all__ = ["DEFAULT_MAX_GRAPHS", "UNSET", "RunManager", "given_parts"]

P = ParamSpec("P")
R = TypeVar("R")

DEFAULT_MAX_GRAPHS: Final = 256


class RunManager(PolicyOptions, CpuOptions):
    """All options of how functions run, in one object; calling it evaluates.

    The policy belongs to the process and its contexts: every run manager of a process shows the same one. Cache, CPU
    pool and backend are the manager's own.

    Args:
        n_cpu: number of CPUs that may be leased: `"auto"` (what affinity, cgroup quota and `ZRUN_CPUS` allow) or a
            positive number.
        backend: what traces and runs functions; None means plain Python.

    Raises:
        CpuError: `n_cpu` is not positive, or a string other than `"auto"`.
        TypeError: `n_cpu` is not a number, or `backend` lacks a part of the `Backend` protocol.

    Scope: process.

    Example:
        >>> run = RunManager()
        >>> run.mode["graph"]
        'auto'
        >>> with run.using(graph=False) as policy:
        ...     policy.graph, run.builds_graph("loss")
        (False, False)
    """

    def __init__(self, n_cpu: int | str = "auto", *, backend: Backend | None = None) -> None:
        super().__init__(PythonBackend() if backend is None else _checked_backend(backend), n_cpu)
        self.cache: GraphCache[Any] = GraphCache(max_entries=DEFAULT_MAX_GRAPHS, sizeof=lambda graph: graph.nbytes)
        self.watch = RetraceWatch()
        _scope.observe_default(self.backend.default_changed)
        # The policy is that of the process, whichever manager it is set through.
        know_backend(self.backend)

    @overload
    def function(
        self,
        body: Callable[P, R],
        /,
        *,
        kind: str = "tensor",
        static: Iterable[str] = (),
        force_eager: bool = False,
        jit_compile: bool | None = None,
        max_graphs: int | None = None,
    ) -> Function[P, R]: ...
    @overload
    def function(
        self,
        body: None = None,
        /,
        *,
        kind: str = "tensor",
        static: Iterable[str] = (),
        force_eager: bool = False,
        jit_compile: bool | None = None,
        max_graphs: int | None = None,
    ) -> Callable[[Callable[P, R]], Function[P, R]]: ...
    def function(
        self,
        body: Any = None,
        /,
        *,
        kind: str = "tensor",
        static: Iterable[str] = (),
        force_eager: bool = False,
        jit_compile: bool | None = None,
        max_graphs: int | None = None,
    ) -> Any:
        """Decorator: run a function as the policy says, as a graph kept per structure of its arguments.

        Args:
            body: the function; methods, static and class methods too.
            kind: the kind of function the policy goes by.
            static: names of parameters that are compared by value instead of being inputs.
            force_eager: always run the Python body; functions that call it while traced run eagerly too.
            jit_compile: compile with XLA; None follows the policy.
            max_graphs: how many graphs of this function are kept; None: only the budget of the whole cache counts.

        Returns:
            The decorated function, or a decorator where `body` is not given.

        Raises:
            PolicyError: `force_eager` or `jit_compile` is not a bool.
            TypeError: what is decorated is no function or method, or is a generator or coroutine function.
            UnknownKindError: nobody has defined the kind.
            ValueError: `static` names no parameter, or `max_graphs` is not positive.

        Example:
            >>> from zrun_core import run
            >>> @run.function(kind="model")
            ... def double(x):
            ...     return 2 * x
            >>> double(1.5)
            3.0
        """
        options = {
            "kind": kind,
            "static": static,
            "force_eager": force_eager,
            "jit_compile": jit_compile,
            "max_graphs": max_graphs,
        }
        if body is not None:
            return self._function(body, **options)
        return lambda decorated: self._function(decorated, **options)

    def _function(self, body: Callable[P, R], **options: Any) -> Function[P, R]:
        """Make a decorated function; a backend may have a class of its own for them."""
        from ._function import Function

        return Function(body, self, **options)

    def explain(self, function: Any, /, *args: Any, **kwargs: Any) -> CallReport:
        """Say how a call would run, without running it.

        Args:
            function: a decorated function or method.
            *args: the arguments of the call.
            **kwargs: its keyword arguments.

        Returns:
            Graph or eager and by which rule, hit or miss, and on a miss which argument differs from the nearest entry;
            prints as sentences.

        Raises:
            TypeError: `function` was not decorated, or the arguments do not fit it.

        Scope: context (the policy in force here).
        """
        from ._report import report_call

        return report_call(self, function, args, kwargs)

    def cache_info(self) -> CacheInfo:
        """What the graph cache holds: a row per function, and totals; prints as a table, as HTML in a notebook."""
        return self.cache.info()

    def clear_graph_cache(self, release_memory: bool = False) -> Freed:
        """Drop every cached graph, of this manager and of every other cache. It may change speed, never a result.

        Args:
            release_memory: also collect garbage and give memory back to the operating system.

        Returns:
            How many graphs were dropped, and the bytes: as estimated, or, with `release_memory`, what became free.

        Scope: process.
        """
        freed = clear_all_caches()
        if release_memory:
            return freed._replace(bytes=self.backend.release_memory())
        return freed

    def set_graph_cache_size(self, graphs: int | None, bytes: int | None = None) -> None:  # noqa: A002 - the contract's name
        """Set the budget of the graph cache; the least recently used graphs go first.

        Args:
            graphs: how many graphs are kept; None: no limit.
            bytes: how many bytes they may take, as estimated; None: no limit.

        Raises:
            ValueError: a budget is not positive.

        Scope: process.
        """
        check_count("graphs", graphs)
        check_count("bytes", bytes)
        self.cache.resize(max_entries=graphs, max_bytes=bytes)

    def listen(self, callback: Callable[[Event], Any], *names: EventName) -> Listener:
        """Have `callback(event)` called for events within a `with` block; see `zrun_core.listen`."""
        return listen(callback, *names)

    def __call__(self, obj: Any, *more: Any) -> Any:
        """Evaluate: a backend's values, and structures of them, become NumPy; anything else passes through.

        Args:
            obj: what to evaluate.
            *more: further objects.

        Returns:
            The value; a tuple of values where several objects were given.
        """
        if more:
            return tuple(self.backend.evaluate(one) for one in (obj, *more))
        return self.backend.evaluate(obj)

    def assert_executing_eagerly(self) -> None:
        """Raise unless Python side effects are seen, that is unless this is being traced.

        Raises:
            IllegalInGraphError: a graph is being built.
        """
        if is_tracing():
            raise IllegalInGraphError(
                "assert_executing_eagerly: a graph is being built, so Python side effects happen once, at tracing. "
                "Run the function with 'with run.using(graph=False)', or decorate it with force_eager=True."
            )


def _checked_backend(backend: Any) -> Backend:
    if isinstance(backend, type):
        raise TypeError(f"backend must be an object; got the class {backend.__qualname__}. Make an object of it.")
    if isinstance(backend, Backend):
        return backend
    needed = {name for name in (*vars(Backend), *Backend.__annotations__) if not name.startswith("_")}
    missing = ", ".join(sorted(name for name in needed if not hasattr(backend, name)))
    raise TypeError(f"backend must have all parts of the Backend protocol; {backend!r} lacks {missing}.")
