"""Rows of data as a chunked computation reads them: aligned arrays, of which each chunk has some rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tensorflow as tf

from zrun_core._chunks import check_aligned
from zrun_core.errors import ChunkError

from ._chunked_buffers import first_shared_row, from_file, is_mapped
from ._data import refuse_masked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Layout(NamedTuple):
    """How a chunk is given to the user's function; hashable."""

    form: str
    names: tuple[Any, ...]

    def pack(self, leaves: Sequence[Any]) -> Any:
        """The chunk: one array, a tuple of arrays, or a dict of them."""
        if self.form == "array":
            return leaves[0]
        return dict(zip(self.names, leaves, strict=True)) if self.form == "dict" else tuple(leaves)


def take_apart(data: Any, argument: str = "data") -> tuple[Layout, list[Any], list[str]]:
    """The layout of data that are arrays, the arrays, and what each is called in messages.

    Raises:
        ChunkError: there is no array, or one has no rows to cut.
        TypeError: something in it is no array of numbers.
    """
    if isinstance(data, Mapping):
        layout = Layout("dict", tuple(data))
        named = [(f"{argument}[{name!r}]", part) for name, part in data.items()]
    elif isinstance(data, (list, tuple)) and (not data or not all(isinstance(part, (int, float)) for part in data)):
        layout = Layout("tuple", (None,) * len(data))
        named = [(f"{argument}[{place}]", part) for place, part in enumerate(data)]
    else:
        layout, named = Layout("array", (None,)), [(argument, data)]
    if not named:
        raise ChunkError(
            f"{argument} must hold at least one array, to know the number of rows; got {data!r}. Data without rows "
            f"are an array too, such as numpy.empty(0)."
        )
    return layout, [as_array(name, part) for name, part in named], [name for name, _ in named]


def as_array(name: str, value: Any) -> Any:
    """A NumPy array or a tensor with rows.

    Raises:
        ChunkError: it has no first axis.
        TypeError: it is not made of numbers.
        ValueError: it has masked values.
    """
    if isinstance(value, tf.Variable):
        value = tf.convert_to_tensor(value)
    if not isinstance(value, (tf.Tensor, np.ndarray)):
        numbers = isinstance(value, (list, tuple)) and bool(value)
        value = np.asarray(value, np.float64) if numbers else np.asarray(value)
    rank = value.shape.rank if isinstance(value, tf.Tensor) else value.ndim
    if rank is None:
        raise ChunkError(
            f"{name} must have a known number of axes; got a tensor of unknown shape. Use tf.ensure_shape."
        )
    if rank == 0:
        raise ChunkError(
            f"{name} must be an array whose first axis are the rows; got the single value {value!r}. Pass what is the "
            f"same for all rows after the data, as further arguments."
        )
    if isinstance(value, np.ndarray):
        refuse_masked(name, value)
        try:
            known = value.dtype.kind not in "OUSMmV" and tf.as_dtype(value.dtype) is not None
        except TypeError:
            known = False
        if not known:
            raise TypeError(
                f"{name} must be an array of numbers that TensorFlow knows; got {type(value).__name__} of dtype "
                f"{value.dtype}. Convert it, for example with .astype(numpy.float64)."
            )
    return value


class Source(ABC):
    """Where chunks come from.

    Attributes:
        n_rows: number of rows; None where only reading tells.
        row_bytes: bytes of one row; None before the first was read.
        again: whether the rows can be read more than once.
    """

    n_rows: int | None
    row_bytes: int | None
    again: bool

    @property
    @abstractmethod
    def layout(self) -> Layout:
        """How the user's function gets a chunk."""

    @abstractmethod
    def chunks(self, size: int, *, share: bool) -> Iterator[list[Any]]:
        """The rows in order, as lists of arrays or tensors.

        Args:
            size: rows of each chunk; the last one may have fewer.
            share: whether they are to be cut where TensorFlow can take over their memory, so that the first one may
                have fewer rows too.
        """


class ArraySource(Source):
    """Rows of arrays that can be indexed: NumPy arrays, memory-mapped or not, and tensors.

    Args:
        layout: how a chunk is given to the user's function.
        arrays: aligned arrays.
        names: what each is called in messages.

    Attributes:
        mapped: whether rows are read from a file when they are used.

    Raises:
        ChunkError: they have different numbers of rows.
    """

    again = True

    n_rows: int

    def __init__(self, layout: Layout, arrays: Sequence[Any], names: Sequence[str]) -> None:
        self._layout = layout
        self.arrays = list(arrays)
        lengths = {name: array.shape[0] for name, array in zip(names, arrays, strict=True)}
        # In a graph that is being built, a length may not be known.
        self.n_rows = check_aligned({name: n for name, n in lengths.items() if n is not None} or {names[0]: 0})
        self.row_bytes = row_bytes(self.arrays)
        self.mapped = any(map(is_mapped, self.arrays))
        self._sliced: tuple[int, list[list[Any]]] = (0, [])
        # What lies in memory as tensors is cut once, for all calls: the pieces share its memory.
        self._keeps = all(isinstance(array, tf.Tensor) for array in self.arrays)

    @property
    def layout(self) -> Layout:
        """How the user's function gets a chunk."""
        return self._layout

    def chunks(self, size: int, *, share: bool) -> Iterator[list[Any]]:
        """The rows in order; see `Source`."""
        if not self._keeps:
            first = min(first_shared_row(self.arrays), self.n_rows) if share else 0
            if first:
                yield self._piece(0, first)
            yield from (self._piece(start, size) for start in range(first, self.n_rows, size))
            return
        if size >= self.n_rows:
            yield from [list(self.arrays)] if self.n_rows else []
            return
        kept, pieces = self._sliced
        if kept != size:
            pieces = [self._piece(start, size) for start in range(0, self.n_rows, size)]
            self._sliced = (size, pieces)
        yield from pieces

    def _piece(self, start: int, size: int) -> list[Any]:
        stop = min(start + size, self.n_rows)
        return [_piece(array, start, stop) for array in self.arrays]


def row_bytes(arrays: Sequence[Any]) -> int:
    """Bytes of one row, over all arrays; at least 1."""
    sizes = [
        int(np.prod([n or 1 for n in tuple(a.shape)[1:]], dtype=np.int64)) * tf.as_dtype(a.dtype).size for a in arrays
    ]
    return max(1, int(sum(sizes)))


def _piece(array: Any, start: int, stop: int) -> Any:
    """Some rows, without a copy where they lie in memory."""
    if isinstance(array, tf.Tensor):
        return array if (start, stop) == (0, array.shape[0]) else array[start:stop]
    piece = array[start:stop]
    return from_file(piece) if is_mapped(array) else piece


def empty_chunk(source: Any) -> list[Any]:
    """A chunk without rows.

    Raises:
        ChunkError: nothing says what rows look like, because they come in batches and there was none.
    """
    if isinstance(source, ArraySource):
        return [np.asarray(array[:0]) for array in source.arrays]
    # Raises, or has seen batches without rows.
    return source.empty()  # type: ignore[no-any-return]
