"""What a graph holds for good: arrays and tensors that its function took from a closure or a global."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import tensorflow as tf

from zrun_core._cache_info import in_units

if TYPE_CHECKING:
    from collections.abc import Iterator

# All that a graph captured together; below, nobody need bother.
WORTH_A_NOTE: Final = 1 << 20
# What TensorFlow keeps of an array in a graph, measured on TensorFlow 2.21: 50 MB for 8 MB.
COPIES: Final = 6
_NAMED: Final = 3


class Constant(NamedTuple):
    """One value that a graph holds.

    Attributes:
        text: its dtype and shape.
        nbytes: its size.
        kept: what keeping it takes.
    """

    text: str
    nbytes: int
    kept: int


class Constants(NamedTuple):
    """The values that a graph holds, the largest first."""

    found: tuple[Constant, ...]

    @property
    def kept(self) -> int:
        """The memory that keeping them takes: an estimate in bytes."""
        return sum(one.kept for one in self.found)

    def notes(self) -> tuple[str, ...]:
        """What to say of them: nothing, or that they are large and how to make inputs of them."""
        nbytes = sum(one.nbytes for one in self.found)
        if nbytes <= WORTH_A_NOTE:
            return ()
        named = ", ".join(one.text for one in self.found[:_NAMED])
        more = f" and {len(self.found) - _NAMED} more" if len(self.found) > _NAMED else ""
        note = (
            f"captured {in_units(nbytes)} of constants ({named}{more}) from a closure or a global: they "
            f"take {in_units(self.kept)} in this graph and as much in the next, and a later change is not seen; "
            f"pass the array as an argument, or make it a field of an argument that is a dataclass or a @struct class"
        )
        return (note,)


def constants_of(concrete: Any) -> Constants:
    """The values that a concrete function holds.

    Args:
        concrete: a concrete function.

    Returns:
        The arrays that became constants of its graph, and the tensors that it captured. Variables are none, as they
        change; the constants inside loops and branches are not looked for.
    """
    return Constants(tuple(sorted(_find(concrete), key=lambda one: -one.nbytes)))


def _find(concrete: Any) -> Iterator[Constant]:
    for operation in concrete.graph.get_operations():
        if operation.type == "Const":
            yield from _constant(operation.outputs[0], COPIES)
    for captured in concrete.captured_inputs:
        if isinstance(captured, tf.Tensor):
            yield from _constant(captured, 1)


def _constant(tensor: tf.Tensor, copies: int) -> Iterator[Constant]:
    elements = tensor.shape.num_elements()
    # Strings and handles have no size of their own.
    if elements is not None and tensor.dtype not in (tf.string, tf.resource, tf.variant):
        nbytes = elements * tensor.dtype.size
        yield Constant(f"{tensor.dtype.name} {tuple(tensor.shape)}", nbytes, nbytes * copies)
