"""The policy side of a run manager: what is in force, and how it is set and scoped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from . import _scope
from ._kinds import KINDS
from ._policy import DEFAULT_MODE, checked_parts
from ._scope import Using, bind, current
from ._tracing import is_tracing
from .errors import IllegalInGraphError, PolicyError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ._backend import Backend
    from ._policy import Chunksize, GraphPolicy, JitPolicy, Policy, RetracePolicy

P = ParamSpec("P")
R = TypeVar("R")


class _Unset:
    """Stands for an argument that was not given, where None has a meaning."""

    def __repr__(self) -> str:
        return "<as it is>"


UNSET: Final[Any] = _Unset()


class PolicyOptions:
    """The part of a run manager that shows, sets and scopes the policy."""

    DEFAULT_MODE: Final = DEFAULT_MODE

    backend: Backend

    @property
    def policy(self) -> Policy:
        """The policy in force here, frozen. Scope: context."""
        return current()

    @property
    def mode(self) -> Mapping[str, Any]:
        """The parts `graph` and `autograd` of the policy in force here, read-only. Scope: context."""
        return current().mode

    def current_policy_graph(self) -> GraphPolicy:
        """The graph policy in force here.

        Returns:
            True, False, `"auto"`, or a new dict of kinds.

        Scope: context.
        """
        graph = current().graph
        return graph if isinstance(graph, (bool, str)) else dict(graph)

    def current_policy_autograd(self) -> bool:
        """Whether derivatives are automatic here. Scope: context."""
        return current().autograd

    def builds_graph(self, kind: str) -> bool:
        """Whether a function of this kind builds a graph under the policy in force here.

        Args:
            kind: `"loss"`, `"sample"`, `"tensor"`, `"model"`, or one that was defined.

        Returns:
            True for a graph, False for Python.

        Raises:
            UnknownKindError: nobody has defined this kind.

        Scope: context.
        """
        return current().builds_graph(kind)

    def define_kind(self, name: str, graph: bool = True) -> None:
        """Add a kind of function.

        Args:
            name: an identifier, or several joined by dots (`"model.pdf"`).
            graph: whether it builds a graph under `"auto"`.

        Raises:
            PolicyError: the name is not an identifier, or is defined with another meaning.

        Scope: process.
        """
        KINDS.define(name, graph)

    def set_mode(self, graph: GraphPolicy | None = None, autograd: bool | None = None) -> None:
        """Set the process default for good.

        Args:
            graph: True, False, `"auto"` or a dict of kinds to bool; None leaves it as it is.
            autograd: whether derivatives are automatic; None leaves it as it is.

        Raises:
            PolicyError: both are None, or one has a value it cannot take. Nothing is changed.
            PolicyShadowedError: a `using` block of this context would hide the new default.
            IllegalInGraphError: a graph is being built.

        Scope: process.

        Example:
            >>> from zrun_core import run
            >>> run.set_mode(graph={"model": True})
            >>> run.builds_graph("model"), run.builds_graph("loss")
            (True, True)
            >>> run.set_mode_default()
        """
        changes = {"graph": graph, "autograd": autograd}
        changes = {name: value for name, value in changes.items() if value is not None}
        if not changes:
            raise PolicyError("set_mode: both graph and autograd are None, so nothing would change; give at least one.")
        self._set_default(f"set_mode({_named(changes)})", changes)

    def set_mode_default(self) -> None:
        """Back to `graph="auto"` and `autograd=True`, as the process default.

        Raises:
            PolicyShadowedError: inside a `using` block of this context.
            IllegalInGraphError: a graph is being built.

        Scope: process.
        """
        self._set_default("set_mode_default()", dict(self.DEFAULT_MODE))

    def set_chunksize(self, chunksize: Chunksize) -> None:
        """Set how many rows are evaluated at once, as the process default.

        Args:
            chunksize: a number of rows, `"auto"`, or None for everything in one piece.

        Raises:
            PolicyError: it is none of these. Nothing is changed.
            PolicyShadowedError: inside a `using` block of this context.
            IllegalInGraphError: a graph is being built.

        Scope: process.
        """
        self._set_default(f"set_chunksize({chunksize!r})", {"chunksize": chunksize})

    @property
    def chunksize(self) -> Chunksize:
        """Rows evaluated at once under the policy in force here; None: everything in one piece. Scope: context."""
        return current().chunksize

    def set_retrace_policy(self, retrace: RetracePolicy) -> None:
        """Set what happens when one function is traced again and again, as the process default.

        Args:
            retrace: `"allow"`, `"warn"` (once per function) or `"error"`.

        Raises:
            PolicyError: it is none of these. Nothing is changed.
            PolicyShadowedError: inside a `using` block of this context.
            IllegalInGraphError: a graph is being built.

        Scope: process.
        """
        self._set_default(f"set_retrace_policy({retrace!r})", {"retrace": retrace})

    def _set_default(self, asked: str, changes: dict[str, Any]) -> None:
        checked_parts(changes)
        if is_tracing():
            raise IllegalInGraphError(
                f"{asked} was called while a graph is being built; it would take effect once, at tracing, and never "
                f"when the graph runs. Call it outside of the decorated function."
            )
        _scope.set_default(changes, asked)

    def using(
        self,
        *,
        graph: GraphPolicy | None = None,
        autograd: bool | None = None,
        jit: JitPolicy | None = None,
        check_numerics: bool | None = None,
        chunksize: Chunksize = UNSET,
        retrace: RetracePolicy | None = None,
    ) -> Using:
        """A block, or a decorated function, under another policy; what is not given stays as it is.

        The object that is returned can be entered again, nested, in several threads, and decorates functions, also
        recursive and coroutine functions. On leaving, exactly what was there before is restored, also after an
        exception. A generator has the context of whoever resumes it: do not yield inside the block.

        Args:
            graph: True, False, `"auto"` or a dict of kinds to bool.
            autograd: whether derivatives are automatic.
            jit: whether graphs are compiled with XLA: a bool or a dict of kinds to bool.
            check_numerics: whether results that are NaN or infinite raise.
            chunksize: rows evaluated at once, `"auto"`, or None for everything in one piece.
            retrace: `"allow"`, `"warn"` or `"error"`.

        Returns:
            The block; `with` yields the policy.

        Raises:
            PolicyError: a part has a value it cannot take.

        Scope: context (thread, asyncio task).

        Example:
            >>> from zrun_core import run
            >>> @run.using(autograd=False)
            ... def way():
            ...     return run.current_policy_autograd()
            >>> way(), run.current_policy_autograd()
            (False, True)
        """
        return Using(given_parts(graph, autograd, jit, check_numerics, chunksize, retrace))

    def bind(self, function: Callable[P, R]) -> Callable[P, R]:
        """Hand the policy in force here to another thread, task or pool; see `zrun_core.bind`."""
        return bind(function)


def _named(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in values.items())


def given_parts(
    graph: Any, autograd: Any, jit: Any, check_numerics: Any, chunksize: Any, retrace: Any
) -> dict[str, Any]:
    """The parts of a policy that were given."""
    given: dict[str, Any] = {}
    if graph is not None:
        given["graph"] = graph
    if autograd is not None:
        given["autograd"] = autograd
    if jit is not None:
        given["jit"] = jit
    if check_numerics is not None:
        given["check_numerics"] = check_numerics
    if chunksize is not UNSET:
        given["chunksize"] = chunksize
    if retrace is not None:
        given["retrace"] = retrace
    return given
