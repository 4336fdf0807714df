"""Python and NumPy code inside TensorFlow models, with true derivatives."""

from __future__ import annotations

from ._api import numpy_function, py_function

__all__ = ["numpy_function", "py_function"]
