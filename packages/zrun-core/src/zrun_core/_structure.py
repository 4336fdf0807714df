"""Taking objects apart: into a static key, dynamic leaves, and back.

The key of an object says everything about it that a graph is built for: types, names, static values, and for each
leaf what its handler says of it (for a tensor: dtype and shape). Two objects with equal keys run the same graph. A key
alone, with leaves, is enough to put an object of its structure together again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from . import _containers, _scalars, _sets
from ._flattening import Flattening, Refusal, Visitor, add_rule, add_visitor, visit_opaque, visit_static
from ._nodes import OPAQUE, REFERENCE, Key, KeyRow, LeafNode, Node, Rebuilding, SharedLeafNode
from ._struct import visitor_by_bases
from .errors import StructureError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "OPAQUE",
    "REFERENCE",
    "TOO_DEEP",
    "Flat",
    "Flattening",
    "Key",
    "KeyRow",
    "LeafNode",
    "Node",
    "Rebuilding",
    "Refusal",
    "SharedLeafNode",
    "Visitor",
    "add_rule",
    "add_visitor",
    "flatten",
    "rebuild",
    "refused",
    "rows",
    "visit_opaque",
    "visit_static",
]


TOO_DEEP = (
    "is nested too deeply to be taken apart. Flatten it, or register a handler for a type in it that keeps the rest "
    "together"
)


class Flat(NamedTuple):
    """An object taken apart.

    Attributes:
        key: hashable; equal for objects of the same structure.
        leaves: the dynamic parts, in a fixed order.
        weak: objects that nobody can take apart; the key holds their identity, so it is valid while they live.
        rebuild: takes leaves (as many, same order) and returns an object of this structure holding them.
    """

    key: Key
    leaves: list[Any]
    weak: list[Any]
    rebuild: Callable[[Sequence[Any]], Any]

    def rows(self, name: str = "") -> tuple[KeyRow, ...]:
        """The key in words, as `GraphCache` takes it to explain what differs between two keys.

        Args:
            name: the name of the whole object, before the paths.

        Returns:
            A row for each leaf and each static part; of very long containers, for the first parts and for the rest.

        Example:
            >>> [tuple(row) for row in flatten({"mu": 1.5, "order": 3}).rows("model")]
            [("model['mu']", 'float', False), ("model['order']", '3', True)]
        """
        return rows(self.key, name)


def flatten(obj: Any, *, static: bool = False, name: str = "") -> Flat:
    """Take an object apart.

    Args:
        obj: any object. Floats, complex numbers (and, with zrun_tf, tensors, arrays and variables) become leaves;
            `int`, `bool`, `str`, `bytes`, `None` and enums are part of the key; containers, dataclasses, `@struct`
            classes and registered types are taken apart; the rest is part of the key by weak identity, or by value
            where Python cannot refer to it weakly but hash it.
        static: take every part as part of the key.
        name: what to call the object in messages.

    Returns:
        Key, leaves, weakly held objects, and `rebuild`. `rebuild` holds the opaque objects strongly; keep only the key.

    Raises:
        StructureError: a container holds itself, an object can neither be taken apart nor referred to weakly, or a
            static part holds a value that is not compared by value.

    Example:
        >>> flat = flatten({"mu": 1.5, "order": 3})
        >>> flat.leaves
        [1.5]
        >>> flat.rebuild([2.5])
        {'mu': 2.5, 'order': 3}
        >>> flat.key == flatten({"mu": 7.0, "order": 3}).key
        True
    """
    into = Flattening(static)
    try:
        key = into.visit(obj)
    except Refusal as refusal:
        raise refused(refusal, name) from None
    except RecursionError as error:
        raise refused(Refusal(TOO_DEEP), name) from error
    return Flat(key, into.leaves, into.weak, lambda leaves: rebuild(key, leaves, into.weak))


def refused(refusal: Refusal, name: str) -> StructureError:
    """The error for an object that was refused, with its path."""
    path = (name + "".join(reversed(refusal.labels))).lstrip(".")
    return StructureError(f"{path or 'The object'} {refusal}.")


def rebuild(key: Key, leaves: Sequence[Any], weak: Sequence[Any] = ()) -> Any:
    """Put an object together from its key.

    Args:
        key: from `flatten`.
        leaves: as many as were found, in the same order.
        weak: the opaque objects that were found.

    Returns:
        A new object of that structure; opaque objects are the original ones.
    """
    return Rebuilding(leaves, weak).build(key)


def rows(key: Key, name: str = "") -> tuple[KeyRow, ...]:
    """The lines that describe a key, with the path of each part.

    Args:
        key: from `flatten`.
        name: the name of the whole object, before the paths.

    Returns:
        A row for each leaf and each static part.

    Example:
        >>> [tuple(row) for row in rows(flatten({"mu": 1.5, "order": 3}).key, "self")]
        [("self['mu']", 'float', False), ("self['order']", '3', True)]
    """
    return tuple(key[0].rows(key, name))


_scalars.register()
_containers.register()
_sets.register()
add_rule(visitor_by_bases)
