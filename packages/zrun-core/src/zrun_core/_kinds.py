"""The kinds of function a process knows, which a policy speaks of by name or by pattern."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from ._fork import Guard
from .errors import PolicyError, UnknownKindError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Kinds:
    """The kinds of function a process knows and whether each builds a graph under `"auto"`.

    A dotted name such as `"model.pdf"` is known as soon as its first part is; unless it was defined itself it follows
    its nearest defined parent.

    Attributes:
        generation: grows whenever a kind is added, so that what was derived from the kinds can be found outdated.

    Scope: process (thread-safe).

    Example:
        >>> kinds = Kinds()
        >>> kinds.auto("model.pdf")
        False
        >>> kinds.define("model.pdf", graph=True)
        >>> kinds.auto("model.pdf"), kinds.auto("model.norm")
        (True, False)
    """

    def __init__(self) -> None:
        self.generation = 0
        self._graph = {"loss": True, "sample": True, "tensor": True, "model": False}
        self._guard = Guard()

    def define(self, name: str, graph: bool = True) -> None:
        """Add a kind. Defining it again with the same meaning is accepted.

        Args:
            name: an identifier, or several joined by dots.
            graph: whether it builds a graph under `"auto"`.

        Raises:
            PolicyError: the name or the meaning is not valid, or it is defined with another meaning.
        """
        if not _is_name(name):
            raise PolicyError(
                f"define_kind: name must be an identifier or several joined by dots, such as 'model.pdf'; got {name!r}."
            )
        if not isinstance(graph, bool):
            raise PolicyError(f"define_kind: graph must be True or False; got {graph!r} for kind {name!r}.")
        with self._guard.lock:
            known = self._graph.get(name)
            if known is not None and known is not graph:
                raise PolicyError(
                    f"define_kind: kind {name!r} is already defined with graph={known}; got graph={graph}. "
                    f"Choose another name, or steer it with run.set_mode(graph={{{name!r}: {graph}}})."
                )
            self._graph[name] = graph
            self.generation += 1

    def names(self) -> tuple[str, ...]:
        """All kinds that were defined, sorted."""
        return tuple(sorted(self._graph))

    def auto(self, kind: str) -> bool:
        """Whether `kind` builds a graph under `"auto"`.

        Args:
            kind: a kind.

        Raises:
            UnknownKindError: nobody has defined it.
        """
        known = next((self._graph[name] for name in _with_parents(kind) if name in self._graph), None)
        if known is None:
            raise self._unknown(kind, "auto")
        return known

    def check(self, kind: object, where: str) -> str:
        """Return `kind` if it is known.

        Args:
            kind: what was given.
            where: what it was given for, for the message.

        Raises:
            PolicyError: it is no name.
            UnknownKindError: nobody has defined it; the message has the nearest known name.
        """
        if not isinstance(kind, str):
            raise PolicyError(f"{where}: a kind of function is named by a string; got {kind!r}.")
        if kind not in self:
            raise self._unknown(kind, where)
        return kind

    def check_pattern(self, pattern: object, where: str) -> None:
        """Accept a kind, or a pattern with `*` that fits a known kind or what lies below one.

        Args:
            pattern: what was given.
            where: what it was given for, for the message.

        Raises:
            PolicyError: it is no name.
            UnknownKindError: it fits nothing that is known.
        """
        if not isinstance(pattern, str) or "*" not in pattern:
            self.check(pattern, where)
        elif _root(pattern) not in self and not any(fnmatchcase(name, pattern) for name in self.names()):
            raise self._unknown(pattern, where)

    def __contains__(self, kind: str) -> bool:
        """Whether `kind`, or a parent of its dotted name, was defined."""
        return _is_name(kind) and any(name in self._graph for name in _with_parents(kind))

    def _unknown(self, kind: str, where: str) -> UnknownKindError:
        """The error for a kind that nobody defined."""
        from difflib import get_close_matches

        root = _root(kind)
        near = get_close_matches(root, self.names(), n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        remedy = f" Add one with run.define_kind({root!r}, graph=True)." if _is_name(root) else ""
        return UnknownKindError(
            f"{where}: unknown kind of function {kind!r}.{hint} Known kinds: {', '.join(self.names())}.{remedy}"
        )


KINDS: Final = Kinds()


def find_kind(mapping: Mapping[str, bool], kind: str) -> bool | None:
    """What a mapping of kinds and patterns says of a kind.

    Args:
        mapping: kinds, or patterns such as `"model.*"`, to bool.
        kind: a kind.

    Returns:
        What its own name says; else what the most specific of the patterns and parents' names says that fit it, the
        one with the most characters besides `*`; None where none fits. The order of the mapping does not matter.

    Example:
        >>> said = {"*": True, "model": False, "model.p*": True}
        >>> find_kind(said, "loss"), find_kind(said, "model.norm"), find_kind(said, "model.pdf")
        (True, False, True)
    """
    if kind in mapping:
        return mapping[kind]
    fitting = [name for name in mapping if _fits(name, kind)]
    return mapping[max(fitting, key=_specificity)] if fitting else None


def _fits(name: str, kind: str) -> bool:
    return fnmatchcase(kind, name) if "*" in name else kind.startswith(f"{name}.")


def _specificity(name: str) -> tuple[int, bool, str]:
    return len(name.replace("*", "")), "*" not in name, name


def _is_name(kind: object) -> bool:
    return isinstance(kind, str) and all(part.isidentifier() for part in kind.split("."))


def _root(pattern: str) -> str:
    """What comes before the first `*`, without the dot between them."""
    return pattern.partition("*")[0].removesuffix(".")


def _with_parents(kind: str) -> Iterator[str]:
    while kind:
        yield kind
        kind = kind.rpartition(".")[0]
