"""A block as an operation of TensorFlow that can be differentiated twice.

TensorFlow differentiates what is attached to the results: for each input a sum of zeros that carries the derivative by
that input, and by no other. So the derivatives by inputs that nobody asks about are never computed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Tensors: TypeAlias = Sequence[tf.Tensor]
    Pullback: TypeAlias = Callable[[Tensors], Sequence[tf.Tensor]]
    Part: TypeAlias = tuple[Tensors, Pullback]


class Raw(Protocol):
    """The block and its derivatives as values that TensorFlow cannot see through.

    `ticket` stands for one evaluation; what is computed for one is shared.
    """

    def here(self, tensors: Sequence[Any]) -> tuple[Raw, list[Any]]:
        """The same, and tensors or tickets, in the graph that is being built now."""

    def local(self, tensors: Tensors) -> Tensors:
        """Tensors in the graph that is being built now."""

    def zero(self, like: tf.Tensor) -> tf.Tensor:
        """Zeros, for a derivative to be attached to; where that may get lost, they are what tells of it."""

    def pulled(self, ticket: Any, slot: int, weights: Tensors, inputs: Tensors) -> tf.Tensor:
        """The derivative of the weighted sum of the results by a slot."""

    def pushed(self, ticket: Any, slot: int, vector: tf.Tensor, inputs: Tensors) -> list[tf.Tensor]:
        """The derivatives of the results along a vector of a slot."""

    def curved(
        self, ticket: Any, slot: int, other: int, weights: Tensors, vector: tf.Tensor, inputs: Tensors
    ) -> tf.Tensor:
        """The derivative by another slot of the weighted sum of the results differentiated along a vector."""

    def third(self, ticket: Any, like: tf.Tensor) -> tf.Tensor:
        """Raises when it is asked for; where a graph is built, a tensor for that."""


class Calculus:
    """Puts a block and its derivatives together.

    Args:
        raw: the block.
        inputs: the slots of its inputs.
        ticket: of the evaluation.
        sources: the numbers of the slots that TensorFlow may ask derivatives by.
    """

    def __init__(self, raw: Raw, inputs: Tensors, ticket: Any, sources: Sequence[int]) -> None:
        self._raw, self._inputs, self._ticket, self._sources = raw, inputs, ticket, sources

    def carrying(self, slot: int, like: Tensors) -> Tensors:
        """Zeros of the shapes of the results that have derivatives, which carry those by a slot."""
        (part,) = self._by_inputs([slot], lambda here, _, weights: here.pulled(slot, weights))
        return _zeros(*part, like, self._raw.zero)

    def pulled(self, slot: int, weights: Tensors) -> tf.Tensor:
        """The derivative of the weighted sum of the results by a slot."""
        value = self._raw.pulled(self._ticket, slot, weights, self._inputs)
        local = self._raw.local
        by_weights: Part = (weights, lambda given: self._here().pushed(slot, given[0], local(weights)))
        by_inputs = self._by_inputs(
            self._sources, lambda here, other, given: here.curved(slot, other, local(weights), given[0])
        )
        return _attach([value], [by_weights, *by_inputs], [self._inputs[slot]], self._raw.zero)[0]

    def pushed(self, slot: int, vector: tf.Tensor, like: Tensors) -> list[tf.Tensor]:
        """The derivatives of the results, which have the shapes of `like`, along a vector of a slot."""
        values = self._raw.pushed(self._ticket, slot, vector, self._inputs)
        by_vector: Part = ([vector], lambda given: [self._here().pulled(slot, given)])
        local = self._raw.local
        by_inputs = self._by_inputs(
            self._sources, lambda here, other, given: here.curved(slot, other, given, local([vector])[0])
        )
        return _attach(values, [by_vector, *by_inputs], like, self._raw.zero)

    def curved(self, slot: int, other: int, weights: Tensors, vector: tf.Tensor) -> tf.Tensor:
        """The derivative by another slot of the weighted sum of the results differentiated along a vector."""
        value = self._raw.curved(self._ticket, slot, other, weights, vector, self._inputs)
        local = self._raw.local
        by_vector: Part = ([vector], lambda given: [self._here().curved(other, slot, local(weights), given[0])])
        by_weights: Part = (weights, lambda _: [self._here().third(weight) for weight in local(weights)])
        by_inputs = self._by_inputs(self._sources, lambda here, third, _: here.third(here._inputs[third]))
        return _attach([value], [by_vector, by_weights, *by_inputs], [self._inputs[other]], self._raw.zero)[0]

    def third(self, like: tf.Tensor) -> tf.Tensor:
        """Refuse a third derivative."""
        return self._raw.third(self._ticket, like)

    def _by_inputs(self, slots: Sequence[int], derivative: Callable[[Calculus, int, Tensors], tf.Tensor]) -> list[Part]:
        return [
            ([self._inputs[slot]], lambda given, slot=slot: [derivative(self._here(), slot, given)])  # type: ignore[misc]
            for slot in slots
        ]

    def _here(self) -> Calculus:
        """The same in the graph that is being built now: a derivative may be part of another one than the results."""
        raw, (*inputs, ticket) = self._raw.here([*self._inputs, self._ticket])
        return Calculus(raw, inputs, ticket, self._sources)


def _attach(
    values: Tensors, parts: Sequence[Part], like: Tensors, zero: Callable[[tf.Tensor], tf.Tensor]
) -> list[tf.Tensor]:
    """Values, with the derivatives that each part of what they depend on has.

    The zeros are of the shapes of `like`: if they were made from the values, these would have to be computed.
    """
    attached = list(values)
    for sources, pullback in parts:
        attached = added(attached, _zeros(sources, pullback, like, zero))
    return attached


def added(values: Tensors, zeros: Tensors) -> list[tf.Tensor]:
    """Values that carry what zeros carry."""
    # The gradient of a plus would look at the shapes of both, for which the values would have to be computed.
    return [tf.add_n([value, zero]) for value, zero in zip(values, zeros, strict=True)]


def _zeros(sources: Tensors, pullback: Pullback, like: Tensors, zero: Callable[[tf.Tensor], tf.Tensor]) -> Tensors:
    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def zeros(*_: tf.Tensor) -> Any:
        def gradient(*given: Any) -> Any:
            found = pullback([tf.convert_to_tensor(part) for part in given])
            return found[0] if len(found) == 1 else found

        return [zero(value) for value in like], gradient

    return zeros(*sources)  # type: ignore[no-any-return]
