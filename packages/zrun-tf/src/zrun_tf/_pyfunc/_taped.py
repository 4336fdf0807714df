"""Derivatives of a block of Python code that computes with TensorFlow: TensorFlow's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from zrun_tf._errors import GradientError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ._block import Block

    Array = NDArray[Any]


class Taped:
    """Derivatives at a point.

    Args:
        block: the block; its function takes tensors and returns them.
        slots: the point.
    """

    def __init__(self, block: Block, slots: Sequence[Array]) -> None:
        self._block = block
        self._slots = [tf.constant(np.array(slot)) for slot in slots]
        self._sources = [number for number, slot in enumerate(block.inputs.slots) if slot.differentiable]

    def _run(self) -> list[Any]:
        block = self._block
        result = block.called(block.function, block.inputs.join(self._slots))
        leaves = [
            tf.cast(tf.convert_to_tensor(value), leaf.dtype)
            for value, leaf in zip(block.leaves_of_result(result), block.results.leaves, strict=True)
        ]
        slots = zip(block.results.split(leaves), block.results.slots, strict=True)
        return [tensor for tensor, slot in slots if slot.differentiable]

    def _tape(self) -> tf.GradientTape:
        return tf.GradientTape(persistent=True, watch_accessed_variables=False)

    def _watched(self, tape: tf.GradientTape) -> list[Any]:
        tape.watch([self._slots[source] for source in self._sources])
        return self._run()

    def _gradient(self, tape: tf.GradientTape, results: Sequence[Any], slot: int, weights: Sequence[Any]) -> Any:
        """The sum over the results; those that do not depend on the slot, but on another one, have no part in it."""
        total = None
        for result, weight, known in zip(results, weights, self._block.results.differentiable, strict=True):
            part = tape.gradient(result, self._slots[slot], output_gradients=tf.cast(weight, result.dtype))
            if part is None:
                others = (tape.gradient(result, self._slots[source]) for source in self._sources)
                if all(other is None for other in others):
                    raise GradientError(
                        f"{self._block.name}: TensorFlow does not see how {known.name} depends on any of the inputs: "
                        f"the way leads through NumPy, integers or tf.stop_gradient. Leave autograd=True out for a "
                        f"numerical derivative, or pass jacobian=..."
                    )
            else:
                part = tf.convert_to_tensor(part)
                total = part if total is None else total + part
        return tf.zeros_like(self._slots[slot]) if total is None else total

    def pulled(self, slot: int, weights: Sequence[Array]) -> Array:
        """The derivative of the weighted sum of the results, in the shape of the slot."""
        with self._tape() as tape:
            results = self._watched(tape)
        return self._gradient(tape, results, slot, weights).numpy()  # type: ignore[no-any-return]

    def pushed(self, slot: int, vector: Array) -> list[Array]:
        """The derivatives of the results along a vector of the shape of the slot."""
        # What is pulled back is linear in the weights; its derivative by these is what is pushed forward.
        with self._tape() as outer:
            with self._tape() as tape:
                results = self._watched(tape)
            weights = [tf.ones_like(result) for result in results]
            outer.watch(weights)
            pulled = self._gradient(tape, results, slot, weights)
        found = outer.gradient(pulled, weights, output_gradients=tf.cast(vector, pulled.dtype))
        return [
            (tf.zeros_like(one) if part is None else part).numpy() for part, one in zip(found, weights, strict=True)
        ]

    def curved(self, slot: int, other: int, weights: Sequence[Array], vector: Array) -> Array:
        """The derivative, by another slot, of the weighted sum of the results differentiated along a vector."""
        with self._tape() as outer:
            outer.watch(self._slots[other])
            with self._tape() as tape:
                results = self._watched(tape)
            pulled = self._gradient(tape, results, slot, weights)
        found = outer.gradient(pulled, self._slots[other], output_gradients=tf.cast(vector, pulled.dtype))
        return (tf.zeros_like(self._slots[other]) if found is None else tf.convert_to_tensor(found)).numpy()  # type: ignore[no-any-return]
