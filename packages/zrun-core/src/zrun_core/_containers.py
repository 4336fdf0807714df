"""How the containers of the standard library, and what holds arguments, are taken apart."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from functools import partial
from types import MappingProxyType, MethodType, SimpleNamespace
from typing import TYPE_CHECKING, Any

from ._container_nodes import (
    DEFAULT,
    DEQUE,
    DICT,
    DICT_PAIRS,
    INDICES,
    LIST,
    METHOD,
    NAMED_TUPLE,
    NAMESPACE,
    ORDERED,
    ORDERED_PAIRS,
    PARTIAL,
    PROXY,
    TUPLE,
)
from ._flattening import Flattening, add_visitor
from ._sets import has_identity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._flattening import Visitor
    from ._nodes import Key


# A subclass may override the methods by which a container is read. It is put together again by those of the base, so it
# is read by them too.


def _visit_tuple(obj: tuple[Any, ...], into: Flattening) -> Key:
    parts = obj if type(obj) is tuple else tuple(tuple.__iter__(obj))
    return (TUPLE, type(obj), None, *into.parts(TUPLE, None, parts))


def _visit_named_tuple(obj: Any, into: Flattening) -> Key:
    return (NAMED_TUPLE, type(obj), obj._fields, *into.parts(NAMED_TUPLE, obj._fields, tuple(tuple.__iter__(obj))))


def _visit_list(obj: list[Any], into: Flattening) -> Key:
    return into.mutable(obj, LIST, None, obj if type(obj) is list else list(list.__iter__(obj)))


def _visit_deque(obj: deque[Any], into: Flattening) -> Key:
    return into.mutable(obj, DEQUE, obj.maxlen, list(deque.__iter__(obj)))


_only_strings = frozenset({str}).issuperset


def _visit_dict(obj: dict[Any, Any], into: Flattening) -> Key:
    if type(obj) is dict and _only_strings(map(type, obj)):
        return into.mutable(obj, DICT, tuple(obj), list(obj.values()))
    names = tuple(dict.keys(obj))
    if _only_strings(map(type, names)):
        return into.mutable(obj, DICT, names, list(dict.values(obj)))
    return into.mutable(obj, DICT_PAIRS, None, _pairs(dict.items(obj)))


def _visit_ordered(obj: OrderedDict[Any, Any], into: Flattening) -> Key:
    names = tuple(OrderedDict.keys(obj))
    if _only_strings(map(type, names)):
        return into.mutable(obj, ORDERED, names, list(OrderedDict.values(obj)))
    return into.mutable(obj, ORDERED_PAIRS, None, _pairs(OrderedDict.items(obj)))


def _pairs(items: Iterable[tuple[Any, Any]]) -> list[Any]:
    parts: list[Any] = []
    for name, value in items:
        # Keys are compared by value and type, since 1, True and 1.0 are equal; those with an identity by what they are.
        parts += [name if has_identity(name) else Static(name), value]
    return parts


def _visit_default(obj: defaultdict[Any, Any], into: Flattening) -> Key:
    return into.mutable(obj, DEFAULT, (".default_factory", ""), [obj.default_factory, dict(dict.items(obj))])


def _visit_proxy(obj: MappingProxyType[Any, Any], into: Flattening) -> Key:
    return into.mutable(obj, PROXY, ("",), [dict(obj)])


def _visit_namespace(obj: SimpleNamespace, into: Flattening) -> Key:
    items = vars(obj)
    names = tuple(sorted(items))
    return into.mutable(obj, NAMESPACE, names, [items[name] for name in names])


def _visit_method(obj: MethodType, into: Flattening) -> Key:
    names = ("function", "self")
    return (METHOD, type(obj), names, *into.parts(METHOD, names, (obj.__func__, obj.__self__)))


def _visit_partial(obj: partial[Any], into: Flattening) -> Key:
    names = ("func", "args", "keywords")
    return (PARTIAL, type(obj), names, *into.parts(PARTIAL, names, (obj.func, obj.args, obj.keywords)))


def _visit_indices(obj: range | slice, into: Flattening) -> Key:
    names = ("start", "stop", "step")
    return (INDICES, type(obj), names, *into.parts(INDICES, names, (obj.start, obj.stop, obj.step)))


class Static:
    """A part that a handler wants compared by value.

    Args:
        value: numbers, strings, enums, and containers of them.

    Example:
        >>> from zrun_core import flatten
        >>> flatten([1.5, Static(2.5)]).leaves
        [1.5]
    """

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def _visit_marked(obj: Static, into: Flattening) -> Key:
    before, into.static = into.static, True
    try:
        return into.visit(obj.value)
    finally:
        into.static = before


def tuple_visitor(cls: type) -> Visitor:
    """The visitor of a class derived from tuple: its parts have names, or numbers.

    Args:
        cls: the class.
    """
    return _visit_named_tuple if hasattr(cls, "_make") and hasattr(cls, "_fields") else _visit_tuple


CONTAINERS = (tuple, list, dict, deque, OrderedDict, defaultdict, set, frozenset)
"""Those of which a subclass may have attributes besides its items."""

_VISITORS: dict[type, Visitor] = {
    tuple: _visit_tuple,
    list: _visit_list,
    dict: _visit_dict,
    deque: _visit_deque,
    OrderedDict: _visit_ordered,
    defaultdict: _visit_default,
    MappingProxyType: _visit_proxy,
    SimpleNamespace: _visit_namespace,
    MethodType: _visit_method,
    partial: _visit_partial,
    range: _visit_indices,
    slice: _visit_indices,
    Static: _visit_marked,
}


def register() -> None:
    """Make the visitors of containers known."""
    for cls, visitor in _VISITORS.items():
        add_visitor(cls, visitor)
