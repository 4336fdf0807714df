"""What a backend does for a run manager, and the backend that runs everything as plain Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from ._policy import Policy


class Build(NamedTuple):
    """What a backend is asked to compile.

    Attributes:
        name: the function's qualified name.
        body: the Python function.
        arguments: takes leaves (symbolic ones while tracing) and returns the positional and keyword arguments that
            `body` is to be called with.
        leaves: the leaves of the call that asks for the build, in order.
        policy: the policy it is built under.
        jit: whether to compile to machine code.
        own_jit: whether the function itself asks for that, rather than the policy.
        opaque: whether the graph is for objects that the key holds by identity, so that few calls may share it.
    """

    name: str
    body: Callable[..., Any]
    arguments: Callable[[Sequence[Any]], tuple[Sequence[Any], dict[str, Any]]]
    leaves: Sequence[Any]
    policy: Policy
    jit: bool
    own_jit: bool = False
    opaque: bool = False


@runtime_checkable
class Executable(Protocol):
    """A compiled function: called with the leaves of a call, it returns the result.

    `nbytes` estimates its size. An attribute `compiled` that is true counts it as compiled to machine code.
    """

    nbytes: int

    def __call__(self, leaves: Sequence[Any]) -> Any:
        """Run it on the leaves of one call."""
        ...


@runtime_checkable
class Backend(Protocol):
    """The library that traces and runs functions, as a run manager sees it.

    Attributes:
        name: for messages and reports.
        compiles: whether it can build graphs at all; where it cannot, Python bodies run.
    """

    name: str
    compiles: bool

    def is_tracing(self) -> bool:
        """Whether the code that calls this is being traced into a graph."""
        ...

    def context(self) -> Hashable:
        """What graphs depend on besides arguments and policy (a device scope, a strategy); part of every key."""
        ...

    def compile(self, build: Build) -> Executable:
        """Trace a function for leaves of the given structure. Exceptions of the body pass through unchanged."""
        ...

    def default_changed(self, old: Policy, new: Policy) -> None:
        """Called before the process default changes; sets what the backend has only one of. May raise to refuse."""
        ...

    def evaluate(self, obj: Any) -> Any:
        """Turn a backend's value, or a structure of them, into NumPy; pass anything else through."""
        ...

    def set_threads(self, intra: int | None, inter: int | None) -> None:
        """Set the thread counts; None leaves one alone. Raises `RuntimeStartedError` where it is too late."""
        ...

    def release_memory(self) -> int:
        """Give memory of dropped graphs back to the system; returns the bytes that became free."""
        ...


class PythonBackend:
    """Runs every function as the Python it is. What `zrun_core.run` uses alone.

    Example:
        >>> PythonBackend().evaluate([1, 2.5])
        [1, 2.5]
    """

    name = "python"
    compiles = False

    def is_tracing(self) -> bool:
        """Never: there are no graphs."""
        return False

    def context(self) -> Hashable:
        """Nothing."""
        return None

    def compile(self, build: Build) -> Executable:
        """There is nothing to compile to."""
        raise NotImplementedError(
            f"{build.name}: the Python backend builds no graphs; this call should have run eagerly."
        )

    def default_changed(self, old: Policy, new: Policy) -> None:
        """Nothing is switched."""

    def evaluate(self, obj: Any) -> Any:
        """Return `obj` as it is."""
        return obj

    def set_threads(self, intra: int | None, inter: int | None) -> None:
        """Python code runs on the threads that call it."""

    def release_memory(self) -> int:
        """Nothing is held."""
        return 0
