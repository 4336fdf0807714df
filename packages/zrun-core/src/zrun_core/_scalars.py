"""How scalars are taken: floats and complex numbers are inputs, everything else is compared by value."""

# Visitors take objects of every type; each uses of its arguments what it needs.
# ruff: noqa: ARG001

from __future__ import annotations

from enum import Enum
from types import GenericAlias, UnionType
from typing import TYPE_CHECKING, Any, Literal

from ._flattening import Refusal, add_rule, add_visitor, visit_opaque, visit_static
from ._nodes import COMPLEX, ENUM, FLOAT, STATIC_COMPLEX, STATIC_FLOAT

if TYPE_CHECKING:
    from ._flattening import Flattening, Visitor
    from ._nodes import Key

_FLOAT_KEY = (FLOAT,)
_COMPLEX_KEY = (COMPLEX,)
_BY_VALUE = (int, bool, str, bytes, type(None), type(Ellipsis), type(NotImplemented))
# `list[int]`, `int | str`, and the base of the aliases of `typing`, one of which what `Peak[int](1.0)` makes has on it.
_ALIASES = (GenericAlias, UnionType, type(Literal[1]).__mro__[1])


def _visit_float(obj: float, into: Flattening) -> Key:
    if into.static:
        return (STATIC_FLOAT, type(obj), float.hex(obj))
    into.leaves.append(obj)
    return _FLOAT_KEY


def _visit_complex(obj: complex, into: Flattening) -> Key:
    if into.static:
        return (STATIC_COMPLEX, type(obj), float.hex(obj.real), float.hex(obj.imag))
    into.leaves.append(obj)
    return _COMPLEX_KEY


def _visit_enum(obj: Enum, into: Flattening) -> Key:
    # By name, because members may be equal to members of other enums, or not hashable.
    return (ENUM, type(obj), obj._name_ if obj._name_ in type(obj).__members__ else obj._value_)


def _visit_alias(obj: Any, into: Flattening) -> Key:
    """By value, since `list[int]` is another object each time it is written."""
    try:
        hash(obj)
    except TypeError:
        return visit_opaque(obj, into)
    return visit_static(obj, into)


def _visit_derived(obj: Any, into: Flattening) -> Key:
    """A scalar of a class derived from int, str or bytes: by value, where its value is all it has."""
    if vars(obj) if hasattr(obj, "__dict__") else ():
        raise Refusal(
            f"is of type {type(obj).__name__}, a scalar with attributes of its own ({', '.join(vars(obj))}), which "
            f"could not be told apart by value. Register a handler with zrun_core.register({type(obj).__name__})"
        )
    return visit_static(obj, into)


def _rule(cls: type) -> Visitor | None:
    if issubclass(cls, Enum):
        return _visit_enum
    return _visit_derived if issubclass(cls, (int, str, bytes)) else None


def register() -> None:
    """Make the visitors of scalars known."""
    add_visitor(float, _visit_float)
    add_visitor(complex, _visit_complex)
    for cls in _BY_VALUE:
        add_visitor(cls, visit_static)
    for cls in _ALIASES:
        add_visitor(cls, _visit_alias)
    add_rule(_rule)
