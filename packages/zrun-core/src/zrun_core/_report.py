"""What a call would do, in words: the answer of `run.explain`."""

from __future__ import annotations

from dataclasses import dataclass
from types import MethodType
from typing import TYPE_CHECKING, Any, Literal

from ._function import EagerMark, Function

if TYPE_CHECKING:
    from ._explain import Explanation
    from ._manager import RunManager

_WORDS = {"graph": "as a graph", "eager": "eagerly", "inline": "inline"}


@dataclass(frozen=True, slots=True)
class CallReport:
    """How a call would run; prints as sentences.

    Attributes:
        function: the function's name.
        kind: its kind.
        runs: `"graph"`, `"eager"`, or `"inline"` where it is called while a graph is being built.
        rule: why.
        look_up: what the cache has for the arguments, and what differs from the nearest entry; None where no
            graph runs.
        notes: what else there is to say of the graph that would run, such as large arrays that it holds.
    """

    function: str
    kind: str
    runs: Literal["graph", "eager", "inline"]
    rule: str
    look_up: Explanation | None = None
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"{self.function} (kind {self.kind!r}) runs {_WORDS[self.runs]}: {self.rule}."]
        if self.look_up is not None:
            lines.append(str(self.look_up))
        lines.extend(f"  {note}" for note in self.notes)
        return "\n".join(lines)


def report_call(manager: RunManager, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> CallReport:
    """Explain a call without running it.

    Args:
        manager: whose cache and backend count.
        function: a decorated function or method.
        args: the positional arguments.
        kwargs: the keyword arguments.

    Raises:
        TypeError: `function` was not decorated, or the arguments do not fit it.
    """
    if isinstance(function, MethodType) and isinstance(function.__func__, Function):
        args = (function.__self__, *args)
        function = function.__func__
    if not isinstance(function, Function):
        raise TypeError(
            f"explain takes a function decorated with zrun's function, or a method of one; got {function!r}. "
            f"Give the decorated function and the arguments of the call: run.explain(f, x)."
        )
    name, kind = function.owner.name, function.kind
    if manager.backend.is_tracing():
        return CallReport(name, kind, "inline", "a graph is being built here, and the body becomes part of it")
    ruling, key = function.look_up(args, kwargs)
    rule = function.why(ruling)
    if key is None:
        return CallReport(name, kind, "eager", rule)
    look_up = manager.cache.explain(function.owner, key, function.rows(key))
    entry = function.owner.table.get(key) if look_up.hit else None
    if entry is not None and isinstance(entry.value, EagerMark):
        return CallReport(name, kind, "eager", f"it could not be traced for these arguments: {entry.value.reason}")
    # A backend may have something to say of what it built.
    notes = getattr(entry.value, "notes", ()) if entry is not None else ()
    return CallReport(name, kind, "graph", rule + (", compiled" if ruling.jit else ""), look_up, notes)
