"""The array libraries that the formulas of `_extrapolate` and `_stencil` run on, under NumPy's names."""

from __future__ import annotations

from typing import Any, Final

import numpy as np


class NumpyArrays:
    """NumPy."""

    inf: Final = float("inf")
    nan: Final = float("nan")
    abs: Any = staticmethod(np.abs)
    any: Any = staticmethod(np.any)
    concatenate: Any = staticmethod(np.concatenate)
    constant: Any = staticmethod(np.asarray)
    exp2: Any = staticmethod(np.exp2)
    floor: Any = staticmethod(np.floor)
    isfinite: Any = staticmethod(np.isfinite)
    log2: Any = staticmethod(np.log2)
    max: Any = staticmethod(np.max)
    maximum: Any = staticmethod(np.maximum)
    min: Any = staticmethod(np.min)
    minimum: Any = staticmethod(np.minimum)
    sort: Any = staticmethod(np.sort)
    stack: Any = staticmethod(np.stack)
    sum: Any = staticmethod(np.sum)
    where: Any = staticmethod(np.where)
    zeros_like: Any = staticmethod(np.zeros_like)

    @staticmethod
    def max_from_end(levels: Any) -> Any:
        """Per level, the largest of this and all later ones."""
        return np.maximum.accumulate(levels[::-1], axis=0)[::-1]

    @staticmethod
    def sum_from_end(levels: Any) -> Any:
        """Per level, the sum of this and all later ones."""
        return np.cumsum(levels[::-1], axis=0)[::-1]
