"""Sums of many terms that lose nothing to rounding, in NumPy and in a graph.

Each addition also finds its own rounding error, exactly (Knuth, The Art of Computer Programming 2, 4.2.2, theorem B),
and the errors are added up besides. So a sum of `n` terms is as good as if it were computed in twice the precision, and
does not depend on how the rows were cut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Sequence


def two_sum(a: Any, b: Any) -> tuple[Any, Any]:
    """The sum of two numbers, arrays or tensors as computed, and its rounding error."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


class Total:
    """The sum of terms that are lists of NumPy arrays: exact for integers, compensated for the rest."""

    def __init__(self) -> None:
        self._sums: list[Any] = []
        self._errors: list[Any] = []

    def add(self, term: Sequence[Any]) -> None:
        """Add one term; all have the same number of arrays, of the same shapes."""
        if not self._sums:
            self._sums = [np.array(part) for part in term]
            self._errors = [np.zeros_like(part) for part in self._sums]
            return
        # Infinities and NaN are results like others here; whoever computed them was warned if they wanted to be.
        with np.errstate(all="ignore"):
            for place, part in enumerate(term):
                if self._sums[place].dtype.kind in "fc":
                    self._sums[place], error = two_sum(self._sums[place], part)
                    self._errors[place] = self._errors[place] + error
                else:
                    self._sums[place] = self._sums[place] + part

    def result(self) -> list[Any]:
        """The sums."""
        with np.errstate(all="ignore"):
            # The error of an infinite sum is no number.
            return [np.where(np.isfinite(s), s + e, s) for s, e in zip(self._sums, self._errors, strict=True)]


def added(terms: Sequence[Sequence[Any]]) -> list[Any]:
    """The sum of terms that are lists of NumPy arrays.

    Args:
        terms: one or more.
    """
    if len(terms) == 1:
        return list(terms[0])
    if len(terms) == 2:
        # One rounding.
        with np.errstate(all="ignore"):
            return [sum(parts[1:], parts[0]) for parts in zip(*terms, strict=True)]
    total = Total()
    for term in terms:
        total.add(term)
    return total.result()


def summed(dtype: tf.DType) -> tf.DType:
    """The dtype in which values of a dtype are summed."""
    if dtype.is_complex:
        return tf.complex128
    return tf.float64 if dtype.is_floating else tf.int64
