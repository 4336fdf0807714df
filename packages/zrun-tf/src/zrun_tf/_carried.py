"""What the evaluations of a loss carry from call to call, besides the vector that a minimiser changes."""

from __future__ import annotations

from operator import is_
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tensorflow as tf

from zrun_core._function import Function
from zrun_core._structure import Flattening, Node, Refusal, refused

from ._graph import to_input
from ._leaves import RowData
from ._unchanged import snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from zrun_core._structure import Key

    from ._parameters import Bound
    from ._unchanged import Snapshot


class Carried:
    """The loss, its data and its parameters, taken apart: what an evaluation depends on besides the vector.

    Args:
        loss: the loss.
        data: its further arguments.
        params: its parameters.

    Raises:
        StructureError: one of them cannot be taken apart.

    Attributes:
        arguments: these three.
        parts: the key of each.
        leaves: their dynamic parts.
        weak: their opaque objects.
        inputs: what a graph takes for them, made once; None where they have to be looked at anew at each call.
        memo: where the entries for them were found.
    """

    __slots__ = ("_own", "_snapshot", "_state", "arguments", "inputs", "leaves", "memo", "parts", "weak")

    def __init__(self, loss: Callable[..., Any], data: Mapping[str, Any], params: Bound) -> None:
        self.arguments = (loss, data, params)
        self.parts, into = self._taken_apart()
        self.leaves, self.weak = into.leaves, into.weak
        self._own = [leaf for leaf in into.leaves if not hasattr(leaf, "zrun_original")]
        self._snapshot = None if into.extended else self._look(loss, params, [obj for _, obj, _ in into.seen.values()])
        if self._snapshot is not None:
            # Another thread may have changed something after it was taken apart and before the snapshot.
            parts, again = self._taken_apart()
            if parts != self.parts or not all(map(is_, again.leaves, self.leaves)):
                self._snapshot = None
        self.inputs = [_input(leaf) for leaf in self.leaves] if self._snapshot is not None else None
        changing = self._snapshot is None or any(isinstance(leaf, tf.Variable) for leaf in self._own)
        self._state = None if changing else self._read()
        self.memo: dict[Any, Any] = {}

    def _taken_apart(self) -> tuple[tuple[Key, ...], Flattening]:
        """The keys of the arguments, and what was met on the way."""
        into = Flattening()
        try:
            return tuple(into.parts(ARGUMENTS, None, self.arguments)), into
        except Refusal as refusal:
            raise refused(refusal, "") from None

    def _look(self, loss: Callable[..., Any], params: Bound, seen: list[Any]) -> Snapshot | None:
        """A snapshot of what may change; None where that cannot be had."""
        # A plain function is known by its identity, and data are copied when they are given.
        function = getattr(loss, "__func__", loss) if isinstance(loss, MethodType) else loss
        body = function.python_function if isinstance(function, Function) else function
        others = [
            obj
            for obj in self.weak
            if obj is not loss and obj is not function and all(obj is not v for v in params.variables)
        ]
        if (
            others
            or not isinstance(body, FunctionType)
            or not all(isinstance(leaf, (tf.Tensor, tf.Variable, RowData, float, complex)) for leaf in self._own)
        ):
            return None
        return snapshot(seen)

    def is_current(self) -> bool:
        """Whether another look at the same three would find the same; False where that cannot be told."""
        return self._snapshot is not None and self._snapshot.is_current()

    def state(self) -> tuple[Any, ...]:
        """Something that is equal as long as nothing that is carried has another value, parameters apart."""
        return self._read() if self._state is None else self._state

    def _read(self) -> tuple[Any, ...]:
        return (self.parts, *map(state_of, self._own))

    def with_last(self, leaf: Any) -> Taken:
        """What a call has taken apart whose last argument is a leaf."""
        return Taken([*self.leaves, leaf], self.weak)


class Taken(NamedTuple):
    """What was collected on taking the arguments of a call apart."""

    leaves: list[Any]
    weak: list[Any]


class _ArgumentsNode(Node):
    """Names the arguments of a loss where one is refused."""

    def label(self, names: Any, parts: Sequence[Any], index: int) -> str:  # noqa: ARG002 - the signature of nodes
        return (".loss", ".data", ".params")[index]


ARGUMENTS = _ArgumentsNode()


def _input(leaf: Any) -> Any:
    return leaf.handle if isinstance(leaf, tf.Variable) else to_input(leaf)


MOST_COMPARED = 10_000


def state_of(leaf: Any) -> Any:
    """Something that is equal as long as a value is: its bytes, or the object itself where that cannot change."""
    if isinstance(leaf, (tf.Variable, np.ndarray, np.generic)):
        size = leaf.shape.num_elements() if isinstance(leaf, tf.Variable) else leaf.size
        # A large one is not compared: an object equal to nothing makes every look-up miss.
        if size is not None and size > MOST_COMPARED:
            return object()
        array = np.asarray(leaf)
        # The bytes of strings are where they lie. A variable of unknown shape says it with its value.
        return (array.shape, array.tolist() if array.dtype == object else array.tobytes())
    # By identity: a tensor cannot change, and comparing two would make a third. Floats are told apart by their text.
    return leaf.hex() if isinstance(leaf, float) else _Same(leaf)


class _Same:
    """Equal to another of the same object, which it keeps alive."""

    __slots__ = ("_obj",)

    def __init__(self, obj: Any) -> None:
        self._obj = obj

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self._obj is other._obj

    __hash__ = None  # type: ignore[assignment]
