"""The public functions for second derivatives; `_api.gradient` describes the arguments they share with the first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from . import _auto, _numeric_way
from ._api import Asked, as_written, asked_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._auto import Unconnected


@as_written
def hessian(
    func: Callable[..., Any],
    params: Any,
    *,
    diagonal: bool = False,
    autograd: bool | None = None,
    unconnected: Unconnected = "error",
    bounds: Any = None,
    scale: Any = None,
    return_error: bool = False,
) -> Any:
    """The second derivatives of a function that returns a single number, as one matrix.

    Args:
        func: as for `gradient`.
        params: as for `gradient`.
        diagonal: return the unmixed second derivatives only.
        autograd: as for `gradient`.
        unconnected: as for `gradient`. A parameter on which `func` depends linearly is connected.
        bounds: as for `gradient`.
        scale: as for `gradient`.
        return_error: as for `gradient`.

    Returns:
        A tensor of shape `(n, n)`, symmetric to rounding, where `n` counts the elements of all parameters in the order
        of `params`, those of one parameter in row-major order: `(n, n)` for a vector of `n` elements as for a list of
        `n` numbers, `(1, 1)` for a single number. This is the form that minimisers and covariance matrices use. With
        `diagonal`, a tensor of shape `(n,)`. Of the widest dtype of the parameters. With `return_error`, the pair of
        the Hessian and its error.

    Raises:
        GradientError: as for `gradient`.

    Numerical derivatives use values of `func` only: at the points of `gradient`, and at 6 more for each of the
    `n (n - 1) / 2` pairs. Smooth functions have relative errors of 1e-12 to 1e-8 (float64), about 1e-6 beside a bound,
    and of 1e-3 or worse in float32.

    Scope: as for `gradient`.

    Example:
        >>> import zrun_tf as zrun
        >>> zrun.hessian(lambda a, b: a * b**2, [2.0, 3.0]).numpy()
        array([[0., 6.],
               [6., 4.]])
    """
    asked = asked_for("hessian", func, params, autograd, unconnected, bounds, scale)
    _, _, matrix, _, error = _value_gradient_hessian(asked)
    if diagonal:
        matrix, error = tf.linalg.diag_part(matrix), tf.linalg.diag_part(error)
    return (matrix, error) if return_error else matrix


@as_written
def value_gradient_hessian(
    func: Callable[..., Any],
    params: Any,
    *,
    autograd: bool | None = None,
    unconnected: Unconnected = "error",
    bounds: Any = None,
    scale: Any = None,
    return_error: bool = False,
) -> Any:
    """Value, gradient and Hessian together; see `gradient` and `hessian`.

    Args:
        func: as for `gradient`.
        params: as for `gradient`.
        autograd: as for `gradient`.
        unconnected: as for `hessian`.
        bounds: as for `gradient`.
        scale: as for `gradient`.
        return_error: as for `gradient`.

    Returns:
        The value, the gradient and the Hessian; with `return_error`, also the error of the gradient and that of the
        Hessian. The evaluations are those of the Hessian alone.

    Raises:
        GradientError: as for `gradient`.

    Scope: as for `gradient`.

    Example:
        >>> import zrun_tf as zrun
        >>> value, slopes, matrix = zrun.value_gradient_hessian(lambda a, b: a * b**2, [2.0, 3.0])
        >>> float(value), [float(slope) for slope in slopes], matrix.shape
        (18.0, [9.0, 12.0], TensorShape([2, 2]))
    """
    asked = asked_for("hessian", func, params, autograd, unconnected, bounds, scale)
    found = _value_gradient_hessian(asked)
    return found if return_error else found[:3]


def _value_gradient_hessian(asked: Asked) -> tuple[Any, Any, Any, Any, Any]:
    """Value, gradient, Hessian, error of the gradient, error of the Hessian."""
    problem = asked.problem
    if asked.autograd:
        value, parts, matrix = _auto.value_gradient_hessian(problem, asked.unconnected)
        errors, error = [tf.zeros_like(part) for part in parts], tf.zeros_like(matrix)
    else:
        value, parts, errors, matrix, error = _numeric_way.hessian(problem, asked.bounds, asked.scale)
    return value, problem.pack(parts), matrix, problem.pack(errors), error


@as_written
def hessian_vector_product(
    func: Callable[..., Any],
    params: Any,
    vector: Any,
    *,
    autograd: bool | None = None,
    unconnected: Unconnected = "error",
    bounds: Any = None,
    scale: Any = None,
) -> Any:
    """The Hessian of a function applied to a vector; see `gradient` and `hessian`.

    Automatic derivatives never form the matrix: the cost is that of a few evaluations, whatever the number of
    parameters. Numerical ones do.

    Args:
        func: as for `gradient`.
        params: as for `gradient`.
        vector: what the Hessian is applied to, in the structure of `params`.
        autograd: as for `gradient`.
        unconnected: as for `hessian`.
        bounds: as for `gradient`.
        scale: as for `gradient`.

    Returns:
        The product, in the structure of `params`.

    Raises:
        GradientError: as for `gradient`, or `vector` does not have the structure of `params`.

    Scope: as for `gradient`.

    Example:
        >>> import zrun_tf as zrun
        >>> [float(part) for part in zrun.hessian_vector_product(lambda a, b: a * b**2, [2.0, 3.0], [1.0, 0.0])]
        [0.0, 6.0]
    """
    asked = asked_for("hessian", func, params, autograd, unconnected, bounds, scale)
    problem = asked.problem
    directions = problem.unpack(vector, "vector")
    if asked.autograd:
        return problem.pack(_auto.hessian_vector_product(problem, directions, asked.unconnected))
    *_, matrix, _ = _numeric_way.hessian(problem, asked.bounds, asked.scale)
    flat = tf.concat([tf.reshape(tf.cast(part, problem.dtype), [-1]) for part in directions], axis=0)
    parts = tf.split(tf.linalg.matvec(matrix, flat), problem.sizes)
    return problem.pack(
        [
            tf.cast(tf.reshape(part, shape), dtype)
            for part, shape, dtype in zip(parts, problem.shapes, problem.dtypes, strict=True)
        ]
    )
