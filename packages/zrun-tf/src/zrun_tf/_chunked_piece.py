"""What is computed of one chunk: the user's function summed over its rows, or kept row by row, and its derivatives.

The derivative of a sum over rows is a sum over rows again, with respect to the inputs, and one value per row, with
respect to the rows. So these pieces are closed under differentiation, and any order of it is computed chunk by chunk.
"""

from __future__ import annotations

from contextvars import ContextVar
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import tensorflow as tf

from zrun_core._structure import flatten
from zrun_core.errors import ChunkError

from ._autograph import converted
from ._chunked_counts import check_rows, held, miscounted, unproven
from ._chunked_sums import summed
from ._floats import FloatInput

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ._chunked_rows import Layout


class Notes:
    """What is found out about a piece when its function runs in Python, that is while it is traced.

    Attributes:
        variables: trainable variables that it reads besides its arguments, in the order of their derivatives.
        dtypes: of what the user's function returned.
        structure: how that was nested.
        totals: whether it returned a single value that is a sum over the rows already.
        together: whether the results of a piece are followed by their derivatives.
        counted: whether the last result says for how many rows the function returned another number of values.
        within: whether the graph that the piece becomes a part of is compiled; None: it is run by itself.
    """

    def __init__(self) -> None:
        self.variables: list[tf.Variable] = []
        self.dtypes: list[tf.DType] = []
        self.structure: Any = None
        self.totals = self.together = self.counted = False
        self.within: bool | None = None


notes: ContextVar[Notes | None] = ContextVar("zrun_chunk_notes", default=None)


class Call(NamedTuple):
    """The user's function with all that a chunk of rows needs besides to call it."""

    func: Callable[..., Any]
    args: tuple[Any, ...]
    layout: Layout
    unpack: bool
    weighted: bool

    @property
    def name(self) -> str:
        """Of the user's function."""
        return getattr(self.func, "__qualname__", type(self.func).__qualname__)

    @property
    def leaves(self) -> list[Any]:
        """The tensors and variables in the function (its `self`) and its arguments."""
        return [leaf for leaf in flatten((self.func, self.args)).leaves if not isinstance(leaf, (float, complex))]

    @property
    def inputs(self) -> list[Any]:
        """Those of them that have derivatives; trainable variables as they are."""
        return [leaf for leaf in self.leaves if has_derivatives(leaf)]

    def run(self, rows: Sequence[Any]) -> Any:
        """Call the user's function with a chunk."""
        chunk = self.layout.pack(rows)
        func = self.func if tf.executing_eagerly() else converted(self.func)
        return func(*chunk, *self.args) if self.unpack else func(chunk, *self.args)


def has_derivatives(leaf: Any) -> bool:
    """Whether a leaf is something that a tape can differentiate with respect to."""
    if isinstance(leaf, tf.Variable):
        return bool(leaf.trainable and leaf.dtype.is_floating)
    return isinstance(leaf, tf.Tensor) and not isinstance(leaf, FloatInput) and leaf.dtype.is_floating


class Piece:
    """Something that is computed chunk by chunk. Inputs are nested tuples, outputs are lists of tensors.

    Args:
        per_row: whether its results have a row for each row of the chunk, and are to be concatenated; else they are
            to be added up.
    """

    def __init__(self, per_row: bool) -> None:
        self.per_row = per_row
        self.name = "chunked_map" if per_row else "chunked_sum"

    is_derivative = False

    def compute(self, call: Call, rows: tuple[Any, ...], ups: tuple[Any, ...]) -> list[tf.Tensor]:  # noqa: ARG002 - derivatives use it
        """The results for one chunk, and what `Notes` says besides.

        Args:
            call: the user's function.
            rows: the arrays of the chunk; the weights last, if there are any.
            ups: what derivatives are multiplied by; see `Derivative`.
        """
        results, counts = self.counted(call, rows)
        return [*results, *counts]

    def counted(self, call: Call, rows: tuple[Any, ...]) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """The results for one chunk, and where values are added up, whether there is one for each row."""
        arrays, weights = (rows[:-1], rows[-1]) if call.weighted else (rows, None)
        with tf.GradientTape() as tape:
            result = call.run(arrays)
        note_variables(call, tape)
        outputs = [_tensor(call, part) for part in tf.nest.flatten(result)]
        found = notes.get()
        if found is not None:
            found.structure = tf.nest.map_structure(lambda _: 0, result)
            found.dtypes = [_dtype(part, weights) if not self.per_row else part.dtype for part in outputs]
            found.totals = any(part.shape.rank == 0 for part in outputs)
        counts = []
        if found is not None and not tf.executing_eagerly():
            loose = unproven(call.name, outputs, rows, per_row=self.per_row)
            if found.within is None:
                counts = [] if self.per_row else miscounted(loose, arrays[0])
                found.counted = bool(counts)
            else:
                outputs = [
                    held(call.name, part, arrays[0], per_row=self.per_row, jit=found.within)
                    if any(part is other for other in loose)
                    else part
                    for part in outputs
                ]
        make = _kept if self.per_row else _summed
        return [make(call, part, arrays[0], weights) for part in outputs], counts

    @cached_property
    def by_inputs(self) -> Derivative:
        """The derivative with respect to the inputs of the call and to `ups`."""
        return Derivative(self, by_rows=False)

    @cached_property
    def together(self) -> Together:
        """The piece with its derivative with respect to the inputs, in one pass."""
        return Together(self)

    @cached_property
    def by_rows(self) -> Derivative:
        """The derivative with respect to the rows."""
        return Derivative(self, by_rows=True)


class Derivative(Piece):
    """The derivative of a piece, multiplied from the left by one more `up` for each result that has derivatives.

    What it is multiplied by has rows of its own where the results of the piece have them: so `rows` are then the rows
    of the piece and these; otherwise `ups` are those of the piece and these.

    The results are, with respect to the inputs: one for each input of the call, for each `up` of the piece, and for
    each further variable that the function reads. With respect to the rows: one for each array of floats.

    Args:
        inner: the piece.
        by_rows: with respect to what.
    """

    is_derivative = True

    def __init__(self, inner: Piece, by_rows: bool) -> None:
        super().__init__(by_rows)
        self.name = f"{inner.name}, derivative by {'rows' if by_rows else 'inputs'}"
        self._inner = inner

    def compute(self, call: Call, rows: tuple[Any, ...], ups: tuple[Any, ...]) -> list[tf.Tensor]:
        """The results for one chunk; see `Piece.compute`."""
        if self._inner.per_row:
            (inner_rows, given), inner_ups = rows, ups
        else:
            inner_rows, (inner_ups, given) = rows, ups
        own = [leaf for leaf in tf.nest.flatten(inner_ups) if has_derivatives(leaf)]
        arrays = [leaf for leaf in tf.nest.flatten(inner_rows) if has_derivatives(leaf)]
        sources = arrays if self.per_row else [*call.inputs, *own]
        with tf.GradientTape() as tape:
            tape.watch([source for source in sources if not isinstance(source, tf.Variable)])
            results = [part for part in self._inner.compute(call, inner_rows, inner_ups) if part.dtype.is_floating]
        read = note_variables(call, tape)
        found = notes.get()
        if found is not None:
            # Counted when the values were computed.
            found.counted = False
        if not self.per_row:
            sources = [*sources, *read]
        given = [tf.cast(up, part.dtype) for up, part in zip(tf.nest.flatten(given), results, strict=True)]
        parts = tape.gradient(
            results, sources, output_gradients=given, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        parts = [tf.convert_to_tensor(part) for part in parts]
        return parts if self.per_row else [tf.cast(part, summed(part.dtype)) for part in parts]


class Together(Piece):
    """A piece whose result is a single number, followed by its derivatives; where it is not, the piece alone.

    Args:
        inner: the piece; it adds up.
    """

    def __init__(self, inner: Piece) -> None:
        super().__init__(per_row=False)
        self.name = f"{inner.name} with its derivative"
        self._inner = inner

    def compute(self, call: Call, rows: tuple[Any, ...], ups: tuple[Any, ...]) -> list[tf.Tensor]:  # noqa: ARG002 - as `Piece.compute`
        """The results for one chunk; see `Piece.compute`."""
        with tf.GradientTape() as tape:
            tape.watch([source for source in call.inputs if not isinstance(source, tf.Variable)])
            results, counts = self._inner.counted(call, rows)
        sources = [*call.inputs, *note_variables(call, tape)]
        found = notes.get()
        alone = len(results) != 1 or results[0].shape.rank != 0 or not results[0].dtype.is_floating
        if alone or not sources or found is None:
            return [*results, *counts]
        found.together = True
        by_source = tape.gradient(results[0], sources, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return [*results, *map(tf.convert_to_tensor, by_source), *counts]


def note_variables(call: Call, tape: tf.GradientTape) -> list[tf.Variable]:
    """The trainable variables that a tape has seen besides those in the call, which are noted too."""
    own = {id(leaf) for leaf in call.leaves}
    read = [v for v in tape.watched_variables() if id(v) not in own and v.dtype.is_floating]
    found = notes.get()
    if found is not None:
        known = {id(v) for v in found.variables}
        found.variables += [v for v in read if id(v) not in known]
    return read


def _dtype(part: tf.Tensor, weights: Any) -> tf.DType:
    """The dtype of a sum: that of the values, or int64 for whole numbers that are not weighted."""
    if part.dtype.is_floating or part.dtype.is_complex:
        return part.dtype
    return tf.int64 if weights is None else tf.float64


def _tensor(call: Call, value: Any) -> tf.Tensor:
    name = call.name
    if value is None:
        raise ChunkError(f"{name} returned None; it must return a value for each row. Does it lack a return?")
    try:
        value = tf.convert_to_tensor(value)
    except (TypeError, ValueError) as error:
        raise ChunkError(
            f"{name} must return tensors with a value for each row; got a {type(value).__name__}: {error}"
        ) from error
    if not (value.dtype.is_floating or value.dtype.is_integer or value.dtype.is_complex or value.dtype.is_bool):
        raise ChunkError(f"{name} must return numbers; got {value.dtype.name}.")
    return value


def _kept(call: Call, value: tf.Tensor, array: Any, weights: Any) -> tf.Tensor:  # noqa: ARG001 - as `_summed`
    check_rows(call.name, value, array, "a value for each row")
    return value


def _summed(call: Call, value: tf.Tensor, array: Any, weights: Any) -> tf.Tensor:
    """The sum over the first axis, in double precision; a single value is one already."""
    if value.dtype == tf.uint64:
        raise ChunkError(
            f"{call.name} returned uint64, and sums of whole numbers are int64, in which half of these would be "
            f"negative. Return tf.cast(..., tf.int64) where none is above {tf.int64.max}, else tf.float64."
        )
    value = tf.cast(value, summed(value.dtype))
    if value.shape.rank == 0 and weights is None:
        return value
    check_rows(call.name, value, array, "a value for each row" + ("" if weights is None else ", to be weighted"))
    if weights is not None:
        if not value.dtype.is_floating and not value.dtype.is_complex:
            value = tf.cast(value, tf.float64)
        factor = tf.cast(weights, value.dtype)
        value *= tf.reshape(factor, tf.concat([tf.shape(factor), [1] * (value.shape.rank - 1)], axis=0))
    return tf.reduce_sum(value, axis=0)
