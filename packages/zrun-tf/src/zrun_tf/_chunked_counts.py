"""Whether a function returns a value for each row of a chunk: seen when it is traced, or else when its graph runs.

A graph is traced for any number of rows, and TensorFlow then says of most results that their first axis is not known,
whether the function keeps all rows or not. So shapes are inferred again for two numbers of rows, which tells for most
functions. Where it does not (after a mask, or in Python called from the graph), the graph counts: for nothing where XLA
compiles it, and by a few operations on single numbers for each block where it does not.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import tensorflow as tf

from zrun_core.errors import ChunkError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HELD: Final = "func_must_return_a_value_for_each_row"
"""What operations are called in a graph that fail where it does not."""

# Some functions treat very few rows, or very many, in another way.
_TRIED: Final = (7, 1_000_003)


def check_rows(name: str, value: tf.Tensor, array: Any, what: str) -> None:
    """Refuse a result that cannot have the rows of the chunk; while tracing, their number is not known.

    Args:
        name: of the function, for messages.
        value: what it returned.
        array: rows of the chunk.
        what: it must return, for messages.

    Raises:
        ChunkError: the result has no rows, or another number of them.
    """
    rows, own = tf.TensorShape(array.shape)[0], value.shape.rank and value.shape[0]
    if value.shape.rank == 0 or (own is not None and own != rows):
        raise ChunkError(
            f"{name} must return {what}: a tensor whose first axis are the rows of the chunk; got shape "
            f"{tuple(value.shape)} for {'any number of' if rows is None else rows} rows. Leave out the tf.reduce_sum, "
            f"or use axes after the first. {_next_step(per_row=False)}"
        )


def unproven(name: str, values: Sequence[tf.Tensor], rows: Sequence[Any], *, per_row: bool) -> list[tf.Tensor]:
    """Those results of which it cannot be known before the graph runs whether they have the rows of the chunk.

    Args:
        name: of the function, for messages.
        values: what it returned.
        rows: arrays of the chunk, placeholders of the graph that is being built.
        per_row: whether its values are concatenated, rather than added up.

    Raises:
        ChunkError: a result has another number of rows for any number of rows.
    """
    open_ones = [value for value in values if _is_open(value)]
    if not open_ones or any(tensor.graph is not open_ones[0].graph for tensor in (*open_ones, *rows)):
        return open_ones
    try:
        few, many = _inferred(open_ones, rows)
    except ValueError:
        # Not every graph can be imported: one with a very large constant in it, for example.
        return open_ones
    left = []
    for value, small, large in zip(open_ones, few, many, strict=True):
        if None not in (small, large) and small != _TRIED[0] and large != _TRIED[1]:
            check_counts(name, _TRIED[0], small, per_row=per_row)
        if (small, large) != _TRIED:
            left.append(value)
    return left


def _inferred(values: Sequence[tf.Tensor], rows: Sequence[Any]) -> list[list[Any]]:
    """The lengths of results for each number of rows that is tried; None where TensorFlow cannot tell."""
    definition = values[0].graph.as_graph_def()
    names = [value.name for value in values]
    found = []
    for n in _TRIED:
        with tf.Graph().as_default():
            given = {array.name: tf.compat.v1.placeholder(array.dtype, [n, *array.shape[1:]]) for array in rows}
            parts = tf.graph_util.import_graph_def(definition, input_map=given, return_elements=names, name="")
            found.append([part.shape[0] if part.shape.rank else None for part in parts])
    return found


def miscounted(values: Sequence[tf.Tensor], array: Any) -> list[tf.Tensor]:
    """Rows of the chunk, and values returned for them, where these differ; else zeros.

    Args:
        values: results that are `unproven`.
        array: rows of the chunk.

    Returns:
        One int64 tensor of shape `(2,)`, which adds up over blocks; none where there are no such results.
    """
    if not values:
        return []
    rows = tf.shape(array, out_type=tf.int64)[0]
    wrong = tf.zeros([2], tf.int64)
    for value in values:
        own = tf.shape(value, out_type=tf.int64)[0]
        wrong = tf.where(tf.equal(own, rows), wrong, tf.stack([rows, own]))
    return [wrong]


def check_counts(name: str, rows: int, values: int, *, per_row: bool) -> None:
    """Refuse what a graph has returned.

    Args:
        name: of the function, for messages.
        rows: given to it.
        values: it has returned.
        per_row: whether its values are concatenated, rather than added up.

    Raises:
        ChunkError: the numbers differ.
    """
    if rows != values:
        raise ChunkError(f"{_rule(name)}; got {values} for {rows} rows. {_next_step(per_row=per_row)}")


def held(name: str, value: tf.Tensor, array: Any, *, per_row: bool, jit: bool) -> tf.Tensor:
    """A result in a graph that fails when it runs, or is compiled, where the result has not the rows of the chunk.

    Args:
        name: of the function, for messages.
        value: what it returned, if `unproven`.
        array: rows of the chunk.
        per_row: whether its values are concatenated, rather than added up.
        jit: whether the graph is compiled.
    """
    rows, own = tf.shape(array)[0], tf.shape(value)[0]
    if not jit:
        says = [f"{_rule(name)}; got", own, "for", rows, f"rows. {_next_step(per_row=per_row)}"]
        with tf.control_dependencies([tf.debugging.Assert(tf.equal(own, rows), says)]):
            return tf.identity(value)
    # XLA drops assertions, and refuses a wrong shape, unless it is known only when the program runs (after a mask).
    with tf.name_scope(HELD):
        whole = tf.reshape(value, tf.concat([[rows], tf.shape(value)[1:]], axis=0))
        if not (value.dtype.is_floating or value.dtype.is_complex):
            return whole
        return tf.where(tf.equal(own, rows), whole, tf.cast(float("nan"), value.dtype))


@contextmanager
def told(name: str, *, per_row: bool) -> Iterator[None]:
    """Say in other words what TensorFlow says of a wrong shape when a graph with `held` results is built.

    Args:
        name: of the function, for messages.
        per_row: whether its values are concatenated, rather than added up.

    Raises:
        ChunkError: TensorFlow has found that a result has not the rows of the chunk.
    """
    try:
        yield
    except (TypeError, ValueError) as error:
        text = str(error)
        if HELD not in text:
            raise
        # What follows are names of operations.
        found = text.partition(" for '{{node")[0].splitlines()[-1].rpartition("due to: ")[2]
        raise ChunkError(f"{_rule(name)}; TensorFlow found: {found} {_next_step(per_row=per_row)}") from error


def _is_open(value: tf.Tensor) -> bool:
    return value.shape.rank is not None and value.shape.rank > 0 and value.shape[0] is None


def _rule(name: str) -> str:
    return f"{name} must return a value for each row: a tensor whose first axis are the rows of the chunk"


def _next_step(*, per_row: bool) -> str:
    if per_row:
        return "To leave rows out, mark them in what is returned, and select after chunked_map."
    return "To leave rows out of a sum, return zero for them (tf.where), or the sum over the chunk (tf.reduce_sum)."
