"""Sets: static, since their elements have no order."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from ._flattening import Flattening, Refusal, add_visitor
from ._nodes import Key, KeyRow, Node, Rebuilding
from ._words import shortened

if TYPE_CHECKING:
    from collections.abc import Iterator


class _SetNode(Node):
    """(node, type, frozenset of (key, number)): by the keys of its elements, and how many have each."""

    def rebuild(self, key: Key, to: Rebuilding) -> Any:
        slot = len(to.made)
        to.made.append(None)
        made = key[1].__new__(key[1])
        set.update(made, _elements(key, to))
        to.made[slot] = made
        return made

    def rows(self, key: Key, path: str) -> Iterator[KeyRow]:
        texts = sorted(row.text for child, number in key[2] for row in child[0].rows(child, "") for _ in range(number))
        yield KeyRow(path, shortened(f"{key[1].__qualname__} {{{', '.join(texts)}}}", key), True)


class _FrozenSetNode(_SetNode):
    """Like `_SetNode`, for sets that cannot change."""

    def rebuild(self, key: Key, to: Rebuilding) -> Any:
        return frozenset.__new__(key[1], _elements(key, to))


def _elements(key: Key, to: Rebuilding) -> Iterator[Any]:
    # Each was taken apart by itself, so none refers to what was made elsewhere.
    weak = tuple(to.weak.values())
    return (Rebuilding((), weak).build(child) for child, number in key[2] for _ in range(number))


SET = _SetNode()
FROZEN_SET = _FrozenSetNode()


def has_identity(obj: Any) -> bool:
    """Whether an object is equal to itself only, so that a copy of it is another."""
    own: Any = type(obj).__hash__
    return own is object.__hash__


def _visit_set(obj: set[Any], into: Flattening) -> Key:
    if (found := into.reference(obj)) is not None:
        return found
    into.number(obj)
    return (SET, type(obj), _element_keys(obj, into))


def _visit_frozen_set(obj: frozenset[Any], into: Flattening) -> Key:
    return (FROZEN_SET, type(obj), _element_keys(obj, into))


def _element_keys(obj: set[Any] | frozenset[Any], into: Flattening) -> frozenset[tuple[Key, int]]:
    keys = []
    # Not by a method that a subclass overrides.
    for element in set.__iter__(obj) if isinstance(obj, set) else frozenset.__iter__(obj):
        # By itself: references to elsewhere would depend on the order of the elements, which is arbitrary.
        alone = Flattening(static=True)
        try:
            keys.append(alone.visit(element))
        except Refusal as refusal:
            refusal.labels.append(" element")
            raise
        if any(has_identity(part) for _, part, _ in alone.seen.values()):
            raise Refusal(
                f"is a set with an element of type {type(element).__name__}, which is taken apart but compared by "
                f"identity, so that nothing would be found in a copy of the set. Use a list or a tuple"
            )
        into.weak += alone.weak
    # Several nan in a set are alike, and still not equal.
    return frozenset(Counter(keys).items())


def register() -> None:
    """Make the visitors of sets known."""
    add_visitor(set, _visit_set)
    add_visitor(frozenset, _visit_frozen_set)
