"""Results of a chunked pass as TensorFlow's tapes see them: differentiable to any order, chunk by chunk.

A tape records one operation, whose inputs are the tensors and variables that the function reads, and whose gradient is
another pass over the rows. Nothing of a chunk is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from zrun_core._structure import flatten

from ._chunked_evaluate import Found, Task, evaluate, nested
from ._chunked_piece import Notes, Piece, has_derivatives
from ._chunked_rows import ArraySource
from ._chunked_traced import evaluate_traced
from ._errors import GradientError
from ._floats import FloatInput
from .gradients._wanted import wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def linked(task: Task, known: Found | None = None) -> Found:
    """Compute a piece over all rows such that tapes can differentiate the results.

    Args:
        task: the piece, with all it is computed from.
        known: the results, where they have been computed already.
    """
    eager = tf.executing_eagerly()
    if not eager:
        task = _local(task)
    # Rows that cannot be read again must give their derivative at once, or never.
    together = known is None and type(task.piece) is Piece and not task.piece.per_row
    if together and (wanted.get() or not task.source.again):
        known = (evaluate if eager else evaluate_traced)(task._replace(piece=task.piece.together))
    found = (evaluate if eager else evaluate_traced)(task) if known is None else known
    derivatives: list[tf.Tensor] | None = None
    if found.notes.together:
        derivatives = found.outputs[1:]
        found = found._replace(outputs=found.outputs[:1])
    places = [place for place, output in enumerate(found.outputs) if output.dtype.is_floating]
    outputs = list(found.outputs)
    floats = [outputs[place] for place in places]
    inputs = [*task.call.inputs, *filter(has_derivatives, tf.nest.flatten(task.ups))]
    variables = found.notes.variables
    if floats and (inputs or variables):
        floats = _connect([*inputs, *variables], floats, _by_inputs(task, len(inputs), variables, derivatives))
    arrays = [array for array in getattr(task.source, "arrays", ()) if has_derivatives(array)]
    if floats and arrays:
        # An operation of its own, so that this pass is only made where the rows depend on what is differentiated by.
        nothing = _connect(arrays, [tf.zeros_like(output) for output in floats], lambda *ups: _by_rows(task, ups))
        floats = [output + zero for output, zero in zip(floats, nothing, strict=True)]
    for place, output in zip(places, floats, strict=True):
        outputs[place] = output
    return found._replace(outputs=outputs)


def _local(task: Task) -> Task:
    """The task with its symbolic tensors as tensors of the graph that is being built.

    A gradient is built in a graph of its own, which reads tensors of the graph of the value; the gradient of that is
    built in a third graph, which can read those of the second only.
    """
    flat = flatten((task.call.func, task.call.args))
    func, args = flat.rebuild([_identity(leaf) for leaf in flat.leaves])
    source = task.source
    if isinstance(source, ArraySource):
        names = [f"array {place} of data" for place in range(len(source.arrays))]
        source = ArraySource(source.layout, [_identity(array) for array in source.arrays], names)
    ups = nested(task.ups, map(_identity, tf.nest.flatten(task.ups)))
    return task._replace(call=task.call._replace(func=func, args=args), source=source, ups=ups)


def _identity(leaf: Any) -> Any:
    if isinstance(leaf, FloatInput):
        return FloatInput(tf.identity(leaf.tensor))
    symbolic = isinstance(leaf, tf.Tensor) and not hasattr(leaf, "numpy")
    return tf.identity(leaf) if symbolic else leaf


def _connect(
    inputs: Sequence[Any], results: Sequence[tf.Tensor], gradient: Callable[..., Sequence[Any]]
) -> list[tf.Tensor]:
    """The results as an operation on the inputs with a gradient of its own."""

    # The results are inputs: TensorFlow looks for variables in what lies between inputs and outputs.
    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def connected(_: list[tf.Tensor], results: list[tf.Tensor]) -> Any:
        return [tf.identity(result) for result in results], lambda *ups: [*gradient(*ups), *[None] * len(results)]

    kept = [tf.stop_gradient(result) for result in results]
    return list(connected([tf.convert_to_tensor(source) for source in inputs], kept))


def _by_inputs(
    task: Task, n_inputs: int, variables: Sequence[tf.Variable], known: list[tf.Tensor] | None
) -> Callable[..., list[Any]]:
    """The gradient with respect to inputs and variables: a pass over the rows, unless it is known."""
    read = [*filter(lambda leaf: isinstance(leaf, tf.Variable), task.call.inputs), *variables]
    eager = tf.executing_eagerly()
    before = [np.asarray(variable) for variable in read] if eager else []

    def gradient(*ups: tf.Tensor) -> list[Any]:
        if eager and tf.executing_eagerly():
            _check_unchanged(task, read, before)
        derivative = _with_ups(task, task.piece.by_inputs, ups)
        if known is None:
            found = linked(derivative)
        else:
            one = derivative._replace(ups=(task.ups, (tf.ones_like(ups[0]),)))
            there = Notes()
            there.variables = list(variables)
            # As if a pass had been made for an `up` of 1; a further derivative makes one.
            found = linked(one, Found(known, there))
            found = found._replace(outputs=[tf.cast(ups[0], part.dtype) * part for part in found.outputs])
        by_variable = {id(v): part for v, part in zip(found.notes.variables, found.outputs[n_inputs:], strict=True)}
        sources = [*task.call.inputs, *filter(has_derivatives, tf.nest.flatten(task.ups))]
        parts = [tf.cast(part, source.dtype) for part, source in zip(found.outputs[:n_inputs], sources, strict=True)]
        more = [by_variable.get(id(v)) for v in variables]
        return [*parts, *[None if d is None else tf.cast(d, v.dtype) for d, v in zip(more, variables, strict=True)]]

    return gradient


def _by_rows(task: Task, ups: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """The gradient with respect to the rows of tensors, as a pass over the rows that keeps one value for each."""
    derivative = _with_ups(task, task.piece.by_rows, ups)
    found = iter(linked(derivative).outputs)
    arrays = getattr(task.source, "arrays", ())
    parts = [(array, next(found)) for array in arrays if tf.as_dtype(array.dtype).is_floating]
    return [tf.cast(part, array.dtype) for array, part in parts if has_derivatives(array)]


def _with_ups(task: Task, piece: Any, ups: Sequence[tf.Tensor]) -> Task:
    """A task for a derivative: results that have rows are multiplied row by row."""
    if not task.piece.per_row:
        return task._replace(piece=piece, ups=(task.ups, tuple(ups)))
    if not isinstance(task.source, ArraySource):
        raise GradientError(
            f"{task.piece.name} of {task.name} can be differentiated where the data are arrays; here they come in "
            f"batches. Load them into arrays, or use chunked_sum."
        )
    names = [f"array {place} of data" for place in range(len(task.source.arrays))]
    rows = (*task.source.arrays, *ups)
    source = ArraySource(task.source.layout, rows, [*names, *(f"gradient {place}" for place in range(len(ups)))])
    return task._replace(piece=piece, source=source, rows=(task.rows, (0,) * len(ups)))


def _check_unchanged(task: Task, variables: Sequence[tf.Variable], before: Sequence[Any]) -> None:
    """A pass reads variables when it runs, so they must hold what they held when the value was computed."""
    for variable, value in zip(variables, before, strict=True):
        if not np.array_equal(np.asarray(variable), value, equal_nan=True):
            raise GradientError(
                f"The gradient of {task.piece.name} of {task.name} was asked for after the variable {variable.name} "
                f"had changed. Ask for it before the variable is assigned to, or pass the value as an argument."
            )
