"""How a call of one of zfit's functions is taken apart.

As `tf.function` does, and unlike zrun's own functions, it takes Python numbers by value, so that a body sees the number
and not a tensor; variables and objects are known by identity, held weakly. Spaces, of which zfit makes a new one
wherever it needs one, are known by value. A loss is taken apart where it is understood, see `_losses`.
"""

from __future__ import annotations

from enum import Enum
from types import MethodType
from typing import TYPE_CHECKING, Any, Final
from weakref import ref

import numpy as np
import tensorflow as tf

from zrun_core._flattening import add_visitor, visit_opaque
from zrun_core._nodes import KeyRow, Node

from ._state import NotUnderstood, State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zrun_core._flattening import Flattening
    from zrun_core._nodes import Key, Rebuilding

    from ._losses import Plan

_BY_VALUE: Final = (int, bool, str, bytes, type(None), tf.DType, tf.TensorShape, np.dtype, Enum)
_INPUTS: Final = (tf.Tensor, np.ndarray, np.generic, tf.RaggedTensor, tf.SparseTensor, tf.IndexedSlices)
_SEQUENCES: Final = frozenset({list, tuple, set, frozenset})


class Call:
    """The arguments of one call.

    Attributes:
        args: the positional arguments.
        kwargs: the keyword arguments.
        plan: how the loss, which is the first argument, is taken apart; None: there is none, or it is by identity.
    """

    __slots__ = ("args", "kwargs", "plan")

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any], plan: Plan | None = None) -> None:
        self.args, self.kwargs, self.plan = args, kwargs, plan


class ByValue:
    """An object that stands for all of the same state.

    Attributes:
        obj: the first of them.
    """

    __slots__ = ("__weakref__", "_hash", "obj", "state")

    def __init__(self, obj: Any, state: Any) -> None:
        self.obj, self.state, self._hash = obj, state, hash(state)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, ByValue) and self._hash == other._hash and self.state == other.state

    def __hash__(self) -> int:
        return self._hash


class _PartsNode(Node):
    """(node, type, *parts): a container."""

    def rebuild(self, key: Key, to: Rebuilding) -> Any:
        parts = [to.build(part) for part in key[2:]]
        if key[1] is dict:
            return dict(zip(parts[::2], parts[1::2], strict=True))
        return MethodType(*parts) if key[1] is MethodType else key[1](parts)

    def rows(self, key: Key, path: str) -> Iterator[KeyRow]:
        if len(key) == 2:
            yield KeyRow(path, f"empty {key[1].__name__}", True)
        for place, part in enumerate(key[2:]):
            yield from part[0].rows(part, f"{path}[{place}]")


class _ValueNode(Node):
    """(node, ByValue)."""

    def rebuild(self, key: Key, to: Rebuilding) -> Any:  # noqa: ARG002 - the signature of nodes
        return key[1].obj

    def rows(self, key: Key, path: str) -> Iterator[KeyRow]:
        yield KeyRow(path, f"the {type(key[1].obj).__name__} of value {key[1].state!r:.80}", True)


class _AttributeNode(Node):
    """(node, name): what the loss of the call holds under this name."""

    def rebuild(self, key: Key, to: Rebuilding) -> Any:
        return getattr(to.made[0], key[1])

    def rows(self, key: Key, path: str) -> Iterator[KeyRow]:
        yield KeyRow(path, f"{key[1]} of the loss", True)


class _CallNode(Node):
    """(node, names of keyword arguments, *parts)."""

    def rebuild(self, key: Key, to: Rebuilding) -> Call:
        names = key[1]
        parts = [to.build(part) for part in key[2:]]
        split = len(parts) - len(names)
        return Call(tuple(parts[:split]), dict(zip(names, parts[split:], strict=True)))

    def rows(self, key: Key, path: str) -> Iterator[KeyRow]:
        split = len(key) - 2 - len(key[1])
        for place, part in enumerate(key[2:]):
            name = f"args[{place}]" if place < split else key[1][place - split]
            yield from part[0].rows(part, f"{path}.{name}")


PARTS: Final = _PartsNode()
VALUE: Final = _ValueNode()
ATTRIBUTE: Final = _AttributeNode()
CALL: Final = _CallNode()


class Visits:
    """Takes arguments apart; made when zfit is there.

    Args:
        spaces: zfit's classes of spaces.
        ordered_set: the class of ordered sets that zfit keeps parameters in.
    """

    def __init__(self, spaces: tuple[type, ...], ordered_set: type) -> None:
        self._spaces = spaces
        self._sequences = {*_SEQUENCES, ordered_set}
        self._known: dict[int, tuple[ref[Any], ByValue]] = {}
        add_visitor(Call, self.call)

    def call(self, call: Call, into: Flattening) -> Key:
        """The key of a call."""
        names = tuple(sorted(call.kwargs))
        given = [*call.args, *(call.kwargs[name] for name in names)]
        if call.plan is None:
            return (CALL, names, *(self.argument(part, into) for part in given))
        keys, held = [call.plan.visit(into)], call.plan.held
        for part in given[1:]:
            name = held.get(id(part))
            keys.append(self.argument(part, into) if name is None else (ATTRIBUTE, name))
        return (CALL, names, *keys)

    def argument(self, obj: Any, into: Flattening) -> Key:
        """The key of one argument, or of a part of one."""
        cls = type(obj)
        if cls in (float, complex):
            static, into.static = into.static, True
            try:
                return into.visit(obj)
            finally:
                into.static = static
        if cls in self._sequences:
            return (PARTS, cls, *(self.argument(part, into) for part in obj))
        if cls is dict:
            return (PARTS, dict, *(self.argument(part, into) for pair in obj.items() for part in pair))
        if isinstance(obj, tf.Variable):
            return visit_opaque(obj, into)
        if isinstance(obj, (*_INPUTS, *_BY_VALUE)):
            return into.visit(obj)
        if isinstance(obj, self._spaces):
            return self._space(obj, into)
        if cls is MethodType:
            return (PARTS, MethodType, visit_opaque(obj.__func__, into), self.argument(obj.__self__, into))
        return visit_opaque(obj, into)

    def _space(self, space: Any, into: Flattening) -> Key:
        known = self._known.get(id(space))
        if known is not None and known[0]() is space:
            return (VALUE, known[1])
        state = State()
        try:
            value = ByValue(space, state.of(space))
        except NotUnderstood:
            return visit_opaque(space, into)
        if state.weak:
            # Limits that depend on variables.
            return visit_opaque(space, into)
        place, known_spaces = id(space), self._known

        def forget(_: Any) -> None:
            known_spaces.pop(place, None)

        known_spaces[place] = (ref(space, forget), value)
        return (VALUE, value)
