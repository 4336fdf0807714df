"""Values out of TensorFlow: tensors, variables and structures of them as NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from zrun_core.errors import IllegalInGraphError


def evaluate(obj: Any) -> Any:
    """Turn tensors, and structures that hold them, into NumPy.

    Args:
        obj: a tensor, a variable, an object with a method `value()` that takes no arguments, or lists, tuples and
            mappings of such, nested at will.

    Returns:
        NumPy arrays of the same shapes (NumPy scalars for shape `()`) in containers of the same types; anything else,
        as it is.

    Raises:
        IllegalInGraphError: a tensor of a graph that is being built has no value yet.

    Example:
        >>> import tensorflow as tf
        >>> evaluate({"mu": tf.constant([1.5]), "name": "signal"})
        {'mu': array([1.5], dtype=float32), 'name': 'signal'}
    """
    if isinstance(obj, (tf.Tensor, tf.Variable, tf.RaggedTensor)):
        return _numpy(obj)
    if isinstance(obj, tf.SparseTensor):
        return _numpy(tf.sparse.to_dense(obj))
    if isinstance(obj, tuple) and hasattr(obj, "_make"):
        return obj._make(evaluate(item) for item in obj)
    if type(obj) in (list, tuple, set, frozenset):
        return type(obj)(evaluate(item) for item in obj)
    if isinstance(obj, Mapping) and not isinstance(obj, type):
        return _mapping(obj)
    # A class has `value` as a function that wants an instance; an enum member has it as plain data.
    value = None if isinstance(obj, type) else getattr(obj, "value", None)
    return evaluate(value()) if callable(value) else obj


eval_object = evaluate


def _mapping(obj: Mapping[Any, Any]) -> Any:
    values = {name: evaluate(item) for name, item in obj.items()}
    if type(obj) is dict or not hasattr(obj, "copy"):
        return values
    same = obj.copy()
    same.update(values)
    return same


def _numpy(tensor: Any) -> Any:
    if not tf.executing_eagerly():
        raise IllegalInGraphError(
            f"run(...) and eval_object need the value of {tensor!r}, but a graph is being built, where it has none. "
            f"Call them outside of the function, or run it with 'with run.using(graph=False)'."
        )
    return tensor.numpy()
