"""What differs between the versions of NumPy that are supported."""

from __future__ import annotations

from typing import Any

import numpy as np


def byte_bounds(array: np.ndarray[Any, Any]) -> tuple[int, int]:
    """The addresses of the first byte of an array and of the one after its last."""
    if hasattr(np, "byte_bounds"):
        # Until NumPy 1.26 is dropped.
        return np.byte_bounds(array)  # type: ignore[no-any-return] # noqa: NPY201
    from numpy.lib.array_utils import byte_bounds as bounds

    return bounds(array)
