"""The public functions for second derivatives; `_api.gradient` describes the arguments they share with the first."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from zrun_tf._errors import GradientError

from . import _auto, _auto_second, _numeric_way
from ._api import Asked, as_written, asked_for, gradient
from ._params import Problem

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
    fixed: Any = None,
    noise: float | None = None,
    from_gradient: bool | Callable[..., Any] = False,
    low_memory: bool = False,
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
        fixed: as for `gradient`; rows and columns of the Hessian are 0.
        noise: as for `gradient`.
        from_gradient: numerical derivatives of the gradient of `func` instead of its values, which are more accurate:
            True for the automatic gradient, or a function of the arguments of `func` that returns the gradient in the
            structure of `params`. It is meant for functions that have first automatic derivatives and no second ones.
            Whatever the policy says, the second derivative is numerical then.
        low_memory: automatic derivatives compute one row after another, so that their memory is that of a few
            gradients, whatever the number of parameters. Otherwise up to ten rows are computed at the same time, or all
            of them where they are small.
        return_error: as for `gradient`.

    Returns:
        A tensor of shape `(n, n)`, symmetric to rounding, where `n` counts the elements of all parameters in the order
        of `params`, those of one parameter in row-major order: `(n, n)` for a vector of `n` elements as for a list of
        `n` numbers, `(1, 1)` for a single number. This is the form that minimisers and covariance matrices use. With
        `diagonal`, a tensor of shape `(n,)`. Of the widest dtype of the parameters. With `return_error`, the pair of
        the Hessian and its error.

    Raises:
        GradientError: as for `gradient`.

    Numerical derivatives use values of `func`: at `1 + 6 n` points, at up to 30 more for each parameter as for
    `gradient`, and, without `diagonal`, at 6 for each of the `n (n - 1) / 2` pairs. Smooth functions have relative
    errors of 1e-12 to 1e-8 (float64), about 1e-6 beside a bound, and of 1e-3 or worse in float32. With `from_gradient`
    they use the gradient at `1 + 6 n` points or more, with the errors of `gradient`.

    Automatic derivatives evaluate `func` once. In a graph they take the cheapest of three ways, all of them exact: all
    rows in one sweep, forward mode over reverse mode, or reverse mode over reverse mode. Where TensorFlow has no rule
    for one of them, they take the next; `zrun_core.listen` hears that as the event `"fallback"`.

    Scope: as for `gradient`.

    Example:
        >>> import zrun_tf as zrun
        >>> zrun.hessian(lambda a, b: a * b**2, [2.0, 3.0]).numpy()
        array([[0., 6.],
               [6., 4.]])
    """
    asked = asked_for(
        "hessian", func, params, autograd, unconnected, bounds=bounds, scale=scale, fixed=fixed, noise=noise
    )
    if from_gradient is not False:
        matrix, error = _of_gradient(asked, func, params, from_gradient)
    else:
        _, _, matrix, _, error = _value_gradient_hessian(asked, diagonal=diagonal, low_memory=low_memory)
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
    fixed: Any = None,
    noise: float | None = None,
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
        fixed: as for `gradient`; rows and columns of the Hessian are 0.
        noise: as for `gradient`.
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
    asked = asked_for(
        "hessian", func, params, autograd, unconnected, bounds=bounds, scale=scale, fixed=fixed, noise=noise
    )
    found = _value_gradient_hessian(asked)
    return found if return_error else found[:3]


def _value_gradient_hessian(
    asked: Asked, *, diagonal: bool = False, low_memory: bool = False
) -> tuple[Any, Any, Any, Any, Any]:
    """Value, gradient, Hessian, error of the gradient, error of the Hessian."""
    problem = asked.problem
    if asked.autograd:
        value, parts, matrix = _auto_second.value_gradient_hessian(problem, asked.unconnected, low_memory=low_memory)
        parts, matrix = asked.parts(parts), _free_only(asked, matrix)
        errors, error = [tf.zeros_like(part) for part in parts], tf.zeros_like(matrix)
    else:
        value, parts, errors, matrix, error = _numeric_way.hessian(problem, asked.options, diagonal=diagonal)
    return value, problem.pack(parts), matrix, problem.pack(errors), error


def _free_only(asked: Asked, matrix: tf.Tensor) -> tf.Tensor:
    """The matrix with 0 in the rows and columns of the elements that are fixed."""
    free = ~asked.options.fixed
    return matrix if free.all() else tf.where(np.outer(free, free), matrix, tf.zeros_like(matrix))


def _of_gradient(
    asked: Asked, func: Callable[..., Any], params: Any, given: bool | Callable[..., Any]
) -> tuple[tf.Tensor, tf.Tensor]:
    """The Hessian and its error, as numerical derivatives of a gradient."""
    if given is not True and not callable(given):
        raise GradientError(f"from_gradient must be True, False or a function returning the gradient; got {given!r}.")
    problem = asked.problem

    def slopes(*args: Any, **kwargs: Any) -> tf.Tensor:
        if callable(given):
            parts = problem.unpack(given(*args, **kwargs), "from_gradient")
        else:
            at = params if problem.reads else kwargs or (args[0] if problem.single else args)
            parts = problem.unpack(gradient(func, at, autograd=True, unconnected=asked.unconnected), "the gradient")
        return tf.concat([tf.reshape(tf.cast(part, problem.dtype), [-1]) for part in parts], axis=0)

    slopes.__signature__ = inspect.signature(func)  # type: ignore[attr-defined]
    slopes.__qualname__ = problem.name
    _, parts, errors = _numeric_way.jacobian(Problem("hessian", slopes, params), asked.options, scalar=False)
    size = sum(problem.sizes)
    columns = [[tf.reshape(tf.cast(p, problem.dtype), [size, -1]) for p in each] for each in (parts, errors)]
    matrix, error = (tf.concat(each, axis=1) for each in columns)
    return _free_only(asked, 0.5 * (matrix + tf.transpose(matrix))), 0.5 * (error + tf.transpose(error))


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
    fixed: Any = None,
    noise: float | None = None,
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
        fixed: as for `gradient`; rows and columns of the Hessian are 0.
        noise: as for `gradient`.

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
    asked = asked_for(
        "hessian", func, params, autograd, unconnected, bounds=bounds, scale=scale, fixed=fixed, noise=noise
    )
    problem = asked.problem
    directions = problem.unpack(vector, "vector")
    if asked.autograd:
        directions = asked.parts(directions)
        return problem.pack(asked.parts(_auto.hessian_vector_product(problem, directions, asked.unconnected)))
    *_, matrix, _ = _numeric_way.hessian(problem, asked.options)
    flat = tf.concat([tf.reshape(tf.cast(part, problem.dtype), [-1]) for part in directions], axis=0)
    parts = tf.split(tf.linalg.matvec(matrix, flat), problem.sizes)
    return problem.pack(
        [
            tf.cast(tf.reshape(part, shape), dtype)
            for part, shape, dtype in zip(parts, problem.shapes, problem.dtypes, strict=True)
        ]
    )
