"""The data of an objective on their way in, and its values on their way out."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from zrun_core._structure import flatten


def as_inputs(data: dict[str, Any]) -> dict[str, Any]:
    """The data with arrays as tensors, copied once, so that calls neither convert nor see later changes."""
    inputs = {}
    for name, value in data.items():
        flat = flatten(_as_array(value), name=name)
        leaves = [tf.constant(leaf) if isinstance(leaf, (np.ndarray, np.generic)) else leaf for leaf in flat.leaves]
        inputs[name] = flat.rebuild(leaves)
    return inputs


def _as_array(value: Any) -> Any:
    """A list of numbers is data like an array, not as many inputs."""
    numbers = isinstance(value, (list, tuple)) and value and all(type(item) in (float, int) for item in value)
    return np.asarray(value, np.float64) if numbers else value


def to_numpy(value: tf.Tensor) -> Any:
    """A scalar as a Python float, residuals as a float64 array."""
    array = value.numpy()
    return float(array) if np.ndim(array) == 0 else np.asarray(array, np.float64)
