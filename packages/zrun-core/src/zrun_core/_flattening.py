"""On the way through an object: what is collected, and which visitor takes which class apart."""

# Visitors take objects of every type; each uses of its arguments what it needs.
# ruff: noqa: ARG001

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any
from weakref import WeakKeyDictionary, ref

from ._fork import Guard
from ._nodes import OPAQUE, REFERENCE, STATIC, VALUE, Key, Node

Visitor = Callable[[Any, "Flattening"], Key]


class Refusal(Exception):  # noqa: N818 - never leaves this package
    """Why an object cannot be taken apart; each container on the way out adds where it was found."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.labels: list[str] = []


class Flattening:
    """What one call of `flatten` collects on its way.

    Args:
        static: whether parts are compared by value; visitors switch it for some of their parts.

    Attributes:
        leaves: the dynamic parts so far.
        weak: the opaque objects so far.
        seen: objects with an identity by id: their number, and the object itself, since a temporary one must not die
            and lend its id to the next; and whether it was taken by value.
        extended: whether containers were met that may have attributes besides their items, also immutable ones, which
            are not among those seen.
    """

    __slots__ = ("_count", "_open", "extended", "leaves", "seen", "static", "weak")

    def __init__(self, static: bool = False) -> None:
        self.leaves: list[Any] = []
        self.weak: list[Any] = []
        self.seen: dict[int, tuple[int, Any, bool]] = {}
        self.static = static
        self.extended = False
        self._count = 0
        # Containers of which the parts are being visited.
        self._open: set[int] = set()

    def visit(self, obj: Any) -> Key:
        """Take one object apart and return its key."""
        return (_STATIC_TYPES.get(type(obj)) or visitor_of(type(obj)))(obj, self)

    def leaf(self, obj: Any, key: Key) -> Key:
        """Record `obj` as a dynamic leaf with this key."""
        if self.static:
            raise Refusal(
                f"is static but holds a value that changes ({type(obj).__name__}). Static parts are compared by value: "
                f"use int, float, str, bool, enums or tuples of them, or make it an input"
            )
        self.leaves.append(obj)
        return key

    def parts(self, node: Node, names: Any, parts: Sequence[Any]) -> list[Key]:
        """Take the parts of a container apart.

        Args:
            node: knows the labels, which are needed only where a part is refused.
            names: what the key says of the parts besides the parts themselves.
            parts: the parts.
        """
        keys: list[Key] = []
        try:
            for part in parts:
                visitor = _STATIC_TYPES.get(type(part)) or visitor_of(type(part))
                keys.append(visitor(part, self))
        except Refusal as refusal:
            refusal.labels.append(node.label(names, parts, len(keys)))
            raise
        return keys

    def mutable(self, obj: Any, node: Node, names: Any, parts: Sequence[Any]) -> Key:
        """Take a container with an identity apart: one met before is a reference, one that holds itself is refused."""
        marker = id(obj)
        if marker in self.seen and (found := self.reference(obj)) is not None:
            return found
        self.number(obj)
        self._open.add(marker)
        key = (node, type(obj), names, *self.parts(node, names, parts))
        self._open.discard(marker)
        return key

    def reference(self, obj: Any) -> Key | None:
        """The key of an object that was met before; None for a new one."""
        found = self.seen.get(id(obj))
        if found is None:
            return None
        if id(obj) in self._open:
            raise Refusal(
                f"holds itself ({type(obj).__name__}), so it has no finite structure. Break the cycle, or register "
                f"a handler that leaves the back reference out"
            )
        if self.static and not found[2]:
            found = self.seen.get(~id(obj))
        return None if found is None else (REFERENCE, found[0])

    def number(self, obj: Any) -> None:
        """Give the next number to an object with an identity; its node must append it to `made` at the same place."""
        # What is an input first and compared by value later is two things, and has two places.
        place = ~id(obj) if id(obj) in self.seen else id(obj)
        self.seen[place] = (self._count, obj, self.static)
        self._count += 1


def visit_static(obj: Hashable, into: Flattening) -> Key:
    """Take `obj` as a part that is compared by value."""
    return (STATIC, type(obj), obj)


def visit_opaque(obj: Any, into: Flattening) -> Key:
    """Take `obj` by its identity, held weakly; by value where that cannot be, as for paths, dates and decimals."""
    try:
        ref(obj)
    except TypeError:
        if (text := _value_text(obj)) is not None:
            return (VALUE, type(obj), obj, text)
        raise Refusal(
            f"is of type {type(obj).__name__}, which zrun cannot take apart and Python cannot refer to weakly. "
            f"Register a handler with zrun_core.register({type(obj).__name__}), add '__weakref__' to its __slots__, or "
            f"make it a dataclass or a @struct class"
        ) from None
    into.weak.append(obj)
    return (OPAQUE, type(obj), id(obj))


def _value_text(obj: Any) -> str | None:
    """The text that tells apart objects of a class that defines what equal is; None where it does not, or fails."""
    cls: Any = type(obj)
    if cls.__hash__ in (None, object.__hash__) or cls.__repr__ is object.__repr__:
        return None
    try:
        hash(obj)
        return repr(obj)
    except Exception:  # noqa: BLE001 - whatever it is, the object cannot be part of a key
        return None


class _Found(ref[type]):
    """A class, weakly, with its visitor."""

    __slots__ = ("key", "visitor")

    key: int
    visitor: Visitor


# Types that live as long as the process can be looked up without weak references.
_STATIC_TYPES: dict[type, Visitor] = {}
_given: WeakKeyDictionary[type, Visitor] = WeakKeyDictionary()
_found: dict[int, _Found] = {}
_rules: list[Callable[[type], Visitor | None]] = []
_guard = Guard()

_HEAP_TYPE = 1 << 9


def add_visitor(cls: type, visitor: Visitor) -> None:
    """Have objects of `cls`, and of subclasses without a visitor of their own, taken apart by `visitor`.

    Args:
        cls: a class, held weakly.
        visitor: takes an object and a `Flattening` and returns the key.

    Scope: process.
    """
    with _guard.lock:
        _given[cls] = visitor
        if not cls.__flags__ & _HEAP_TYPE:
            _STATIC_TYPES[cls] = visitor
        _found.clear()


def add_rule(rule: Callable[[type], Visitor | None]) -> None:
    """Add a rule that finds the visitor of a class by looking at the class, asked before its bases are.

    Args:
        rule: takes a class and returns a visitor, or None where it does not apply. It must not keep the class alive.

    Scope: process.
    """
    with _guard.lock:
        _rules.append(rule)
        _found.clear()


def given_visitor(cls: type) -> Visitor | None:
    """The visitor that was added for this very class."""
    return _given.get(cls)


def visitor_of(cls: type) -> Visitor:
    """The visitor of a class: its own, by a rule, of the nearest base, or the one for opaque objects."""
    found = _found.get(id(cls))
    return found.visitor if found is not None and found() is cls else _find_visitor(cls)


def _find_visitor(cls: type) -> Visitor:
    with _guard.lock:
        candidates = (
            _given.get(cls),
            *(rule(cls) for rule in _rules),
            *(_given.get(base) for base in cls.__mro__[1:-1]),
        )
        made = _Found(cls, _forget)
        made.key = id(cls)
        made.visitor = next((each for each in candidates if each is not None), visit_opaque)
        _found[made.key] = made
        return made.visitor


def _forget(gone: _Found) -> None:
    # The id may be in use again already.
    if _found.get(gone.key) is gone:
        del _found[gone.key]
