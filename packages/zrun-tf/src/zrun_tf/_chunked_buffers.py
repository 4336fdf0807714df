"""Rows on their way into TensorFlow: without a copy where their memory can be shared, and out of mapped files."""

from __future__ import annotations

import contextlib
import mmap
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import tensorflow as tf

from ._compat import byte_bounds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    Array: TypeAlias = "np.ndarray[Any, Any]"

# TensorFlow takes memory over only where it starts at a multiple of this many bytes.
_ALIGNMENT: Final = 64


def empty(rows: int, like: Array) -> Array:
    """An uninitialised array of so many rows that TensorFlow can take over as it is."""
    shape, dtype = (rows, *like.shape[1:]), like.dtype.newbyteorder("=")
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    raw = np.empty(size + _ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    whole: Array = raw[start : start + size].view(dtype).reshape(shape)
    return whole


def to_tensor(array: Any, *, share: bool) -> tf.Tensor:
    """A tensor of these rows.

    Args:
        array: the rows.
        share: whether the tensor may be another view of the memory of a NumPy array. The caller must then hold both
            until nothing reads the tensor any more.
    """
    if isinstance(array, tf.Tensor):
        return array
    if share and _can_be_shared(array):
        return tf.experimental.dlpack.from_dlpack(array.__dlpack__())
    return tf.constant(array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("=")))


def _can_be_shared(array: Array) -> bool:
    flags = array.flags
    return bool(
        flags.c_contiguous
        and flags.writeable
        and array.size > 0
        and array.dtype.isnative
        and array.dtype.kind in "iuf"
        and array.ctypes.data % _ALIGNMENT == 0
    )


def first_shared_row(arrays: Sequence[Any]) -> int:
    """The first row at which all arrays can be cut so that TensorFlow can take over what follows; 0 if there is none.

    NumPy's own memory starts a few bytes off the multiple that TensorFlow wants.
    """
    for row in range(_ALIGNMENT):
        if all(_starts_well(array, row) for array in arrays):
            return row
    return 0


def _starts_well(array: Any, row: int) -> bool:
    if isinstance(array, tf.Tensor):
        return bool(row * tf.as_dtype(array.dtype).size % _ALIGNMENT == 0)
    if is_mapped(array) or not array.flags.c_contiguous or not array.ndim:
        return True
    return bool((array.ctypes.data + row * array.strides[0]) % _ALIGNMENT == 0)


def mapped_file(array: Any) -> Any:
    """The memory map that holds an array, or None if it lies in memory."""
    while isinstance(array, (np.ndarray, memoryview)):
        array = array.obj if isinstance(array, memoryview) else array.base
    return array if isinstance(array, mmap.mmap) else None


def is_mapped(array: Any) -> bool:
    """Whether an array is read from a file when it is used."""
    return mapped_file(array) is not None


def from_file(piece: Array) -> Array:
    """The rows of a piece of a mapped file, read into memory; the pages that held them are given back.

    Pages that were read count as memory of the process until the kernel wants them back, so that a pass over a large
    file would seem to take all of it.
    """
    rows = empty(len(piece), piece)
    np.copyto(rows, piece)
    _give_back(piece)
    return rows


def _give_back(piece: Array) -> None:
    base: Any = piece
    held = mapped_file(piece)
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    # Pages of a copy-on-write map hold changes that exist nowhere else.
    if getattr(base, "mode", "c") == "c" or not hasattr(held, "madvise") or not piece.size:
        return
    low, high = byte_bounds(piece)
    start = np.frombuffer(held, np.uint8).ctypes.data
    first = (low - start) // mmap.PAGESIZE * mmap.PAGESIZE
    with contextlib.suppress(OSError, ValueError):
        held.madvise(mmap.MADV_DONTNEED, first, min(high - start, len(held)) - first)
