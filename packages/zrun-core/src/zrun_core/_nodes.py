"""Reading keys: node types, which put an object together from its key and describe the key in words.

A key is a tree of tuples. The first item of each is a node, the rest is what that node alone understands.
"""

# Nodes read keys of every kind; each uses of its arguments what it needs.
# ruff: noqa: ARG002

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ._words import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence

    from ._flattening import Flattening

Key = tuple[Any, ...]


class KeyRow(NamedTuple):
    """One line of a key, as `explain` shows it.

    Attributes:
        path: where: the name of the argument and the way from there, such as `data.weights`.
        text: what, in words.
        static: whether it is compared by value (or identity) rather than being an input.
    """

    path: str
    text: str
    static: bool


class Rebuilding:
    """What putting an object together needs.

    Args:
        leaves: to consume, in order.
        weak: the opaque objects that keys name by identity.

    Attributes:
        made: the parts already made that later ones may refer to, in the order in which they were found.
    """

    __slots__ = ("leaves", "made", "weak")

    def __init__(self, leaves: Sequence[Any], weak: Sequence[Any]) -> None:
        self.leaves: Iterator[Any] = iter(leaves)
        self.weak = {id(obj): obj for obj in weak}
        self.made: list[Any] = []

    def build(self, key: Key) -> Any:
        """Put together the object that `key` describes."""
        return key[0].rebuild(key, self)


class Node:
    """A node type: reads the keys that start with it."""

    def rebuild(self, key: Key, to: Rebuilding) -> Any:
        """Put the object of this key together."""
        raise NotImplementedError

    def rows(self, key: Key, path: str) -> Iterator[KeyRow]:
        """The lines that describe this key."""
        raise NotImplementedError

    def label(self, names: Any, parts: Sequence[Any], index: int) -> str:
        """What to append to the path of a container for one of its parts.

        Args:
            names: what the key says of the parts besides the parts themselves.
            parts: the parts.
            index: which of them.
        """
        raise NotImplementedError


class LeafNode(Node):
    """A dynamic leaf: (node, *spec).

    Args:
        name: what such a leaf is called.
        text: tells the spec in words; None: the name says all.
    """

    def __init__(self, name: str, text: Callable[..., str] | None = None) -> None:
        self._name = name
        self._text = text

    def rebuild(self, key: Key, to: Rebuilding) -> Any:
        """The next leaf."""
        return next(to.leaves)

    def rows(self, key: Key, path: str) -> Iterator[KeyRow]:
        """One line."""
        yield KeyRow(path, self._text(*key[1:]) if self._text else self._name, False)

    def __repr__(self) -> str:
        return self._name


class SharedLeafNode(LeafNode):
    """A leaf with an identity (a variable): met again in the same call, it is a reference to the first."""

    def rebuild(self, key: Key, to: Rebuilding) -> Any:
        """The next leaf, which others may refer to."""
        leaf = next(to.leaves)
        to.made.append(leaf)
        return leaf

    def visit(self, obj: Any, into: Flattening, *spec: Hashable) -> Key:
        """Take the leaf, or the reference to it.

        Args:
            obj: the leaf.
            into: where it goes.
            *spec: what its key says of it.
        """
        if (found := into.reference(obj)) is not None:
            return found
        key = into.leaf(obj, (self, *spec))
        into.number(obj)
        return key


class _StaticNode(Node):
    """(node, type, value): a part compared by value."""

    def rebuild(self, key: Key, to: Rebuilding) -> Any:
        return key[2]

    def rows(self, key: Key, path: str) -> Iterator[KeyRow]:
        yield KeyRow(path, shown(key[2]), True)


class _ValueNode(_StaticNode):
    """(node, type, value, text): the text tells apart what is equal but not the same, as the decimals 1.0 and 1.00."""


class _StaticFloatNode(Node):
    """(node, type, text): floats by their exact text, because 0.0 == -0.0 and nan != nan."""

    def rebuild(self, key: Key, to: Rebuilding) -> Any:
        return key[1].fromhex(key[2])

    def rows(self, key: Key, path: str) -> Iterator[KeyRow]:
        yield KeyRow(path, repr(float.fromhex(key[2])), True)


class _StaticComplexNode(Node):
    """(node, type, text of the real part, text of the imaginary part)."""

    def rebuild(self, key: Key, to: Rebuilding) -> Any:
        return key[1](float.fromhex(key[2]), float.fromhex(key[3]))

    def rows(self, key: Key, path: str) -> Iterator[KeyRow]:
        yield KeyRow(path, repr(complex(float.fromhex(key[2]), float.fromhex(key[3]))), True)


class _EnumNode(Node):
    """(node, type, name): a member of an enum; combinations of flags without a name by their value."""

    def rebuild(self, key: Key, to: Rebuilding) -> Any:
        members = key[1].__members__
        return members[key[2]] if key[2] in members else key[1](key[2])

    def rows(self, key: Key, path: str) -> Iterator[KeyRow]:
        yield KeyRow(path, f"{key[1].__qualname__}.{key[2]}", True)


class _OpaqueNode(Node):
    """(node, type, id): an object nobody can take apart, by identity."""

    def rebuild(self, key: Key, to: Rebuilding) -> Any:
        return to.weak[key[2]]

    def rows(self, key: Key, path: str) -> Iterator[KeyRow]:
        yield KeyRow(path, f"the object {key[1].__qualname__} at {key[2]:#x}", True)


class _ReferenceNode(Node):
    """(node, index): an object with an identity that was met before in the same call."""

    def rebuild(self, key: Key, to: Rebuilding) -> Any:
        return to.made[key[1]]

    def rows(self, key: Key, path: str) -> Iterator[KeyRow]:
        yield KeyRow(path, f"the same object as part {key[1]}", True)


FLOAT = LeafNode("float")
COMPLEX = LeafNode("complex")
STATIC = _StaticNode()
VALUE = _ValueNode()
STATIC_FLOAT = _StaticFloatNode()
STATIC_COMPLEX = _StaticComplexNode()
ENUM = _EnumNode()
OPAQUE = _OpaqueNode()
REFERENCE = _ReferenceNode()
