"""A piece over the blocks of some rows, as a loop in a graph: one call for as many blocks as there are.

A block fits into the cache of the processor with everything that is computed of it. Its results are added up with
their rounding errors; see `_chunked_sums`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from ._autograph import leave_alone
from ._chunked_counts import HELD
from ._chunked_sums import two_sum

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    Compute: TypeAlias = Callable[[list[tf.Tensor]], Sequence[tf.Tensor]]


def sum_blocks(
    compute: Compute, outputs: Sequence[tf.TensorSpec], rows: Sequence[tf.Tensor], block: int | tf.Tensor
) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """Add up what a piece gives for each block.

    Args:
        compute: the piece, from rows to results.
        outputs: shapes and dtypes of the results.
        rows: arrays of the same number of rows, which need not be known.
        block: rows of each block; the last one may have fewer.

    Returns:
        The sums, and the rounding errors to be added to them.
    """
    n_rows = _count(rows[0])
    if isinstance(n_rows, int) and isinstance(block, int) and n_rows <= block:
        # XLA refuses to cut a block from fewer rows, even where it never does.
        whole = _results(compute, list(rows))
        return whole, [tf.zeros_like(part) for part in whole]
    n_blocks = n_rows // block
    if all(spec.shape.is_fully_defined() for spec in outputs):
        zeros = [tf.zeros(spec.shape, spec.dtype) for spec in outputs]
    else:
        zeros = [tf.zeros_like(part) for part in _results(compute, [array[:0] for array in rows])]

    def step(i: tf.Tensor, sums: list[tf.Tensor], errors: list[tf.Tensor]) -> Any:
        return i + 1, *add_term(sums, errors, _results(compute, [_block(array, i * block, block) for array in rows]))

    _, sums, errors = tf.while_loop(
        lambda i, *_: i < n_blocks, step, (tf.constant(0, tf.int64), zeros, zeros), parallel_iterations=1
    )
    start = n_blocks * block

    def rest() -> list[tf.Tensor]:
        return _results(compute, [array[start:] for array in rows])

    if isinstance(n_rows, int) and isinstance(block, int):
        last = rest() if start < n_rows else None
    else:
        last = tf.cond(start < n_rows, rest, lambda: zeros)
    return (sums, errors) if last is None else add_term(sums, errors, last)


def add_term(
    sums: Sequence[tf.Tensor], errors: Sequence[tf.Tensor], term: Sequence[tf.Tensor]
) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """Add one term to sums, and the rounding errors of that to the errors."""
    added = [
        two_sum(total, part) if _rounds(part) else (total + part, 0) for total, part in zip(sums, term, strict=True)
    ]
    return [total for total, _ in added], [e + new for e, (_, new) in zip(errors, added, strict=True)]


def map_blocks(
    compute: Compute, outputs: Sequence[tf.TensorSpec], rows: Sequence[tf.Tensor], block: int
) -> list[tf.Tensor]:
    """Concatenate what a piece gives for each block; see `sum_blocks`."""
    n_rows = _count(rows[0])
    n_blocks = n_rows // block
    cut = n_blocks * block
    full = [tf.reshape(a[:cut], tf.concat([[n_blocks, block], tf.shape(a)[1:]], axis=0)) for a in rows]
    full = [tf.ensure_shape(f, [None, block, *a.shape[1:]]) for f, a in zip(full, rows, strict=True)]
    specs = [tf.TensorSpec([block, *spec.shape[1:]], spec.dtype) for spec in outputs]

    @leave_alone
    def one(blocks: list[tf.Tensor]) -> list[tf.Tensor]:
        parts = zip(_results(compute, blocks), specs, strict=True)
        return [tf.ensure_shape(part, spec.shape, name=HELD) for part, spec in parts]

    mapped = tf.map_fn(one, full, fn_output_signature=specs, parallel_iterations=1)
    joined = [tf.reshape(m, tf.concat([[cut], tf.shape(m)[2:]], axis=0)) for m in mapped]
    if isinstance(n_rows, int):
        last = _results(compute, [array[cut:] for array in rows]) if cut < n_rows else None
    else:
        empty = [tf.zeros([0, *spec.shape[1:]], spec.dtype) for spec in outputs]
        last = tf.cond(cut < n_rows, lambda: _results(compute, [array[cut:] for array in rows]), lambda: empty)
    if last is None:
        return joined
    return [tf.concat([part, end], axis=0) for part, end in zip(joined, last, strict=True)]


def settled(sums: Sequence[tf.Tensor], errors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """The errors of sums that are finite; that of an infinite sum is no number, and does not count."""
    pairs = zip(sums, errors, strict=True)
    return [tf.where(tf.math.is_finite(tf.abs(s)), e, tf.zeros_like(e)) if _rounds(s) else e for s, e in pairs]


def _rounds(part: tf.Tensor) -> bool:
    return bool(part.dtype.is_floating or part.dtype.is_complex)


def _results(compute: Compute, rows: list[tf.Tensor]) -> list[tf.Tensor]:
    return list(compute(rows))


def _count(array: tf.Tensor) -> int | tf.Tensor:
    known = array.shape[0]
    return tf.shape(array, out_type=tf.int64)[0] if known is None else int(known)


def _block(array: tf.Tensor, start: tf.Tensor, block: int | tf.Tensor) -> tf.Tensor:
    rest = array.shape.rank - 1
    size = tf.constant([block, *[-1] * rest], tf.int64) if isinstance(block, int) else tf.stack([block, *[-1] * rest])
    return tf.slice(array, tf.stack([start, *[0] * rest]), size)
