"""Rows that come as batches, one after another: iterators, functions that return one, `tf.data`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from zrun_core._chunks import check_aligned
from zrun_core.errors import ChunkError

from ._chunked_buffers import empty
from ._chunked_parquet import batches_of
from ._chunked_rows import ArraySource, Layout, Source, row_bytes, take_apart

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ._chunked_buffers import Array


def source_of(data: Any, weights: Any = None) -> Source:
    """The rows of data, and their weights as a last array besides, if there are any.

    Args:
        data: what `chunked_sum` takes.
        weights: one weight for each row, or None.

    Raises:
        ChunkError: arrays have different numbers of rows, or weights are given with batches.
        TypeError: it is of a kind that has no rows.
    """
    if isinstance(data, (ArraySource, StreamSource)):
        return data
    batches = batches_in(data)
    if batches is None:
        layout, arrays, names = take_apart(data)
        if weights is not None:
            arrays, names = [*arrays, _weights(weights)], [*names, "weights"]
        return ArraySource(layout, arrays, names)
    if weights is not None:
        raise ChunkError(
            f"weights are for data that are arrays; got a {type(data).__name__}, whose rows come in batches. Put the "
            f"weights into the batches, as in (x, weights), and multiply by them in the function."
        )
    return StreamSource(*batches)


def _weights(weights: Any) -> Any:
    _, arrays, names = take_apart(weights, "weights")
    if len(arrays) != 1 or len(arrays[0].shape) != 1:
        raise ChunkError(f"weights must be one array of shape (n,), a weight for each row; got {', '.join(names)}.")
    return arrays[0]


def batches_in(data: Any) -> tuple[Callable[[], Iterable[Any]], bool, str] | None:
    """A function that starts reading, whether it can be called again, and what to call it; None for arrays."""
    kind = type(data).__name__
    if isinstance(data, tf.data.Dataset):
        flat = tf.nest.flatten(data.element_spec)
        single = any(getattr(spec, "shape", tf.TensorShape([1])).rank == 0 for spec in flat)
        return (data.batch(1024) if single else data).__iter__, True, "the dataset"
    if isinstance(data, (tf.Tensor, tf.Variable, np.ndarray, np.generic, str, bytes)):
        found = batches_of(data)
        return None if found is None else (found, True, repr(data))
    if (found := batches_of(data)) is not None:
        return found, True, f"the {kind}"
    if (
        isinstance(data, (list, tuple, dict))
        or hasattr(data, "__array__")
        or not (callable(data) or isinstance(data, Iterable))
    ):
        return None
    if isinstance(data, Iterator):
        return _once(data), False, f"the {kind}"
    if isinstance(data, Iterable):
        return data.__iter__, True, f"the {kind}"
    return data, True, getattr(data, "__qualname__", kind)


def _once(iterator: Iterator[Any]) -> Callable[[], Iterator[Any]]:
    rest = [iterator]

    def start() -> Iterator[Any]:
        if not rest:
            raise ChunkError(
                f"The rows are needed again, but a {type(iterator).__name__} can be read once only. Pass a function "
                f"that returns a new iterator each time, or a list, an array or a tf.data.Dataset."
            )
        return rest.pop()

    return start


class StreamSource(Source):
    """Rows that come in batches of any size; chunks are made up from them.

    Args:
        start: called for each pass over the rows; returns an iterable of batches.
        again: whether it can be called more than once.
        name: for messages.
    """

    n_rows = None

    def __init__(self, start: Callable[[], Iterable[Any]], again: bool, name: str) -> None:
        self._start = start
        self.again = again
        self.name = name
        self.row_bytes: int | None = None
        self._layout: Layout | None = None
        self._like: list[tuple[Any, tuple[int, ...]]] = []
        self._begun: Iterator[Sequence[Array]] | None = None

    @property
    def layout(self) -> Layout:
        """How a chunk is given to the user's function, which the first batch tells; the next pass goes on from it.

        Raises:
            ChunkError: there is no batch.
        """
        if self._layout is None:
            # Where a graph is being built, batches are read outside of it.
            with tf.init_scope():
                batches = self._batches()
                first = next(batches, None)
            if first is None:
                raise ChunkError(f"{self.name} gave no batches, so that nothing says what its rows look like.")
            self._begun = chain([first], batches)
        assert self._layout is not None
        return self._layout

    def _batches(self) -> Iterator[Sequence[Array]]:
        begun, self._begun = self._begun, None
        if begun is not None:
            return begun
        return (self._checked(batch, number) for number, batch in enumerate(iter(self._start())))

    def chunks(self, size: int, *, share: bool) -> Iterator[list[Any]]:  # noqa: ARG002 - see `Source`
        """The rows in order; see `Source`."""
        filling: list[Array] = []
        filled = 0
        for arrays in self._batches():
            n_rows, taken = len(arrays[0]), 0
            if filled == 0 and n_rows == size:
                yield list(arrays)
                continue
            while taken < n_rows:
                if filled == 0:
                    filling = [empty(size, array) for array in arrays]
                count = min(size - filled, n_rows - taken)
                for whole, array in zip(filling, arrays, strict=True):
                    whole[filled : filled + count] = array[taken : taken + count]
                filled, taken = filled + count, taken + count
                if filled == size:
                    yield filling
                    filled = 0
        if filled:
            yield [whole[:filled] for whole in filling]

    def empty(self) -> list[Array]:
        """A chunk without rows, where batches came but none had any."""
        return [np.empty((0, *shape), dtype) for dtype, shape in self._like]

    def _checked(self, batch: Any, number: int) -> Sequence[Array]:
        layout, arrays, names = take_apart(batch, f"batch {number} of {self.name}")
        check_aligned({name: len(array) for name, array in zip(names, arrays, strict=True)})
        arrays = [np.asarray(array) for array in arrays]
        if self._layout is None:
            self._layout, self.row_bytes = layout, row_bytes(arrays)
            self._like = [(array.dtype, array.shape[1:]) for array in arrays]
        found = [(array.dtype, array.shape[1:]) for array in arrays]
        if layout != self._layout or found != self._like:
            raise ChunkError(
                f"batch {number} of {self.name} must look like the first, {_text(self._layout, self._like)}; got "
                f"{_text(layout, found)}. Cast or reshape the batches where they are made."
            )
        return arrays


def _text(layout: Layout, arrays: Sequence[tuple[Any, tuple[int, ...]]]) -> str:
    return str(layout.pack([f"{dtype} {('rows', *shape)}".replace("'", "") for dtype, shape in arrays]))
