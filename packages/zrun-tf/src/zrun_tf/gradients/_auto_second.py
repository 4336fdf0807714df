"""Automatic Hessians, by the way that is cheapest where they are asked for.

There are three: reverse mode over reverse mode, one row after another in a loop; the same with all rows in one sweep,
which is fastest where it fits into the memory; and forward mode over reverse mode in a loop, which does less work per
row than the first. XLA takes the first and moves out of the loop what the rows have in common. Eager code takes it too,
for it calls the function once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import tensorflow as tf

from zrun_core._events import Event, emit, listening

from ._auto import all_derivatives, value_and_gradient
from ._points import is_compiled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._auto import Unconnected
    from ._params import Problem

# Numbers that all rows may hold together in one sweep, counting every operation: some hundreds of MB.
_IN_ONE_SWEEP: Final = 2e8
_AT_ONCE: Final = 10
# What calls other graphs: their operations are not seen, and forward mode knows no loops.
_CALLS: Final = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
_CONTROL: Final = frozenset({"While", "StatelessWhile", "If", "StatelessIf", "Case", "StatelessCase"})


class _Made(NamedTuple):
    """What tracing the gradient has put into the graph."""

    numbers: float
    types: frozenset[str]
    has_complex: bool


def value_gradient_hessian(
    problem: Problem, unconnected: Unconnected, *, low_memory: bool = False
) -> tuple[tf.Tensor, list[tf.Tensor], tf.Tensor]:
    """The value, per parameter the gradient, and the Hessian over all elements of all parameters.

    Args:
        problem: the function.
        unconnected: what to do where TensorFlow sees no way from a parameter to the value.
        low_memory: one row after another, so that the memory does not grow with the number of rows.
    """
    in_graph = not tf.executing_eagerly()
    before = len(tf.compat.v1.get_default_graph().get_operations()) if in_graph else 0
    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
        tape.watch(problem.sources)
        value, gradient = value_and_gradient(problem, unconnected)
        flat = _flat(problem, gradient)
    at_once = 1 if low_memory else _AT_ONCE
    matrix = None
    if in_graph and flat.shape.num_elements() is not None and not is_compiled():
        made = _made_since(before)
        if not low_memory and made.types.isdisjoint(_CALLS | _CONTROL):
            matrix = _in_one_sweep(problem, tape, flat, made)
        if matrix is None and not made.has_complex:
            matrix = _forward(problem, tape, flat, unconnected, at_once)
    if matrix is None:
        matrix = _row_by_row(problem, tape, flat, at_once)
    return value, gradient, matrix


def _flat(problem: Problem, parts: Sequence[tf.Tensor]) -> tf.Tensor:
    return tf.concat([tf.reshape(tf.cast(part, problem.dtype), [-1]) for part in parts], axis=0)


def _made_since(before: int) -> _Made:
    operations = tf.compat.v1.get_default_graph().get_operations()[before:]
    outputs = [tensor for operation in operations for tensor in operation.outputs]
    sizes = [tensor.shape.num_elements() for tensor in outputs]
    return _Made(
        numbers=float("inf") if None in sizes else float(sum(size or 0 for size in sizes)),
        types=frozenset(operation.type for operation in operations),
        has_complex=any(tensor.dtype.is_complex for tensor in outputs),
    )


def _row_by_row(problem: Problem, tape: tf.GradientTape, flat: tf.Tensor, at_once: int) -> tf.Tensor:
    total, columns = flat.shape.num_elements(), []
    for source in problem.sources:
        found = all_derivatives(tape, flat, source, at_once)
        rows = tf.size(flat) if total is None else total
        size = tf.size(source) if source.shape.num_elements() is None else source.shape.num_elements()
        found = tf.zeros([rows, size], problem.dtype) if found is None else tf.reshape(found, [rows, size])
        columns.append(tf.cast(found, problem.dtype))
    return tf.concat(columns, axis=1)


def _in_one_sweep(problem: Problem, tape: tf.GradientTape, flat: tf.Tensor, made: _Made) -> tf.Tensor | None:
    """All rows at once; None where they would take too much memory or TensorFlow cannot."""
    size = flat.shape.num_elements()
    if size * made.numbers > _IN_ONE_SWEEP:
        return None
    zero = tf.UnconnectedGradients.ZERO

    def row(weights: tf.Tensor) -> tf.Tensor:
        found = tape.gradient(flat, problem.sources, output_gradients=weights, unconnected_gradients=zero)
        return _flat(problem, [tf.convert_to_tensor(part) for part in found])

    try:
        return tf.vectorized_map(row, tf.eye(size, dtype=problem.dtype), fallback_to_while_loop=False)
    except Exception as error:  # noqa: BLE001 - whatever an operation lacks, another way does without it
        _say(problem, "vectorised over its rows", error)
        return None


def _forward(
    problem: Problem, tape: tf.GradientTape, flat: tf.Tensor, unconnected: Unconnected, at_once: int
) -> tf.Tensor | None:
    """Column after column in forward mode; None where an operation has no rule for that."""
    sources = problem.sources
    connected = any(part is not None for part in tape.gradient(flat, sources))
    if not connected:
        return tf.zeros([flat.shape.num_elements()] * 2, problem.dtype)

    def column(direction: tf.Tensor) -> tf.Tensor:
        parts = zip(tf.split(direction, problem.sizes), problem.shapes, problem.dtypes, strict=True)
        tangents = [tf.cast(tf.reshape(part, shape), dtype) for part, shape, dtype in parts]
        with tf.autodiff.ForwardAccumulator(sources, tangents) as accumulator:
            _, gradient = value_and_gradient(problem, unconnected)
            along = _flat(problem, gradient)
        found = accumulator.jvp(along)
        if found is None:
            raise NotImplementedError("the gradient has no forward derivative")
        return found

    try:
        return tf.map_fn(
            column,
            tf.eye(flat.shape.num_elements(), dtype=problem.dtype),
            parallel_iterations=at_once if not tf.executing_eagerly() else 1,
        )
    except Exception as error:  # noqa: BLE001 - TensorFlow raises errors of many kinds where it has no rule
        _say(problem, "in forward mode", error)
        return None


def _say(problem: Problem, way: str, error: Exception) -> None:
    if listening("fallback"):
        reason = f"its Hessian cannot be had {way}: {type(error).__name__}: {error}"
        emit(Event("fallback", problem.name, "derivative", reason))
