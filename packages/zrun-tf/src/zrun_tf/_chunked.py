"""`chunked_sum` and `chunked_map`: functions of rows, evaluated a part of the rows at a time."""

from __future__ import annotations

import inspect
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import tensorflow as tf

from zrun_core._manager import UNSET
from zrun_core._scope import current
from zrun_core._structure import flatten

from ._autograph import leave_alone
from ._chunked_evaluate import Task
from ._chunked_link import linked
from ._chunked_piece import Call, Piece
from ._chunked_plan import check_chunksize
from ._chunked_streams import source_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from zrun_core._policy import Chunksize

    from ._chunked_rows import Layout, Source

_pieces: WeakKeyDictionary[Any, dict[bool, Piece]] = WeakKeyDictionary()


@leave_alone
def chunked_sum(
    func: Callable[..., Any],
    data: Any,
    *args: Any,
    weights: Any = None,
    chunksize: Chunksize = UNSET,
    progress: bool | None = None,
) -> Any:
    """The sum of a function over rows of data, computed a chunk of rows at a time.

    Args:
        func: called as `func(chunk, *args)`; returns a tensor whose first axis are the rows of the chunk, of shape
            `(rows,)` or `(rows, ...)`, or a tuple, list or dict of such. A single value, of shape `()`, is taken for
            the sum over the rows of the chunk, and a `ChunkError` says so where it is not.
        data: the rows, as an array or tensor of shape `(n, ...)`; several aligned arrays as a tuple or list, passed as
            `func(x, y, *args)`; or a dict of arrays, passed as one dict. Arrays may be memory-mapped
            (`numpy.load(path, mmap_mode="r")`). Or batches of rows, each like one of these: a `tf.data.Dataset`, an
            iterable or iterator of batches, or a function without arguments that returns one. Or, with pyarrow, the
            columns of numbers of a Parquet file (its path, a `ParquetFile`), of a dataset, scanner or table, as a dict.
        *args: passed on to `func`; tensors, variables, floats, and structures of them. Derivatives are with respect to
            these, to variables that `func` reads, and to data that are tensors.
        weights: one for each row, shape `(n,)`, which the values of the row are multiplied by; None: all are 1.
        chunksize: rows computed at once; `"auto"`: as many as turn out to be fastest; None: all, in one piece. Left
            out, as the policy says (`run.chunksize`), where None stands for `"auto"`.
        progress: whether a bar is shown after two seconds; None: where standard error is a terminal and tqdm is
            installed.

    Returns:
        Tensors in the structure that `func` returns, without the first axis, of its dtypes (integers: int64). Sums are
        computed in float64 and compensated, so that they do not depend on how the rows are cut beyond 1e-12.

    Raises:
        ChunkError: arrays have different numbers of rows, batches differ, rows cannot be read again for a derivative,
            or `func` returns something that is no sum, or another number of values than it was given rows. Inside a
            graph, that may be found when it runs: an `InvalidArgumentError` of TensorFlow with the same text, or, with
            XLA, NaN where the number depends on the values of the data.
        TypeError: data are of a kind that has no rows.
        ValueError: an array has masked values.
        KeyboardInterrupt: Ctrl-C, between chunks; the message says how many were done.

    Where the policy says that losses build graphs, `func` is traced once, for any number of rows, and run in as many
    threads as CPUs can be leased; with `jit` it is compiled with XLA. The next chunks are read meanwhile. Derivatives,
    of any order, are passes over the rows of their own and take no more memory. Inside a graph that is being built,
    all of it becomes a loop of that graph.

    Scope: reads the policy of the context; leases CPUs of the process for the time of the call, without waiting.

    Example:
        >>> import numpy as np, tensorflow as tf, zrun_tf as zrun
        >>> data = np.linspace(-1.0, 1.0, 100_001)
        >>> mu = tf.Variable(0.5, dtype=tf.float64)
        >>> with tf.GradientTape() as tape:
        ...     total = zrun.chunked_sum(lambda x: (x - mu) ** 2, data, chunksize=10_000)
        >>> round(float(total), 6), round(float(tape.gradient(total, mu)), 6)
        (58334.58334, 100001.0)
    """
    return _chunked("chunked_sum", func, data, args, weights, chunksize, progress, per_row=False)


@leave_alone
def chunked_map(
    func: Callable[..., Any],
    data: Any,
    *args: Any,
    chunksize: Chunksize = UNSET,
    progress: bool | None = None,
) -> Any:
    """A function of rows of data, computed a chunk of rows at a time, with its results concatenated.

    Args:
        func: as for `chunked_sum`; must return a value for each row.
        data: as for `chunked_sum`.
        *args: as for `chunked_sum`.
        chunksize: as for `chunked_sum`.
        progress: as for `chunked_sum`.

    Returns:
        Tensors in the structure that `func` returns, of its dtypes, with a row for each row of the data. Only these
        take memory in proportion to the data.

    Raises:
        ChunkError: as for `chunked_sum`.
        TypeError: as for `chunked_sum`.
        ValueError: as for `chunked_sum`.
        KeyboardInterrupt: as for `chunked_sum`.

    Derivatives are those of `chunked_sum`, where the data are arrays.

    Scope: as for `chunked_sum`.

    Example:
        >>> import numpy as np, zrun_tf as zrun
        >>> zrun.chunked_map(lambda x, scale: scale * x, np.arange(5.0), 2.0, chunksize=2).numpy()
        array([0., 2., 4., 6., 8.])
    """
    return _chunked("chunked_map", func, data, args, None, chunksize, progress, per_row=True)


def _chunked(
    what: str,
    func: Callable[..., Any],
    data: Any,
    args: tuple[Any, ...],
    weights: Any,
    chunksize: Any,
    progress: bool | None,
    *,
    per_row: bool,
) -> Any:
    if not callable(func):
        raise TypeError(
            f"{what} takes a function of rows as its first argument; got {func!r}. Write {what}(func, data)."
        )
    if progress not in (None, True, False):
        raise TypeError(f"progress must be True, False or None (on a terminal); got {progress!r}.")
    if chunksize is UNSET:
        policy = current().chunksize
        chunksize = "auto" if policy is None else policy
    chunksize = check_chunksize(chunksize)
    source = source_of(data, weights)
    task = _task(func, source, args, weights is not None, per_row)
    found = linked(task._replace(chunksize=chunksize, progress=progress))
    outputs = [tf.cast(part, dtype) for part, dtype in zip(found.outputs, found.notes.dtypes, strict=True)]
    return tf.nest.pack_sequence_as(found.notes.structure, outputs)


def _task(func: Callable[..., Any], source: Source, args: tuple[Any, ...], weighted: bool, per_row: bool) -> Task:
    """The task of a user's function, before the chunk size is known."""
    layout = source.layout
    n_arrays = len(layout.names) + weighted
    call = Call(func, tuple(map(_as_tensors, args)), layout, _is_unpacked(func, layout, len(args)), weighted)
    piece = _piece_of(func, per_row)
    return Task(piece, call, source, (0,) * n_arrays, (), "auto", None)


def _as_tensors(arg: Any) -> Any:
    """An argument with its NumPy arrays as tensors, converted once instead of for each chunk."""
    flat = flatten(arg)
    leaves = [tf.constant(leaf) if isinstance(leaf, (np.ndarray, np.generic)) else leaf for leaf in flat.leaves]
    return flat.rebuild(leaves)


def _is_unpacked(func: Callable[..., Any], layout: Layout, n_args: int) -> bool:
    """Whether several arrays are passed one by one; a function that cannot take them so gets one tuple."""
    if layout.form != "tuple":
        return False
    try:
        signature = inspect.signature(func)
        signature.bind(*[None] * (len(layout.names) + n_args))
    except ValueError:
        return True
    except TypeError:
        try:
            signature.bind(*[None] * (1 + n_args))
        except TypeError:
            return True
        return False
    return True


def _piece_of(func: Callable[..., Any], per_row: bool) -> Piece:
    """What is computed of chunks of a function: one for all functions that one piece of code makes.

    So a lambda that is made anew for each call is seen to be traced each time, and warned about.
    """
    function = getattr(func, "__func__", func)
    function = getattr(function, "python_function", function)
    made: dict[bool, Piece] = {}
    # A callable object may be neither hashable nor weakly referable; then it is on its own each time.
    with suppress(TypeError):
        made = _pieces.setdefault(getattr(function, "__code__", function), made)
    return made.setdefault(per_row, Piece(per_row))
