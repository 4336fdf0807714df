"""The policy: how functions run, as one frozen value.

Everything that can be wrong with a policy is found here, when it is made, so that whoever holds a `Policy` holds a
valid one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal

from ._kinds import KINDS, find_kind
from .errors import PolicyError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

    from typing_extensions import Self

    GraphPolicy: TypeAlias = "bool | Literal['auto'] | Mapping[str, bool]"
    JitPolicy: TypeAlias = "bool | Mapping[str, bool]"
    RetracePolicy: TypeAlias = Literal["allow", "warn", "error"]
    Chunksize: TypeAlias = "int | Literal['auto'] | None"

RETRACE_POLICIES: Final = ("allow", "warn", "error")


class FrozenMapping(Mapping[str, bool]):
    """A mapping that cannot be changed and can be hashed; equal to any mapping with the same items."""

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, bool]) -> None:
        self._items = dict(items)

    def __getitem__(self, name: str) -> bool:
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return repr(self._items)


def check_bool(name: str, value: object) -> bool:
    """Return `value` if it is a bool, else raise `PolicyError`."""
    if not isinstance(value, bool):
        raise PolicyError(f"{name} must be True or False; got {value!r} of type {type(value).__name__}.")
    return value


def _check_graph(value: object) -> GraphPolicy:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value == "auto":
        return "auto"
    if isinstance(value, Mapping):
        return _check_kinds("graph", value)
    raise PolicyError(
        f"graph must be True, False, 'auto' or a dict of kind -> bool such as {{'loss': True}}; got {value!r}."
    )


def _check_jit(value: object) -> JitPolicy:
    if isinstance(value, bool):
        return value
    if isinstance(value, Mapping):
        return _check_kinds("jit", value)
    raise PolicyError(f"jit must be True, False or a dict of kind -> bool such as {{'loss': True}}; got {value!r}.")


def _check_kinds(part: str, value: Mapping[Any, Any]) -> FrozenMapping:
    if isinstance(value, FrozenMapping):
        # Checked when it was made, and kinds are never taken away.
        return value
    # A copy is checked, since that is what is kept.
    items = dict(value)
    for kind, flag in items.items():
        KINDS.check_pattern(kind, f"{part}={items!r}")
        if not isinstance(flag, bool):
            raise PolicyError(f"{part}[{kind!r}] must be True or False; got {flag!r}.")
    return FrozenMapping(items)


def _check_chunksize(value: object) -> Chunksize:
    if value is None:
        return None
    if isinstance(value, str) and value == "auto":
        return "auto"
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    raise PolicyError(
        f"chunksize must be a positive number of rows, 'auto', or None for everything at once; got {value!r}."
    )


def _check_retrace(value: object) -> RetracePolicy:
    if isinstance(value, str) and value in RETRACE_POLICIES:
        return value  # type: ignore[return-value]
    raise PolicyError(f"retrace must be one of {', '.join(map(repr, RETRACE_POLICIES))}; got {value!r}.")


_CHECKS: Final[dict[str, Callable[[object], Any]]] = {
    "graph": _check_graph,
    "autograd": lambda value: check_bool("autograd", value),
    "jit": _check_jit,
    "check_numerics": lambda value: check_bool("check_numerics", value),
    "chunksize": _check_chunksize,
    "retrace": _check_retrace,
}


def checked_parts(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Check parts of a policy and freeze the mappings among them.

    Args:
        parts: values by the name of the part.

    Returns:
        The parts as a policy holds them.

    Raises:
        PolicyError: a value is invalid.
        TypeError: there is no such part.
    """
    checked = {}
    for name, value in parts.items():
        check = _CHECKS.get(name)
        if check is None:
            raise TypeError(f"A policy has no part {name!r}; its parts are {', '.join(_CHECKS)}.")
        checked[name] = check(value)
    return checked


@dataclass(frozen=True)
class Policy:
    """How zrun functions run. A value: it never changes, and a new one is made with `changed`.

    Attributes:
        graph: True: every function is traced. False: every function runs its Python body. `"auto"`: each kind as it
            was defined (losses and sampling build graphs, models do not). A mapping of kinds, or patterns such as
            `"model.*"`, to bool; the most specific name counts, and what none names follows `"auto"`.
        autograd: True: derivatives are automatic. False: numerical.
        jit: whether graphs are compiled with XLA: a bool, or a mapping of kinds to bool (what it does not name: no).
        check_numerics: whether results that are NaN or infinite raise.
        chunksize: rows evaluated at once; `"auto"` leaves it to zrun; None means everything in one piece.
        retrace: what happens when one function is traced again and again: `"allow"`, `"warn"` or `"error"`.

    Raises:
        PolicyError: a part has a value that it cannot take.

    Example:
        >>> policy = Policy(graph={"model": True})
        >>> policy.builds_graph("model"), policy.builds_graph("loss")
        (True, True)
        >>> policy.changed(graph=False).builds_graph("loss")
        False
    """

    graph: GraphPolicy = "auto"
    autograd: bool = True
    jit: JitPolicy = False
    check_numerics: bool = False
    chunksize: Chunksize = None
    retrace: RetracePolicy = "warn"

    def __post_init__(self) -> None:
        """Check every part and freeze the mappings."""
        vars(self).update(checked_parts(vars(self)))

    def changed(self, **changes: Any) -> Policy:
        """Return a policy with some parts replaced.

        Args:
            **changes: parts of the policy by name.

        Returns:
            The new policy; this one stays as it is.

        Raises:
            PolicyError: a value is invalid.
            TypeError: there is no such part.
        """
        return self.with_checked(checked_parts(changes))

    def with_checked(self, parts: Mapping[str, Any]) -> Self:
        """Return a policy with some parts replaced, without checking them again.

        Args:
            parts: what `checked_parts` returned.
        """
        made = object.__new__(type(self))
        # Twice, because it is faster than passing the parts on by name.
        values = vars(made)
        values.update(vars(self))
        values.update(parts)
        return made

    def builds_graph(self, kind: str) -> bool:
        """Whether a function of this kind builds a graph.

        Args:
            kind: the name of a kind.

        Returns:
            True if its calls are traced and run as a graph, False if its Python body runs.

        Raises:
            UnknownKindError: nobody has defined this kind.
        """
        KINDS.check(kind, "builds_graph")
        if isinstance(self.graph, bool):
            return self.graph
        if isinstance(self.graph, Mapping) and (named := find_kind(self.graph, kind)) is not None:
            return named
        return KINDS.auto(kind)

    def compiles(self, kind: str) -> bool:
        """Whether graphs of this kind are compiled with XLA.

        Args:
            kind: the name of a kind.

        Returns:
            What the part `jit` says of it.

        Raises:
            UnknownKindError: nobody has defined this kind.
        """
        KINDS.check(kind, "compiles")
        if isinstance(self.jit, bool):
            return self.jit
        return bool(find_kind(self.jit, kind))

    @property
    def mode(self) -> Mapping[str, Any]:
        """The parts `graph` and `autograd` as a read-only mapping."""
        return MappingProxyType({"autograd": self.autograd, "graph": self.graph})


DEFAULT_MODE: Final[Mapping[str, Any]] = Policy().mode
"""The policy parts a process starts with, as `RunManager.mode` shows them (read-only)."""
