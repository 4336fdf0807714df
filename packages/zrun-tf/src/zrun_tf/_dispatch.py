"""Running a compiled function: the one place where a call meets TensorFlow.

This is the seam for the fast path; what stands here uses TensorFlow's public API only.
"""

from __future__ import annotations

from contextlib import nullcontext
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from zrun_core._structure import rebuild

from ._leaves import Rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zrun_core._structure import Key


def to_input(leaf: Any) -> Any:
    """A leaf of a call as what a concrete function takes: floats and arrays become tensors."""
    if isinstance(leaf, np.generic):
        return tf.convert_to_tensor(leaf)
    if isinstance(leaf, float):
        return tf.constant(leaf, tf.float64)
    if isinstance(leaf, complex):
        return tf.constant(leaf, tf.complex128)
    if isinstance(leaf, np.ndarray):
        return tf.convert_to_tensor(leaf)
    return leaf.tensor if isinstance(leaf, Rows) else leaf


class Graph:
    """A traced function, called with the leaves of a call.

    Args:
        concrete: takes the leaves as inputs and returns a list of tensors.
        result: the key of the result, which those tensors are the leaves of.
        nbytes: an estimate of the memory the graph takes.
        shadows: private variables that the graph sets; while there are any, one call runs at a time.
    """

    __slots__ = ("__weakref__", "_concrete", "_lock", "_result", "_shadows", "nbytes")

    def __init__(self, concrete: Any, result: Key, nbytes: int, shadows: Sequence[tf.Variable] = ()) -> None:
        self._concrete = concrete
        self._result = result
        self._shadows = shadows
        self._lock = Lock() if shadows else nullcontext()
        self.nbytes = nbytes

    def __call__(self, leaves: Sequence[Any]) -> Any:
        """Run the graph."""
        inputs = [to_input(leaf) for leaf in leaves]
        with self._lock:
            return rebuild(self._result, self._concrete(*inputs))
