"""A Hessian made positive definite, for minimisers that take no other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    Matrix = np.ndarray[Any, np.dtype[np.float64]]


def made_positive(matrix: Matrix) -> Matrix:
    """A symmetric matrix with the sign of its negative eigenvalues turned, those next to zero raised.

    The eigenvalues are those of the matrix scaled to a diagonal of ones, so that the units of parameters do not matter.

    Args:
        matrix: float64 of shape `(n, n)`, symmetric.

    Returns:
        The matrix itself where it is positive definite already, or not finite; else another of that shape.
    """
    if not np.all(np.isfinite(matrix)):
        return matrix
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        pass
    else:
        return matrix
    scale = np.sqrt(np.abs(np.diagonal(matrix)))
    scale[scale == 0.0] = 1.0
    values, vectors = np.linalg.eigh(matrix / np.outer(scale, scale))
    values = np.abs(values)
    # Far enough from zero for a Cholesky decomposition.
    floor = max(1e-6 * values.max(), 1e-6)
    made: Matrix = (vectors * np.maximum(values, floor)) @ vectors.T * np.outer(scale, scale)
    return (made + made.T) / 2.0
