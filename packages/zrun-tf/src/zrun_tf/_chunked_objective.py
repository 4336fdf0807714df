"""An objective whose loss is a sum over rows of its data, computed chunk by chunk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

import numpy as np
import tensorflow as tf

from zrun_core._scope import current
from zrun_core._structure import flatten
from zrun_core.errors import ChunkError

from ._autograph import leave_alone
from ._chunked_arguments import ChunkArguments
from ._chunked_buffers import is_mapped
from ._chunked_graph import ChunkFunction
from ._chunked_parquet import names_parquet
from ._chunked_pass import Work, passed
from ._chunked_piece import notes
from ._chunked_plan import check_chunksize
from ._chunked_rows import ArraySource, Layout, as_array
from ._chunked_streams import StreamSource, batches_in
from ._data import as_array as as_data
from ._leaves import ChunkRows, RowData
from ._losses import LossFunctions
from ._problem import COMPUTE, Problem
from ._run import run as manager

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from zrun_core._policy import Chunksize

    from ._carried import Carried
    from ._chunked_rows import Source
    from ._parameters import Bound


_SMALL: Final = 1000


class _Result:
    """An array where a tensor is expected, which need not be made of it."""

    __slots__ = ("_array",)

    def __init__(self, array: Any) -> None:
        self._array = array

    def numpy(self) -> Any:
        """The array."""
        return self._array


class ChunkedFunctions(LossFunctions):
    """What an objective computes, chunk by chunk.

    Args:
        loss: the loss; returns the sum over the rows that it is given.
        chunksize: rows computed at once, or `"auto"`.
    """

    def __init__(self, loss: Callable[..., Any], chunksize: Chunksize) -> None:
        self._chunksize = check_chunksize(chunksize)
        super().__init__(loss)
        self._of_chunks = _functions_of(loss)
        self._source: tuple[list[RowData], Any] = ([], None)

    def other_state(self) -> tuple[Any, ...]:
        """See `LossFunctions.other_state`."""
        return self._of_chunks.other_state()

    def inputs(self, data: dict[str, Any]) -> dict[str, Any]:
        """The data with arrays as rows: copied once, unless they are in a mapped file.

        Raises:
            ChunkError: there are no rows, or arrays have different numbers of them.
        """
        return {name: self._input(name, value) for name, value in data.items()}

    def _input(self, name: str, value: Any) -> Any:
        # Other text is an option of the loss.
        batches = None if isinstance(value, str) and not names_parquet(value) else batches_in(value)
        return _in_memory(name, value) if batches is None else RowData(name, StreamSource(*batches))

    def run(self, what: str, carried: Carried, x: Any) -> Any:
        """Compute `"value"`, `"gradient"`, `"hessian"` or, for `Rows` of points, `"batch"`; see `LossFunctions.run`."""
        return self._run(what, carried, carried.arguments[1], x, self._chunksize)

    def _run(self, what: str, carried: Carried, data: Mapping[str, Any], x: Any, chunksize: Chunksize) -> Any:
        if what == "jacobian":
            raise ChunkError(
                f"jacobian of {self.name}: with chunksize=, a loss returns the sum over the rows that it is given, "
                f"which has a gradient. Leave chunksize out for a loss that returns residuals."
            )
        # Converted once, unless it is small, and whatever runs the graph does that faster.
        x = tf.constant(x) if isinstance(x, np.ndarray) and x.size > _SMALL else x
        function, arguments = self._of_chunks.function(what), self._arguments_of(carried, data)
        work = Work(
            self.name,
            what,
            function,
            lambda tensors: arguments.call(function, tensors, x),
            arguments.source,
            chunksize,
            checked=what != "hessian",
            light=what == "value",
            taped=False,
        )
        outputs = [_Result(output) for output in passed(work)[0]]
        return outputs if what == "gradient" else outputs[0]

    def _arguments_of(self, carried: Carried, data: Mapping[str, Any]) -> ChunkArguments:
        """What the loss is called with, taken apart once for as long as nothing of it changes."""
        kept: ChunkArguments | None = carried.memo.get(ChunkArguments)
        if kept is None or kept.data is not data:
            loss, _, params = carried.arguments
            kept = carried.memo[ChunkArguments] = ChunkArguments(loss, data, params, self._source_of)
        return kept

    def _source_of(self, rows: list[RowData]) -> Source:
        if not rows:
            raise ChunkError(
                f"{self.name}: chunksize= is for data with rows; got none. Pass arrays by name, as in "
                f"objective(loss, params, data=array, chunksize=...)."
            )
        known, source = self._source
        if len(known) == len(rows) and all(map(_is, known, rows)):
            return source  # type: ignore[no-any-return]
        if any(isinstance(part.rows, StreamSource) for part in rows):
            if len(rows) > 1:
                raise ChunkError(
                    f"{self.name}: data that come in batches must be the only ones with rows; got "
                    f"{', '.join(part.name for part in rows)}. Put all columns into the batches. A function counts as "
                    f"one that returns batches; have the loss refer to others, instead of giving them as data."
                )
            source = rows[0].rows
        else:
            layout = Layout("tuple", (None,) * len(rows))
            source = ArraySource(layout, [part.rows for part in rows], [part.name for part in rows])
        self._source = (rows, source)
        return source  # type: ignore[no-any-return]


class ByPolicy(ChunkedFunctions):
    """What an objective computes where its chunk size is that of the policy.

    Its data lie in memory, and are cut where a policy asks for that.
    """

    def __init__(self, loss: Callable[..., Any]) -> None:
        super().__init__(loss, "auto")
        self._cut: tuple[Any, Mapping[str, Any], bool] = (None, {}, False)

    def _input(self, name: str, value: Any) -> Any:
        # A function, a dataset or a path is for the loss itself, which gets it in one piece too.
        return _in_memory(name, value)

    def has_rows(self, carried: Carried) -> bool:
        """Whether there are data that can be cut."""
        return self._data_of(carried)[1]

    def run(self, what: str, carried: Carried, x: Any) -> Any:
        """See `LossFunctions.run`."""
        chunksize = current().chunksize
        try:
            return self._run(what, carried, self._data_of(carried)[0], x, chunksize)
        except ChunkError as error:
            raise ChunkError(
                f"{error} The chunk size, {chunksize!r}, is that of the policy; objective(..., chunksize=None) "
                f"computes it in one piece whatever the policy says."
            ) from error

    def _data_of(self, carried: Carried) -> tuple[Mapping[str, Any], bool]:
        """The data with arrays as rows, and whether there are any; kept while the same are asked for."""
        data = carried.arguments[1]
        known, cut, found = self._cut
        # Fields of objects can change, and arrays in them with them.
        if known is not carried or carried.inputs is None:
            cut = self.inputs(dict(data))
            found = any(isinstance(leaf, RowData) for leaf in flatten(cut).leaves)
            self._cut = (carried, cut, found)
        return cut, found


def _is(a: Any, b: Any) -> bool:
    return a is b


def _in_memory(name: str, value: Any) -> Any:
    flat = flatten(as_data(name, value), name=name)
    return flat.rebuild([_row_data(name, leaf) for leaf in flat.leaves])


def _row_data(name: str, leaf: Any) -> Any:
    if not isinstance(leaf, (np.ndarray, tf.Tensor)) or not len(leaf.shape):
        return tf.constant(leaf) if isinstance(leaf, (np.ndarray, np.generic)) else leaf
    array = as_array(name, leaf)
    return RowData(name, array if isinstance(array, tf.Tensor) or is_mapped(array) else tf.constant(array))


class _ChunkFunctions(LossFunctions):
    """The zrun functions that compute a loss and its derivatives for one chunk."""

    def function(self, what: str) -> ChunkFunction[..., Any]:
        """The function for `what`; made once."""
        found = self._functions.get(what)
        if found is None:
            compute = _totals(self.name, what)

            @leave_alone
            def body(loss: Callable[..., Any], data: Mapping[str, Any], params: Bound, x: Any) -> Any:
                own = {id(v) for v in params.variables}
                problem = Problem(self.name, loss, params, _bare(data), lambda read: self._note(read, own))
                return problem.solve(compute, x)

            body.__qualname__ = f"{self.name} ({what}, chunked)"
            made: Any = ChunkFunction(body, manager, kind=self._kind)
            found = self._functions.setdefault(what, made)
        return found  # type: ignore[return-value]


def _bare(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """The data with the tensors of their rows; a graph has made tensors of them already."""
    if not tf.executing_eagerly():
        return data
    flat = flatten(data)
    return flat.rebuild([leaf.tensor if isinstance(leaf, ChunkRows) else leaf for leaf in flat.leaves])  # type: ignore[no-any-return]


def _totals(name: str, what: str) -> Callable[[Problem, tf.Tensor], Any]:
    """What is computed of a chunk, which must be one number for each point."""

    def compute(problem: Problem, x: Any) -> Any:
        result = COMPUTE[what](problem, x)
        rank = result.shape.rank if what in ("value", "batch") else None
        if rank == (1 if what == "value" else 2):
            raise ChunkError(
                f"{name} must return a single number with chunksize=, the sum over the rows that it is given; it "
                f"returned one for each row. Use tf.reduce_sum, or leave chunksize out for residuals."
            )
        found = notes.get()
        if found is not None:
            found.totals, found.dtypes = True, [tf.float64, *problem.dtypes]
        return result

    return compute


_known: WeakKeyDictionary[Any, _ChunkFunctions] = WeakKeyDictionary()


def _functions_of(loss: Callable[..., Any]) -> _ChunkFunctions:
    function = getattr(loss, "__func__", loss)
    try:
        found = _known.get(function)
        return found if found is not None else _known.setdefault(function, _ChunkFunctions(loss))
    except TypeError:
        return _ChunkFunctions(loss)
