"""Types whose objects are inputs of a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from ._structure import LeafNode, add_visitor

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from ._structure import Flattening, Key

T = TypeVar("T")


def register_leaf(cls: type[T], spec: Callable[[T], Hashable]) -> None:
    """Have the objects of a type be inputs: leaves, of which only a description is part of the key.

    A backend does this for its arrays. Subclasses follow unless they have a handler of their own.

    Args:
        cls: the type.
        spec: says of an object what a graph is built for, for example dtype and shape. Two objects of equal
            descriptions run the same graph, so it must be hashable and must not depend on the object's values.

    Raises:
        TypeError: `cls` is not a type, or `spec` cannot be called.

    Scope: process.

    Example:
        >>> from array import array
        >>> from zrun_core import flatten
        >>> register_leaf(array, lambda a: (a.typecode, len(a)))
        >>> one, other = flatten(array("d", [1.0, 2.0])), flatten(array("d", [3.0, 4.0]))
        >>> one.leaves, one.key == other.key
        ([array('d', [1.0, 2.0])], True)
    """
    if not isinstance(cls, type):
        raise TypeError(f"register_leaf takes a type; got {cls!r} of type {type(cls).__name__}.")
    if not callable(spec):
        raise TypeError(f"register_leaf takes a function that describes an object; got spec={spec!r}.")
    node = LeafNode(cls.__qualname__, lambda described: f"{cls.__qualname__} {described}")

    def visit(obj: T, into: Flattening) -> Key:
        return into.leaf(obj, (node, spec(obj)))

    add_visitor(cls, visit)
