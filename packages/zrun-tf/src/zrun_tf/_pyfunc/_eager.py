"""A block that is called eagerly: its function runs here and now, in the thread of the caller."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from zrun_tf._compat import add_note

from ._calculus import Calculus, added
from ._points import Point

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ._arguments import Slot
    from ._block import Block
    from ._calculus import Tensors


def call_eagerly(block: Block, inputs: Tensors, sources: Sequence[int], targets: Sequence[int]) -> list[tf.Tensor]:
    """The results of a block.

    Args:
        block: the block.
        inputs: the slots of its inputs.
        sources: the numbers of those that TensorFlow may ask derivatives by.
        targets: the numbers of the results that have derivatives.
    """
    slots = [tensor.numpy() for tensor in inputs]
    results = _tensors(_noted(block, block.evaluate, slots), block.results.slots)
    calculus = Calculus(EagerRaw(block), inputs, Point(block, slots), sources)
    found = like = [results[target] for target in targets]
    for slot in sources if targets else ():
        found = added(found, calculus.carrying(slot, like))
    attached = dict(zip(targets, found, strict=True))
    return [attached.get(place, result) for place, result in enumerate(results)]


class EagerRaw:
    """See `_calculus.Raw`; the ticket is a `Point`.

    Args:
        block: the block.
    """

    def __init__(self, block: Block) -> None:
        self._block = block

    def here(self, tensors: Sequence[Any]) -> tuple[EagerRaw, list[Any]]:
        """There is no graph."""
        return self, list(tensors)

    def local(self, tensors: Tensors) -> Tensors:
        """There is no graph."""
        return tensors

    def zero(self, like: tf.Tensor) -> tf.Tensor:
        """See `Raw`."""
        return tf.stop_gradient(tf.zeros_like(like))

    def pulled(self, ticket: Point, slot: int, weights: Tensors, inputs: Tensors) -> tf.Tensor:
        """See `Raw`."""
        (found,) = self._taken(
            lambda *arrays: [ticket.pulled(slot, list(arrays))], weights, [inputs[slot].dtype], inputs[slot].shape
        )
        return found

    def pushed(self, ticket: Point, slot: int, vector: tf.Tensor, inputs: Tensors) -> list[tf.Tensor]:  # noqa: ARG002
        """See `Raw`."""
        dtypes = [each.dtype for each in self._block.results.differentiable]
        return self._taken(lambda array: ticket.pushed(slot, array), [vector], dtypes)

    def curved(
        self, ticket: Point, slot: int, other: int, weights: Tensors, vector: tf.Tensor, inputs: Tensors
    ) -> tf.Tensor:
        """See `Raw`."""
        act = lambda *arrays: [ticket.curved(slot, other, list(arrays[:-1]), arrays[-1])]  # noqa: E731
        return self._taken(act, [*weights, vector], [inputs[other].dtype], inputs[other].shape)[0]

    def third(self, ticket: Point, like: tf.Tensor) -> tf.Tensor:  # noqa: ARG002
        """Raises."""
        return ticket.third()

    def _taken(
        self, act: Callable[..., Any], tensors: Tensors, dtypes: list[tf.DType], shape: Any = None
    ) -> list[tf.Tensor]:
        """What a function of arrays makes of tensors; their values come later where a Jacobian is vectorized.

        Args:
            act: takes an array for each tensor and returns arrays.
            tensors: its arguments.
            dtypes: those of the results.
            shape: that of each result; None where it is not known.
        """

        def run(*arrays: Any) -> list[Any]:
            found = _noted(self._block, act, *arrays)
            return [np.asarray(array, dtype.as_numpy_dtype) for array, dtype in zip(found, dtypes, strict=True)]

        if all(hasattr(tensor, "numpy") for tensor in tensors):
            return [tf.constant(array) for array in run(*(tensor.numpy() for tensor in tensors))]
        # The tape of an eager call may be asked inside of a graph: `GradientTape.jacobian` makes one for its loop.
        return [tf.ensure_shape(tensor, shape) for tensor in tf.numpy_function(run, tensors, dtypes)]


def _tensors(arrays: Sequence[Any], like: Sequence[Slot]) -> list[tf.Tensor]:
    return [tf.constant(array, slot.dtype) for array, slot in zip(arrays, like, strict=True)]


def _noted(block: Block, function: Callable[..., Any], *args: Any) -> Any:
    try:
        return function(*args)
    except Exception as error:
        add_note(error, f"This happened in {block.name}.")
        raise
