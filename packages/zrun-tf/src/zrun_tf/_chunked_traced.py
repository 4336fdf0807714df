"""One pass of a piece over all rows as part of a graph that is being built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import tensorflow as tf

from zrun_core._structure import flatten
from zrun_core.errors import ChunkError

from ._chunked_counts import told
from ._chunked_evaluate import Found, nested
from ._chunked_loop import add_term, map_blocks, settled, sum_blocks
from ._chunked_piece import Notes, notes
from ._chunked_plan import MOST_COMPILED
from ._chunked_rows import ArraySource, empty_chunk
from ._floats import FloatInput
from .gradients._points import compiled_by_xla

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ._chunked_evaluate import Task

# Rows of a block where nobody says how many, with XLA and without.
_COMPILED_BLOCK: Final = 8192
_BLOCK: Final = 32_768


def evaluate_traced(task: Task) -> Found:
    """Compute a piece over all rows as operations of the graph that is being built.

    Data in memory are an input or a capture of the graph; what comes in batches or from a mapped file is read while it
    runs, by Python.

    Raises:
        ChunkError: data that come in batches can be read once only, or their results are to be concatenated.
    """
    jit = compiled_by_xla()
    source = task.source
    streams = not isinstance(source, ArraySource) or source.mapped
    block = task.chunksize
    if block == "auto":
        block = _COMPILED_BLOCK if jit else _BLOCK
    elif block is not None and jit:
        block = min(block, MOST_COMPILED)
    if streams:
        return _streamed(task, block, jit=jit)
    rows = [_in_graph(array) for array in source.arrays]  # type: ignore[attr-defined]
    compute, outputs, found = _piece(task, rows, jit=jit)
    if block is None:
        with told(task.name, per_row=task.piece.per_row):
            return Found(list(compute(rows)), found)
    n_rows = rows[0].shape[0]
    block = block if n_rows is None else max(1, min(block, int(n_rows)))
    with told(task.name, per_row=task.piece.per_row):
        if task.piece.per_row:
            return Found(map_blocks(compute, outputs, rows, block), found)
        return Found(_finished(*sum_blocks(compute, outputs, rows, block)), found)


def _finished(sums: Sequence[tf.Tensor], errors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    return [total + error for total, error in zip(sums, settled(sums, errors), strict=True)]


def _piece(
    task: Task, like: Sequence[Any], *, jit: bool
) -> tuple[Callable[[list[tf.Tensor]], Sequence[tf.Tensor]], list[tf.TensorSpec], Notes]:
    """The piece as a function of rows, traced once for any number of them, and what it returns."""
    flat = flatten((task.call.func, task.call.args))
    ups = tf.nest.flatten(task.ups)
    tensors = [leaf.tensor if isinstance(leaf, FloatInput) else leaf for leaf in flat.leaves]
    is_input = [not isinstance(leaf, (tf.Variable, float, complex)) for leaf in tensors]
    inputs = [tf.convert_to_tensor(t) for t, use in zip(tensors, is_input, strict=True) if use]
    found = Notes()
    found.within = jit

    def piece(rows: list[tf.Tensor], inputs: list[tf.Tensor], ups: list[tf.Tensor]) -> list[tf.Tensor]:
        given = iter(inputs)
        leaves = [_like(leaf, next(given)) if use else leaf for leaf, use in zip(flat.leaves, is_input, strict=True)]
        func, args = flat.rebuild(leaves)
        call = task.call._replace(func=func, args=args)
        token = notes.set(found)
        try:
            return task.piece.compute(call, nested(task.rows, iter(rows)), nested(task.ups, iter(ups)))
        finally:
            notes.reset(token)

    specs = [tf.TensorSpec([None, *array.shape[1:]], array.dtype) for array in like]
    function = tf.function(piece, autograph=False)
    concrete = function.get_concrete_function(specs, *([_spec(t) for t in group] for group in (inputs, ups)))
    outputs = [tf.TensorSpec(out.shape, out.dtype) for out in concrete.outputs]
    return (lambda rows: concrete(*rows, *inputs, *ups)), outputs, found


def _spec(tensor: tf.Tensor) -> tf.TensorSpec:
    return tf.TensorSpec(tensor.shape, tensor.dtype)


def _like(leaf: Any, tensor: tf.Tensor) -> Any:
    return FloatInput(tensor) if isinstance(leaf, FloatInput) else tensor


def _in_graph(array: Any) -> tf.Tensor:
    """Rows as an input of the graph, or held by it from outside: as a constant they would be part of its definition."""
    if isinstance(array, tf.Tensor):
        return array
    with tf.init_scope():
        return tf.constant(array)


def _streamed(task: Task, block: int | None, *, jit: bool) -> Found:
    """The rows read while the graph runs, by Python, one chunk after another."""
    source = task.source
    if task.piece.per_row:
        raise ChunkError(
            f"{task.piece.name} of {task.name}: inside a graph, results can be concatenated for data in memory only. "
            f"Call it outside of the graph, or use chunked_sum."
        )
    if not source.again:
        raise ChunkError(
            f"{task.piece.name} of {task.name}: a graph reads the data each time it runs, and an iterator can be read "
            f"once only. Pass a function that returns a new iterator each time."
        )
    if block is None:
        raise ChunkError(
            f"{task.piece.name} of {task.name}: chunksize=None computes all rows in one piece, and inside a graph that "
            f"needs data in memory. Give a number of rows, or 'auto'."
        )

    def read() -> Iterator[tuple[Any, ...]]:
        return map(tuple, source.chunks(block, share=False))

    first = empty_chunk(source)
    with tf.init_scope():
        signature = tuple(tf.TensorSpec([None, *a.shape[1:]], a.dtype) for a in first)
        dataset = tf.data.Dataset.from_generator(read, output_signature=signature).prefetch(2)
    compute, outputs, found = _piece(task, first, jit=jit)
    zeros = [tf.zeros(spec.shape, spec.dtype) for spec in outputs]

    def step(state: Any, rows: tuple[tf.Tensor, ...]) -> Any:
        return tuple(map(tuple, add_term(list(state[0]), list(state[1]), list(compute(list(rows))))))

    sums, errors = dataset.reduce((tuple(zeros), tuple(zeros)), step)
    return Found(_finished(list(sums), list(errors)), found)
