"""Classes that say themselves how they are taken apart: `@struct`, `static()`, and handlers for types of others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from ._attributes import STATIC_MARK, STATIC_NAMES, attributes_visitor, extended_visitor, make_object
from ._compat import dataclass_transform
from ._container_nodes import ContainerNode
from ._containers import CONTAINERS, tuple_visitor
from ._flattening import Flattening, Visitor, add_visitor, given_visitor

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._nodes import Key

T = TypeVar("T")

# In the namespace of a class whose objects are taken apart by their attributes.
_MARKS = ("__dataclass_fields__", "__attrs_attrs__", STATIC_NAMES)


def static(*, default: Any = MISSING, default_factory: Any = MISSING, **options: Any) -> Any:
    """A field of a `@struct` class or dataclass that is part of the structure: its value is compared, not an input.

    Args:
        default: the field's default value.
        default_factory: makes the default value; for dataclasses.
        **options: what `dataclasses.field` takes besides.

    Returns:
        The field.

    Example:
        >>> from zrun_core import flatten
        >>> @struct
        ... class Background:
        ...     slope: float
        ...     edge: float = static(default=2.5)
        >>> flatten(Background(slope=-0.1)).leaves
        [-0.1]
    """
    given = {"default": default, "default_factory": default_factory}
    metadata = {**(options.pop("metadata", None) or {}), STATIC_MARK: True}
    return field(**{k: v for k, v in given.items() if v is not MISSING}, metadata=metadata, **options)


@overload
def struct(cls: type[T], /) -> type[T]: ...
@overload
def struct(cls: None = None, /, **options: Any) -> Callable[[type[T]], type[T]]: ...
@dataclass_transform(field_specifiers=(field, static))
def struct(cls: type[T] | None = None, /, **options: Any) -> Any:
    """Class decorator: objects are taken apart by their attributes, so equal structures share one graph.

    A class without an `__init__` of its own becomes a dataclass (compared by identity unless `eq=True` is given).
    Arrays, tensors, variables and floats among the attributes are inputs; what `static()` marks, and `int`, `bool`,
    `str`, enums and the like, is part of the structure. Subclasses follow. In a graph, a method sees a copy of its
    object: what it sets there is lost.

    Args:
        cls: the class.
        **options: what `dataclasses.dataclass` takes, for example `frozen=True`.

    Returns:
        The class.

    Raises:
        TypeError: `cls` is not a class, it is a dataclass already and options are given, or it has an `__init__` of
            its own and a `static()` attribute with a `default_factory`.

    Example:
        >>> from zrun_core import flatten
        >>> @struct
        ... class Gauss:
        ...     mu: float
        ...     sigma: float
        ...     order: int = 1
        >>> flatten(Gauss(0.5, 2.0)).leaves
        [0.5, 2.0]
    """
    return _decorate(cls, options) if cls is not None else lambda target: _decorate(target, options)


def _decorate(cls: type[T], options: dict[str, Any]) -> type[T]:
    if not isinstance(cls, type):
        raise TypeError(f"struct decorates a class; got {cls!r} of type {type(cls).__name__}.")
    if "__dataclass_fields__" in vars(cls):
        if options:
            raise TypeError(
                f"struct: {cls.__qualname__} is a dataclass already, and {', '.join(options)} would come too late. "
                f"Give the options to dataclass, or leave that out."
            )
    elif options or not _has_own_init(cls):
        cls = dataclass(**{"eq": False, **options})(cls)
    setattr(cls, STATIC_NAMES, _take_markers(cls))
    return cls


def _has_own_init(cls: type) -> bool:
    """Whether a constructor was written by hand, in the class or in a base; those of dataclasses can be made anew."""
    owner = next(base for base in cls.__mro__ if "__init__" in vars(base))
    return owner is not object and (owner is cls or "__dataclass_fields__" not in vars(owner))


def _take_markers(cls: type) -> frozenset[str]:
    """Replace what `static()` left in a class that is no dataclass by the defaults, and return the names."""
    if "__dataclass_fields__" in vars(cls):
        return frozenset()
    marked = {n: v for n, v in vars(cls).items() if isinstance(v, Field) and v.metadata.get(STATIC_MARK)}
    for name, marker in marked.items():
        if marker.default_factory is not MISSING:
            raise TypeError(
                f"struct: {cls.__qualname__}.{name} has a default_factory, which only a dataclass would call, but "
                f"{cls.__qualname__} has an __init__ of its own. Set the attribute there."
            )
        if marker.default is MISSING:
            delattr(cls, name)
        else:
            setattr(cls, name, marker.default)
    return frozenset(marked)


def visitor_by_bases(cls: type) -> Visitor | None:
    """By the nearest base that says something: a handler, a container, or being taken apart by attributes."""
    given = next(((base, found) for base in cls.__mro__[1:-1] if (found := given_visitor(base)) is not None), None)
    if given is not None and given[0] in CONTAINERS:
        return extended_visitor(cls, tuple_visitor(cls) if given[0] is tuple else given[1])
    for base in cls.__mro__[:-1]:
        if given is not None and base is given[0]:
            return None
        if any(mark in vars(base) for mark in _MARKS):
            return attributes_visitor(cls)
    return None


class Handler(Generic[T]):
    """How objects of a registered type are taken apart and put together; made by `register`."""

    def __init__(self, cls: type[T], take_apart: Callable[[T], Mapping[str, Any]]) -> None:
        self._take_apart = take_apart
        self._put_together: Callable[[dict[str, Any]], Any] | None = None
        self._node = ContainerNode("object", self._assemble, ".{}")
        self.__name__ = getattr(take_apart, "__name__", "handler")
        self.__doc__ = take_apart.__doc__
        add_visitor(cls, self._visit)

    def __call__(self, obj: T) -> Mapping[str, Any]:
        """The parts of an object, by name."""
        return self._take_apart(obj)

    def rebuild(self, put_together: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
        """Decorator: the function that makes an object from its parts.

        Args:
            put_together: takes the mapping of parts, with the leaves replaced, and returns the object.

        Returns:
            The function unchanged.
        """
        self._put_together = put_together
        return put_together

    def _visit(self, obj: T, into: Flattening) -> Key:
        if (found := into.reference(obj)) is not None:
            return found
        parts = self._take_apart(obj)
        if not isinstance(parts, Mapping):
            raise TypeError(
                f"The handler {self.__name__} of {type(obj).__qualname__} must return a mapping of names to parts; "
                f"got {parts!r:.100} of type {type(parts).__name__}."
            )
        return into.mutable(obj, self._node, tuple(parts), list(parts.values()))

    def _assemble(self, cls: type, names: Any, parts: list[Any]) -> Any:
        if self._put_together is None:
            return make_object(cls, names, parts)
        return self._put_together(dict(zip(names, parts, strict=True)))


def register(cls: type[T]) -> Callable[[Callable[[T], Mapping[str, Any]]], Handler[T]]:
    """Decorator: have objects of a type taken apart by a function; the type itself stays as it is.

    The function returns the parts by name. Floats, arrays, tensors and variables among them are inputs; the rest is
    static where it can be compared by value (`Static(part)` forces that). Subclasses follow unless they have a handler
    of their own or are dataclasses. By default an object is put together by setting the parts as attributes of a new
    object without calling its `__init__`; another way is given with the handler's `rebuild` decorator.

    Args:
        cls: the type.

    Returns:
        The decorator; it returns a `Handler`.

    Raises:
        TypeError: `cls` is not a type.

    Scope: process.

    Example:
        >>> from zrun_core import flatten
        >>> class Histogram:
        ...     def __init__(self, counts, name):
        ...         self.counts, self.name = counts, name
        >>> @register(Histogram)
        ... def histogram(h):
        ...     return {"counts": h.counts, "name": h.name}
        >>> @histogram.rebuild
        ... def _(parts):
        ...     return Histogram(**parts)
        >>> flatten(Histogram([1.0, 2.0], "mass")).leaves
        [1.0, 2.0]
    """
    if not isinstance(cls, type):
        raise TypeError(f"register takes a type; got {cls!r} of type {type(cls).__name__}.")
    return lambda take_apart: Handler(cls, take_apart)
