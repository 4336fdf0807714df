"""The derivatives of a block at a point: which way they are taken, and that each is computed once."""

from __future__ import annotations

from threading import RLock
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from zrun_tf._errors import GradientError

from ._exact import Exact
from ._numeric import Numeric
from ._samples import Samples
from ._taped import Taped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ._block import Block

    Array = NDArray[Any]


class Derivatives(Protocol):
    """What a block must know of its derivatives at a point; weights and results are those that have derivatives."""

    def pulled(self, slot: int, weights: Sequence[Array]) -> Array:
        """The derivative of the weighted sum of the results by a slot."""

    def pushed(self, slot: int, vector: Array) -> list[Array]:
        """The derivatives of the results along a vector of a slot."""

    def curved(self, slot: int, other: int, weights: Sequence[Array], vector: Array) -> Array:
        """The derivative, by another slot, of the weighted sum of the results differentiated along a vector."""


class Point:
    """A block at a point; the derivatives share what they compute.

    Args:
        block: the block.
        slots: the point.
    """

    def __init__(self, block: Block, slots: Sequence[Array]) -> None:
        self._block = block
        self._slots = slots
        self._made: Derivatives | None = None
        # Several operations of a graph may ask at the same time.
        self._lock = RLock()

    def pulled(self, slot: int, weights: Sequence[Array]) -> Array:
        """See `Derivatives`."""
        self._refuse_precision(slot)
        if not any(np.any(weight) for weight in weights):
            return np.zeros_like(self._slots[slot])
        with self._lock:
            return self._derivatives().pulled(slot, weights)

    def pushed(self, slot: int, vector: Array) -> list[Array]:
        """See `Derivatives`; each of the dtype of its result."""
        results = self._block.results.differentiable
        with self._lock:
            found = self._derivatives().pushed(slot, vector)
        return [part.astype(like.dtype.as_numpy_dtype) for part, like in zip(found, results, strict=True)]

    def curved(self, slot: int, other: int, weights: Sequence[Array], vector: Array) -> Array:
        """See `Derivatives`."""
        if not np.any(vector) or not any(np.any(weight) for weight in weights):
            return np.zeros_like(self._slots[other])
        with self._lock:
            return self._derivatives().curved(slot, other, weights, vector)

    def third(self) -> Any:
        """Refuse a third derivative."""
        raise GradientError(
            f"{self._block.name} has first and second derivatives; a third one is asked for. Take the outermost one "
            f"numerically, with autograd=False."
        )

    def _refuse_precision(self, slot: int) -> None:
        known = self._block.inputs.slots[slot]
        if not known.differentiable:
            raise GradientError(
                f"{self._block.name}: {known.name} is {known.dtype.name}; there are derivatives by float32 and float64 "
                f"inputs. Use tf.cast(..., tf.float64)."
            )

    def _derivatives(self) -> Derivatives:
        if self._made is None:
            options = self._block.options
            if options.autograd:
                self._made = Taped(self._block, self._slots)
            elif options.jacobian is not None:
                self._made = Exact(self._block, self._slots, options.jacobian, self._numeric)
            else:
                self._made = self._numeric()
            self._block.refuse_unseen()
        return self._made

    def _numeric(self) -> Numeric:
        return Numeric(Samples(self._block, [np.asarray(slot) for slot in self._slots], self._block.differentiated))
