"""The data of an objective on their way in, and its values on their way out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from zrun_core._structure import flatten


def as_inputs(data: dict[str, Any]) -> dict[str, Any]:
    """The data with arrays as tensors, copied once, so that calls neither convert nor see later changes.

    Raises:
        TypeError: an entry is an iterator, or an array that holds no numbers, strings or bools.
        ValueError: an entry holds a masked array with masked values.
        StructureError: an entry is of a type that cannot be taken apart.
    """
    inputs = {}
    for name, value in data.items():
        flat = flatten(as_array(name, value), name=name)
        inputs[name] = flat.rebuild([_as_tensor(name, leaf) for leaf in flat.leaves])
    return inputs


def as_array(name: str, value: Any) -> Any:
    """Lists of numbers, and columns of a table, are data like an array, not as many inputs."""
    if isinstance(value, Iterator):
        raise TypeError(
            f"{name} is an iterator ({type(value).__name__}), which can be read only once; a loss reads its data each "
            f"time it is called. Give an array: np.array(list({name}))."
        )
    if isinstance(value, (list, tuple)):
        return np.asarray(value, np.float64) if _numbers_shape(value) else value
    array = np.asarray(value) if is_table_column(value) else value
    if isinstance(array, np.ndarray) and array.dtype.kind in "OmMV":
        raise TypeError(
            f"{name} is an array of dtype {array.dtype}, which TensorFlow has no counterpart of. Convert it to "
            f"numbers, for example with {name}.astype(float)."
        )
    return array


def is_table_column(value: Any) -> bool:
    """Whether a value is an array by another name: a column of pandas or Polars, a DataArray of xarray."""
    array_like = hasattr(value, "__array__") and hasattr(value, "dtype") and hasattr(value, "shape")
    return array_like and not isinstance(value, (np.ndarray, np.generic, tf.Tensor, tf.Variable))


def _numbers_shape(value: Any) -> tuple[int, ...] | None:
    """The shape of nested lists of numbers; None where they hold something else, or rows of different lengths."""
    if type(value) in (float, int):
        return ()
    if type(value) not in (list, tuple) or not value:
        return None
    shapes = {_numbers_shape(item) for item in value}
    shape = shapes.pop()
    return None if shapes or shape is None else (len(value), *shape)


def _as_tensor(name: str, leaf: Any) -> Any:
    if not isinstance(leaf, (np.ndarray, np.generic)):
        return leaf
    refuse_masked(name, leaf)
    return tf.constant(leaf)


def refuse_masked(name: str, array: Any) -> None:
    """Refuse an array with masked values, which TensorFlow would take for data.

    Raises:
        ValueError: there are some.
    """
    if isinstance(array, np.ma.MaskedArray) and (masked := np.count_nonzero(array.mask)):
        raise ValueError(
            f"{name} is a masked array with {masked} masked values, and TensorFlow knows no masks. Leave them out with "
            f"its method compressed(), or fill them in with filled(...)."
        )
