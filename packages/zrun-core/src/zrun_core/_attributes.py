"""Objects taken apart by their attributes: what a class says of them, and how an object is made from them."""

# Nodes read keys of every kind; each uses of its arguments what it needs.
# ruff: noqa: ARG002

from __future__ import annotations

from dataclasses import fields as dataclass_fields
from dataclasses import is_dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from ._container_nodes import ContainerNode
from ._containers import Static
from ._flattening import visitor_of
from ._nodes import REFERENCE, Key, KeyRow, Node, Rebuilding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ._flattening import Flattening, Visitor

STATIC_MARK = "zrun_static"
"""In the metadata of a field: its value is part of the structure."""

STATIC_NAMES = "__zrun_static__"
"""On a class that is no dataclass: the names of its static attributes."""

_NOTHING: Mapping[str, Any] = {}
_MISSING = object()


class Attributes:
    """What a class says of the attributes of its objects.

    Args:
        cls: the class; not kept.
    """

    __slots__ = ("_cached", "_declared", "_plain", "_static")

    def __init__(self, cls: type) -> None:
        declared = {f.name: f for f in (dataclass_fields(cls) if is_dataclass(cls) else ())}
        declared |= {a.name: a for a in getattr(cls, "__attrs_attrs__", ())}
        # A tracked field of a class with slots has its value in a slot of this name.
        slots = [name for name in _slots(cls) if name.removeprefix("_tracked_") not in declared]
        self._declared = tuple(dict.fromkeys((*declared, *slots)))
        marked = {name for name, f in declared.items() if (f.metadata or _NOTHING).get(STATIC_MARK)}
        self._static = marked.union(*(vars(base).get(STATIC_NAMES, ()) for base in cls.__mro__))
        found = {name: value for base in reversed(cls.__mro__) for name, value in vars(base).items()}
        # A cached value follows from the rest, and is computed again where it is needed.
        self._cached = {name for name, value in found.items() if isinstance(value, cached_property)}
        # Then an attribute is what the object's dict says, without asking the class.
        self._plain = not any(hasattr(found.get(name), "__set__") for name in self._declared)

    @property
    def are_the_dict(self) -> bool:
        """Whether the attributes of an object are what its dict holds, with nothing computed and no slots."""
        return self._plain

    def are_all_in(self, instance: Mapping[str, Any]) -> bool:
        """Whether the dict of an object has all that are declared, so that the class is asked for none.

        Args:
            instance: the dict.
        """
        return instance.keys() >= set(self._declared)

    def __bool__(self) -> bool:
        """Whether any are declared."""
        return bool(self._declared)

    def of(self, obj: Any) -> tuple[tuple[str, ...], list[Any]]:
        """The names and values of the attributes that an object has, static ones marked.

        Args:
            obj: an object of the class.

        Returns:
            Names and values: the declared attributes in order, then others by name, so that the order does not depend
            on what was set first.
        """
        instance: Mapping[str, Any] = getattr(obj, "__dict__", _NOTHING)
        if instance is obj:
            # A dict that is its own namespace; its items are visited as such.
            return ("__dict__",), [obj]
        names = self._declared
        if self._plain and tuple(instance) == names:
            # As it is after most constructors.
            values = list(instance.values())
            return names, self._marked(names, values) if self._static else values
        found = {name: getattr(obj, name, _MISSING) for name in names}
        found |= {name: instance[name] for name in sorted(instance.keys() - found.keys() - self._cached)}
        names = tuple(name for name, value in found.items() if value is not _MISSING)
        return names, self._marked(names, [found[name] for name in names])

    def _marked(self, names: tuple[str, ...], values: list[Any]) -> list[Any]:
        return [Static(value) if name in self._static else value for name, value in zip(names, values, strict=True)]


def _slots(cls: type) -> Iterator[str]:
    for base in reversed(cls.__mro__):
        slots = vars(base).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__"):
                private = name.startswith("__") and not name.endswith("__")
                yield f"_{base.__name__.lstrip('_')}{name}" if private else name


def make_object(cls: type, names: tuple[str, ...], parts: Sequence[Any]) -> Any:
    """An object of a class with the given attributes.

    Not through `__init__`: it may check or compute, and the parts are already what the object held.

    Args:
        cls: the class.
        names: of the attributes.
        parts: their values.

    Raises:
        TypeError: objects of this class cannot be made without their constructor.
    """
    try:
        made: Any = object.__new__(cls)
    except TypeError:
        raise TypeError(
            f"A {cls.__qualname__} cannot be put together from its attributes, because it derives from a type of C. "
            f"Register a handler with zrun_core.register({cls.__qualname__}), and give it a rebuild function."
        ) from None
    _set_attributes(made, names, parts)
    return made


def _set_attributes(made: Any, names: tuple[str, ...], parts: Sequence[Any]) -> None:
    # Also of frozen objects.
    for name, part in zip(names, parts, strict=True):
        object.__setattr__(made, name, part)


class _ExtendedNode(Node):
    """(node, names, container, *attributes): a container with attributes besides its items."""

    def rebuild(self, key: Key, to: Rebuilding) -> Any:
        made = to.build(key[2])
        _set_attributes(made, key[1], [to.build(child) for child in key[3:]])
        return made

    def rows(self, key: Key, path: str) -> Iterator[KeyRow]:
        yield from key[2][0].rows(key[2], path)
        for name, child in zip(key[1], key[3:], strict=True):
            yield from child[0].rows(child, f"{path}.{name}")

    def label(self, names: Any, parts: Sequence[Any], index: int) -> str:
        return f".{names[index]}"


OBJECT = ContainerNode("object", make_object, ".{}")
_EXTENDED = _ExtendedNode()


def attributes_visitor(cls: type) -> Visitor:
    """The visitor of a class whose objects are taken apart by their attributes.

    Args:
        cls: the class; not kept.
    """
    attributes = Attributes(cls)

    def visit(obj: Any, into: Flattening) -> Key:
        return into.mutable(obj, OBJECT, *attributes.of(obj))

    if attributes.are_the_dict and cls.__dictoffset__:
        _by_dict[visit] = attributes
    return visit


# Visitors that see what is in the dict of an object, and of what is not there the value that the class gives.
_by_dict: WeakKeyDictionary[Visitor, Attributes] = WeakKeyDictionary()


def is_its_dict(obj: Any) -> bool:
    """Whether an object is taken apart the same way as long as its `__dict__` holds the same objects.

    Args:
        obj: any object.
    """
    attributes = _by_dict.get(visitor_of(type(obj)))
    return attributes is not None and attributes.are_all_in(vars(obj))


def extended_visitor(cls: type, content: Visitor) -> Visitor:
    """The visitor of a class derived from a container, whose objects may have attributes besides their items.

    Args:
        cls: the class; not kept.
        content: the visitor of the container.
    """
    attributes = Attributes(cls)
    if not attributes and not cls.__dictoffset__:
        return content

    def visit(obj: Any, into: Flattening) -> Key:
        into.extended = True
        key = content(obj, into)
        names, values = attributes.of(obj)
        if not names or key[0] is REFERENCE:
            return key
        return (_EXTENDED, names, key, *into.parts(_EXTENDED, names, values))

    return visit
