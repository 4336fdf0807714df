"""zfit's objects as arguments of the user's own functions of zrun.

Data and losses are taken apart, so that new ones of the same structure run the same graph: events and weights are its
inputs. Parameters are known by identity and limits: what a graph reads of one is its value within the limits, which a
bare variable does not have. What cannot be taken apart is known by identity.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import tensorflow as tf

from zrun_core._flattening import add_visitor, visit_opaque, visitor_of
from zrun_core._nodes import KeyRow, Node
from zrun_core.errors import DoNotTrace

from ._arguments import ByValue
from ._losses import LOSS, NotShared, Plan, data_apart, one_for_all
from ._state import NotUnderstood, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from zrun_core._flattening import Flattening
    from zrun_core._nodes import Key, Rebuilding


class _DataNode(Node):
    """(node, what makes them of tensors, by value)."""

    def rebuild(self, key: Key, to: Rebuilding) -> Any:
        return key[1].obj(to.leaves)

    def rows(self, key: Key, path: str) -> Iterator[KeyRow]:
        yield KeyRow(path, f"data of zfit as inputs, of state {hash(key[1]):#x}", True)


class _ParameterNode(Node):
    """(node, type, id, lower, upper)."""

    def rebuild(self, key: Key, to: Rebuilding) -> Any:
        return to.weak[key[2]]

    def rows(self, key: Key, path: str) -> Iterator[KeyRow]:
        yield KeyRow(path, f"the object {key[1].__qualname__} at {key[2]:#x}", True)
        yield KeyRow(f"{path}.lower", repr(key[3]), True)
        yield KeyRow(f"{path}.upper", repr(key[4]), True)


class _WholeLossNode(Node):
    """(node, key of a loss that is taken apart)."""

    def rebuild(self, key: Key, to: Rebuilding) -> Any:
        try:
            return LOSS.rebuild(key[1], to)
        except NotShared:
            raise DoNotTrace("a model was changed by another thread while its loss was traced") from None

    def rows(self, key: Key, path: str) -> Iterator[KeyRow]:
        return LOSS.rows(key[1], path)


_DATA: Final = _DataNode()
_PARAMETER: Final = _ParameterNode()
_LOSS: Final = _WholeLossNode()


class Handlers:
    """Visitors for zfit's classes.

    Args:
        data: the classes of data, unbinned and binned.
        parameter: the class of independent parameters.
        losses: the classes of losses that are taken apart.
        settings: gives what tracing reads of zfit's settings, as a hashable.

    Scope: process, until `leave`.
    """

    def __init__(
        self, data: tuple[type, ...], parameter: type, losses: tuple[type, ...], settings: Callable[[], Any]
    ) -> None:
        self._losses, self._settings = losses, settings
        self._before = {cls: visitor_of(cls) for cls in (*data, parameter, *losses)}
        for cls in data:
            add_visitor(cls, self._data)
        add_visitor(parameter, self._parameter)
        for cls in losses:
            add_visitor(cls, self._loss)

    def leave(self) -> None:
        """Have these classes again be what they were."""
        for cls, visitor in self._before.items():
            add_visitor(cls, visitor)

    def _data(self, data: Any, into: Flattening) -> Key:
        state = State()
        try:
            made, spec, tensors = data_apart(data, state)
        except (NotUnderstood, AttributeError, RecursionError):
            return visit_opaque(data, into)
        if into.static or state.weak:
            # By value, which data are not, or within limits that depend on variables.
            return visit_opaque(data, into)
        into.leaves += tensors
        return (_DATA, one_for_all(ByValue(made, (spec, self._settings()))))

    def _loss(self, loss: Any, into: Flattening) -> Key:
        if into.static or type(loss) not in self._losses:
            return visit_opaque(loss, into)
        try:
            plan = Plan(loss, self._settings())
        except (NotUnderstood, AttributeError, RecursionError):
            return visit_opaque(loss, into)
        return (_LOSS, plan.visit(into))

    def _parameter(self, parameter: Any, into: Flattening) -> Key:
        into.weak.append(parameter)
        limits = (getattr(parameter, name, None) for name in ("_lower", "_upper"))
        return (_PARAMETER, type(parameter), id(parameter), *map(_limit, limits))


def _limit(side: Any) -> Any:
    if side is None or not isinstance(side, tf.Tensor) or not hasattr(side, "numpy"):
        return side if side is None else id(side)
    return float(side)
