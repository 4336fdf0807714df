"""How TensorFlow's and NumPy's values are taken apart: tensors, arrays and variables are inputs of a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import tensorflow as tf

from zrun_core._structure import (
    LeafNode,
    Refusal,
    SharedLeafNode,
    add_rule,
    add_visitor,
    visit_opaque,
    visit_static,
)

from ._floats import FloatInput

if TYPE_CHECKING:
    from zrun_core._structure import Flattening, Key, Visitor


def _tensor_text(dtype: tf.DType, shape: tuple[int | None, ...]) -> str:
    return f"{dtype.name} {shape}"


def _variable_text(dtype: tf.DType, shape: tuple[int | None, ...], trainable: bool) -> str:
    return f"variable {dtype.name} {shape}{'' if trainable else ', not trainable'}"


COMPOSITES: Final = (
    tf.RaggedTensor,
    tf.SparseTensor,
    tf.IndexedSlices,
    tf.TensorArray,
    tf.experimental.ExtensionType,
    tf.data.Dataset,
    tf.data.Iterator,
)
"""Values of several tensors, which a graph takes and returns whole."""

TENSOR = LeafNode("tensor", _tensor_text)
VARIABLE = SharedLeafNode("variable", _variable_text)
COMPOSITE = LeafNode("composite tensor", repr)


def _shape(value: tf.Tensor | tf.Variable) -> tuple[int | None, ...] | None:
    shape = value.shape
    return None if shape.rank is None else tuple(shape)


def _visit_tensor(value: tf.Tensor, into: Flattening) -> Key:
    return into.leaf(value, (TENSOR, value.dtype, _shape(value)))


def _visit_variable(value: tf.Variable, into: Flattening) -> Key:
    return VARIABLE.visit(value, into, value.dtype, _shape(value), value.trainable)


def _visit_float_input(value: FloatInput, into: Flattening) -> Key:
    return into.leaf(value, (TENSOR, value.tensor.dtype, ()))


class Rows(NamedTuple):
    """A tensor as an argument whose first dimension may differ from call to call without another trace."""

    tensor: tf.Tensor


class ChunkRows(Rows):
    """Rows of a chunk, which a loop over blocks cuts further."""

    __slots__ = ()


class RowData:
    """An array of rows, or rows that come in batches, in the data of an objective.

    Args:
        name: what it is called in messages.
        rows: the array, or the source.
    """

    __slots__ = ("__weakref__", "name", "rows")

    def __init__(self, name: str, rows: Any) -> None:
        self.name = name
        self.rows = rows


_ROW_DATA = LeafNode("rows", lambda name: name)


def _visit_row_data(value: RowData, into: Flattening) -> Key:
    return into.leaf(value, (_ROW_DATA, value.name))


def _visit_rows(value: Rows, into: Flattening) -> Key:
    return into.leaf(value, (TENSOR, value.tensor.dtype, (None, *value.tensor.shape[1:])))


def _visit_composite(value: Any, into: Flattening) -> Key:
    return into.leaf(value, (COMPOSITE, tf.type_spec_from_value(value)))


def _visit_array(value: np.ndarray[Any, Any] | np.generic, into: Flattening) -> Key:
    # The same key as a tensor of this dtype and shape: the graph sees a tensor either way.
    try:
        dtype = None if value.dtype.kind == "O" else tf.as_dtype(value.dtype)
    except TypeError:
        dtype = None
    if dtype is None:
        raise Refusal(
            f"is a NumPy array of dtype {value.dtype}, which TensorFlow has no counterpart of. Convert it to numbers, "
            f"strings or bools, or name the argument in static= if it is only compared"
        )
    return into.leaf(value, (TENSOR, dtype, value.shape))


def _rule(cls: type) -> Visitor | None:
    """Variables first: they are tensors and composites too."""
    if issubclass(cls, tf.Variable):
        # A variable of a distribution strategy is several in one; only itself knows how to be read.
        return _visit_variable if "BaseResourceVariable" in {base.__name__ for base in cls.__mro__} else visit_opaque
    if issubclass(cls, tf.Tensor):
        return _visit_tensor
    if issubclass(cls, COMPOSITES):
        return _visit_composite
    return None


def register() -> None:
    """Make these rules known to zrun-core."""
    add_rule(_rule)
    add_visitor(np.ndarray, _visit_array)
    add_visitor(np.generic, _visit_array)
    add_visitor(Rows, _visit_rows)
    add_visitor(ChunkRows, _visit_rows)
    add_visitor(RowData, _visit_row_data)
    # In results of a trace.
    add_visitor(FloatInput, _visit_float_input)
    for cls in (np.float64, np.complex128):
        # Without this they would count as the Python numbers they derive from.
        add_visitor(cls, _visit_array)
    for static in (tf.DType, tf.TensorShape, np.dtype):
        add_visitor(static, visit_static)
