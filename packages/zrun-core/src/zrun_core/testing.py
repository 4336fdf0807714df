"""Tools for tests of code that uses zrun: count traces, bound them, and prove that the policy was left alone.

With pytest, the fixtures `zrun_traces` and `zrun_policy_unchanged` do the same.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import wraps
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from ._events import Event, Listener, listen
from ._owner import CacheOwner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType

    from typing_extensions import Self

__all__ = ["TraceCounter", "assert_max_traces", "count_traces", "policy_unchanged"]

P = ParamSpec("P")
R = TypeVar("R")


class TraceCounter:
    """How often functions were traced; made by `count_traces`. `int(counter)` is the total."""

    def __init__(self, function: object = None) -> None:
        self._wanted = _matcher(function)
        # Without a lock: what a list does by itself is one step, and a finalizer may trace in the middle of anything.
        self._events: list[Event] = []
        self._listener: Listener = listen(self._hear, "build")

    def _hear(self, event: Event) -> None:
        if self._wanted(event):
            self._events.append(event)

    @property
    def events(self) -> tuple[Event, ...]:
        """The traces, in the order in which they ended."""
        return tuple(self._events)

    @property
    def total(self) -> int:
        """How many traces there were."""
        return len(self.events)

    @property
    def by_function(self) -> Mapping[str, int]:
        """How many traces there were of each function, by qualified name; read-only."""
        counts: dict[str, int] = {}
        for event in self.events:
            counts[event.function] = counts.get(event.function, 0) + 1
        return MappingProxyType(counts)

    def reset(self) -> None:
        """Start again from 0."""
        self._events.clear()

    def __int__(self) -> int:
        return self.total

    def __enter__(self) -> Self:
        self._listener.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.__exit__(kind, error, trace)

    def __repr__(self) -> str:
        listed = ", ".join(f"{name}: {count}" for name, count in self.by_function.items())
        return f"<{self.total} traces{f' ({listed})' if listed else ''}>"


def count_traces(function: object = None) -> TraceCounter:
    """Count the traces that happen in a `with` block.

    Args:
        function: count those of this function only: a decorated function, a bound method of one, the `CacheOwner` that
            stands for it in a cache of your own, or a qualified name. None counts all.

    Returns:
        A context manager that gives a `TraceCounter`; that keeps its counts after the block.

    Raises:
        TypeError: `function` is none of these.

    Scope: process. Traces in other threads count too.

    Example:
        >>> from zrun_core import CacheOwner, GraphCache
        >>> cache, tables = GraphCache(max_entries=10, sizeof=len), CacheOwner("tables")
        >>> with count_traces() as traces:
        ...     cache.get_or_build(tables, "key", lambda: "a table")
        'a table'
        >>> traces.total, dict(traces.by_function)
        (1, {'tables': 1})
    """
    return TraceCounter(function)


class assert_max_traces:  # noqa: N801 - called like a function
    """Context manager and decorator: raise if there are more traces than expected.

    Args:
        n: how many traces are allowed, 0 or more.
        function: count those of this function only, as in `count_traces`.

    Raises:
        ValueError: `n` is not a whole number, or negative.
        TypeError: `function` cannot be understood.
        AssertionError: at the end, there were more than `n` traces. The message says which functions were traced, how
            often, and what changed in their arguments. An exception of the body passes through instead.

    Scope: process. Traces in other threads count too.

    Example:
        >>> with assert_max_traces(0):
        ...     sum([1.0, 2.0])
        3.0
    """

    def __init__(self, n: int, function: object = None) -> None:
        _check_number(n)
        _matcher(function)
        self._n = n
        self._function = function
        self._counters: list[TraceCounter] = []

    def __enter__(self) -> TraceCounter:
        counter = count_traces(self._function)
        self._counters.append(counter)
        return counter.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        counter = self._counters.pop()
        counter.__exit__(kind, error, trace)
        if kind is None and counter.total > self._n:
            raise AssertionError(self._text(counter))

    def _text(self, counter: TraceCounter) -> str:
        lines = [f"{counter.total} traces where at most {self._n} were expected:"]
        for name, count in counter.by_function.items():
            lines.append(f"  {name} was traced {count} {'time' if count == 1 else 'times'}:")
            lines.extend(f"    {event.reason}" for event in counter.events if event.function == name)
        return "\n".join(lines)

    def __call__(self, body: Callable[P, R]) -> Callable[P, R]:
        """Decorate a function: each call of it is checked. Coroutine functions too."""
        # Imported late: core is to import fast.
        import inspect

        if not callable(body):
            raise TypeError(f"assert_max_traces decorates a callable; got {body!r} of type {type(body).__name__}.")
        if inspect.iscoroutinefunction(body):

            @wraps(body)
            async def coroutine(*args: P.args, **kwargs: P.kwargs) -> Any:
                with assert_max_traces(self._n, self._function):
                    return await body(*args, **kwargs)

            return coroutine  # type: ignore[return-value]

        @wraps(body)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            with assert_max_traces(self._n, self._function):
                return body(*args, **kwargs)

        return call


@contextmanager
def policy_unchanged() -> Iterator[None]:
    """Check that a `with` block leaves the policy as it found it: the process default, and what is in force here.

    Raises:
        AssertionError: at the end, one of them differs. An exception of the body passes through instead.

    Scope: reads process and context.

    Example:
        >>> with policy_unchanged():
        ...     pass
    """
    from . import _scope

    before = {"process default": _scope.default(), "policy in force": _scope.current()}
    yield
    after = {"process default": _scope.default(), "policy in force": _scope.current()}
    changed = [
        f"  the {name} was {before[name]}\n    and is {after[name]}" for name in before if before[name] != after[name]
    ]
    if changed:
        raise AssertionError("\n".join(["The policy was changed and not restored:", *changed]))


def _check_number(n: object) -> None:
    if isinstance(n, bool) or not isinstance(n, int) or n < 0:
        raise ValueError(f"n must be a number of traces, 0 or more; got {n!r}.")


def _matcher(function: object) -> Callable[[Event], bool]:
    """Which events are of a function."""
    if function is None:
        return lambda _event: True
    if isinstance(function, str):
        return lambda event: event.function == function
    # Bound methods pass the look-up on to their function.
    owner = function if isinstance(function, CacheOwner) else getattr(function, "owner", None)
    if not isinstance(owner, CacheOwner):
        raise TypeError(
            f"function must be a function decorated with zrun, or its qualified name as a string; got {function!r} "
            f"of type {type(function).__name__}. Decorate it, or pass None to count all functions."
        )
    token = owner.token
    return lambda event: event.owner == token
