"""What the evaluations of a loss carry from call to call, besides the vector that a minimiser changes."""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tensorflow as tf

from zrun_core._function import Function
from zrun_core._structure import Flattening, Node, Refusal, refused

from ._graph import to_input

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from zrun_core._function import Taken

    from ._parameters import Bound


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
        fixed: whether another look at the same three would find the same.
        inputs: what a graph takes for them, made once; None where they are not fixed.
        memo: where the entries for them were found.
    """

    __slots__ = ("_own", "arguments", "fixed", "inputs", "leaves", "memo", "parts", "weak")

    def __init__(self, loss: Callable[..., Any], data: Mapping[str, Any], params: Bound) -> None:
        self.arguments = (loss, data, params)
        into = Flattening()
        try:
            self.parts = tuple(into.parts(_ARGUMENTS, None, self.arguments))
        except Refusal as refusal:
            raise refused(refusal, "") from None
        self.leaves, self.weak = into.leaves, into.weak
        self._own = [leaf for leaf in into.leaves if not hasattr(leaf, "zrun_original")]
        body = loss.python_function if isinstance(loss, Function) else loss
        others = [obj for obj in into.weak if obj is not loss and all(obj is not v for v in params.variables)]
        # A plain function is known by its identity, and data are copied when they are given.
        self.fixed = (
            isinstance(body, FunctionType)
            and not others
            and all(isinstance(leaf, (tf.Tensor, float, complex)) for leaf in self._own)
        )
        self.inputs = [_input(leaf) for leaf in self.leaves] if self.fixed else None
        self.memo: dict[Any, Any] = {}

    def state(self) -> tuple[Any, ...]:
        """Something that is equal as long as nothing that is carried has another value, parameters apart."""
        return (self.parts, *map(state_of, self._own))

    def with_last(self, leaf: Any) -> Taken:
        """What a call has taken apart whose last argument is a leaf."""
        return _Taken([*self.leaves, leaf], self.weak)


class _Taken(NamedTuple):
    leaves: list[Any]
    weak: list[Any]


class _ArgumentsNode(Node):
    """Names the arguments of a loss where one is refused."""

    def label(self, names: Any, parts: Sequence[Any], index: int) -> str:  # noqa: ARG002 - the signature of nodes
        return (".loss", ".data", ".params")[index]


_ARGUMENTS = _ArgumentsNode()


def _input(leaf: Any) -> Any:
    return leaf.handle if isinstance(leaf, tf.Variable) else to_input(leaf)


MOST_COMPARED = 10_000


def state_of(leaf: Any) -> Any:
    """Something that is equal as long as a value is: its bytes, or the object itself where that cannot change."""
    if isinstance(leaf, (tf.Variable, np.ndarray, np.generic)):
        # A large one is not compared: an object equal to nothing makes every look-up miss.
        return np.asarray(leaf).tobytes() if np.prod(leaf.shape) <= MOST_COMPARED else object()
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
