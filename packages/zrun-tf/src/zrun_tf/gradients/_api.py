"""The public functions for derivatives. `gradient` describes the arguments that all of them share."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import numpy as np
import tensorflow as tf

from zrun_core import _scope
from zrun_tf._errors import GradientError
from zrun_tf._forked import check_process
from zrun_tf._noted import note_gradient

from . import _auto, _numeric_way
from ._options import NumericOptions
from ._params import Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._auto import Unconnected

F = TypeVar("F", bound="Callable[..., Any]")


def as_written(function: F) -> F:
    """Keep AutoGraph from converting this function when it is called in a `tf.function`."""
    return cast("F", tf.autograph.experimental.do_not_convert(function))


class Asked(NamedTuple):
    problem: Problem
    autograd: bool
    unconnected: Unconnected
    options: NumericOptions

    def parts(self, parts: list[Any]) -> list[Any]:
        """Derivatives by parameter, with 0 for the elements that are fixed."""
        if not self.options.fixed.any():
            return parts
        problem = self.problem
        masks = np.split(~self.options.fixed, np.cumsum(problem.sizes)[:-1])
        shaped = zip(parts, masks, problem.shapes, strict=True)
        return [tf.where(mask.reshape(shape), part, tf.zeros_like(part)) for part, mask, shape in shaped]


def asked_for(what: str, func: Any, params: Any, autograd: bool | None, unconnected: str, **numeric: Any) -> Asked:
    """The arguments that all functions share, checked; reads the policy, once."""
    check_process()
    if autograd is not None and not isinstance(autograd, bool):
        raise GradientError(f"autograd must be True, False or None (as the policy says); got {autograd!r}.")
    if unconnected not in ("error", "zero"):
        raise GradientError(f"unconnected must be 'error' or 'zero'; got {unconnected!r}.")
    noise = numeric["noise"]
    if noise is not None and (isinstance(noise, bool) or not isinstance(noise, Real) or not 0.0 < float(noise) < 1e300):
        raise GradientError(f"noise must be a positive number, the error of a value of func, or None; got {noise!r}.")
    problem = Problem(what, func, params)
    way = _scope.current().autograd if autograd is None else autograd
    options = NumericOptions(
        bounds=problem.flat_bounds(numeric["bounds"]),
        scale=problem.flat_scale(numeric["scale"]),
        fixed=problem.flat_fixed(numeric["fixed"], known_shapes=not way),
        noise=None if noise is None else float(noise),
    )
    options.check(problem)
    # While a graph is built, it would be counted once, however often the graph runs.
    if tf.executing_eagerly():
        note_gradient(problem.name, what, autograd=way)
    return Asked(problem, way, cast("Unconnected", unconnected), options)


@as_written
def gradient(
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
    """The gradient of a function that returns a single number.

    Args:
        func: takes no arguments and reads `params`, which are variables; or takes `params` as its arguments: one
            parameter as `func(x)`, a list or tuple as `func(*params)`, a mapping as `func(**params)`. Where all
            parameters are variables and `func` can be called without arguments, it reads them; otherwise they are
            passed to it. It runs as Python when the derivative is taken eagerly, and is traced when it is taken inside
            a graph; AutoGraph does not convert it unless it is a `tf.function` itself.
        params: a `tf.Variable`, tensor, NumPy array or float; or a list, tuple or mapping of them, nested if need be.
            Of dtype float32 or float64, of any shape. Numerical derivatives pass NumPy arrays on as such.
        autograd: True for automatic, False for numerical derivatives; None: as the policy says at the moment of the
            call. Inside a graph, that is the moment at which the graph is built.
        unconnected: what to do where TensorFlow sees no way from a parameter to the result: `"error"`, or `"zero"` for
            zeros. Numerical derivatives take no notice of it: there, a parameter without effect has the derivative 0.
        bounds: one `(low, high)` for each element of `params`, in order, or a mapping with keys of `params`; None in
            place of a number: no bound. Numerical derivatives never evaluate `func` outside; automatic ones evaluate it
            at `params` only.
        scale: on what scale `func` varies with each element of `params`, about: a number, a sequence, or a mapping with
            keys of `params`. None: not known; numerical derivatives then start from the size of the parameter, which
            for one smaller than 1e-14 counts as 1. Automatic derivatives have no use for it.
        fixed: which elements of `params` are held fixed: a mask of bools, one for each element in order, or a mapping
            with keys of `params`. Their derivatives are 0, and numerical ones evaluate `func` at no point for them.
            None: none.
        noise: the error of a value of `func`, such as the statistical one of an integral by Monte Carlo; numerical
            derivatives choose their steps accordingly. None: estimated from the values. Automatic derivatives have no
            use for it.
        return_error: also return an estimate of the absolute error. It is zero for automatic derivatives, which are
            exact to rounding.

    Returns:
        Tensors in the structure of `params`, each of the shape and dtype of its parameter. With `return_error`, the
        pair of the gradient and its error, which has the same structure.

    Raises:
        UnconnectedGradientError: TensorFlow does not see how the result depends on a parameter.
        GradientError: an argument, a parameter or what `func` returns cannot be differentiated; or, for a numerical
            derivative taken eagerly, `func` is not finite. Inside a graph, the derivative is NaN then.

    Automatic derivatives evaluate `func` once. They can be differentiated again by an outer tape.

    Numerical derivatives evaluate `func` at `1 + 6 n` points for `n` elements; at 6 more for each element for which
    that does not give a relative error of about 4e-10, and at 24 more where that does not give one of about 1e-8.
    Smooth functions have errors of 1e-14 to 1e-10 (float64), or 1e-6 to 1e-4 (float32). Taken eagerly, they set
    variables to these points, and restore them whatever happens; inside a graph they set private variables instead.
    They cannot be differentiated by an outer tape.

    Scope: reads the policy of the context. Numerical derivatives taken eagerly change the variables in `params` for the
    time of the call, which other threads see that read them; one that takes such a derivative by the same variables
    waits for its turn.

    Example:
        >>> import tensorflow as tf
        >>> import zrun_tf as zrun
        >>> zrun.gradient(lambda x: tf.reduce_sum(x**2), [tf.constant([1.0, 2.0])])[0].numpy()
        array([2., 4.], dtype=float32)
        >>> mu = tf.Variable(0.5, dtype=tf.float64, name="mu")
        >>> slope, error = zrun.gradient(lambda: tf.sin(mu), mu, autograd=False, return_error=True)
        >>> bool(abs(slope - tf.cos(mu)) < error < 1e-10)
        True
    """
    found = _value_and_gradient(
        asked_for("gradient", func, params, autograd, unconnected, bounds=bounds, scale=scale, fixed=fixed, noise=noise)
    )
    return found[1:] if return_error else found[1]


@as_written
def value_and_gradient(
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
    """The value and the gradient of a function that returns a single number; see `gradient`.

    Args:
        func: as for `gradient`.
        params: as for `gradient`.
        autograd: as for `gradient`.
        unconnected: as for `gradient`.
        bounds: as for `gradient`.
        scale: as for `gradient`.
        fixed: as for `gradient`.
        noise: as for `gradient`.
        return_error: as for `gradient`.

    Returns:
        The value, a tensor of shape `()`, and the gradient; with `return_error`, also the error of the gradient. The
        evaluations are those of the gradient alone.

    Raises:
        GradientError: as for `gradient`.

    Scope: as for `gradient`.

    Example:
        >>> import zrun_tf as zrun
        >>> value, slopes = zrun.value_and_gradient(lambda a, b: a * b**2, {"a": 2.0, "b": 3.0})
        >>> float(value), {name: float(slope) for name, slope in slopes.items()}
        (18.0, {'a': 9.0, 'b': 12.0})
    """
    asked = asked_for(
        "gradient", func, params, autograd, unconnected, bounds=bounds, scale=scale, fixed=fixed, noise=noise
    )
    found = _value_and_gradient(asked)
    return found if return_error else found[:2]


def _value_and_gradient(asked: Asked) -> tuple[Any, Any, Any]:
    """Value, gradient, and error of the gradient."""
    problem = asked.problem
    if asked.autograd:
        value, parts = _auto.value_and_gradient(problem, asked.unconnected)
        parts = asked.parts(parts)
        errors = [tf.zeros_like(part) for part in parts]
    else:
        value, parts, errors = _numeric_way.jacobian(problem, asked.options, scalar=True)
    return value, problem.pack(parts), problem.pack(errors)


@as_written
def jacobian(
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
    """The derivatives of a function that returns a tensor of any shape; see `gradient`.

    Args:
        func: as for `gradient`, but it may return a tensor of any shape.
        params: as for `gradient`.
        autograd: as for `gradient`.
        unconnected: as for `gradient`.
        bounds: as for `gradient`.
        scale: as for `gradient`.
        fixed: as for `gradient`.
        noise: as for `gradient`.
        return_error: as for `gradient`.

    Returns:
        Tensors in the structure of `params`, each of the shape that `func` returns plus the shape of its parameter:
        `(m, n)` for `m` residuals and a vector of `n` parameters. With `return_error`, the pair of the Jacobian and its
        error. The evaluations are those of `gradient`, whatever the number of residuals.

    Raises:
        GradientError: as for `gradient`.

    Automatic derivatives use as many passes as there are parameters or residuals, whichever are fewer.

    Scope: as for `gradient`.

    Example:
        >>> import tensorflow as tf
        >>> import zrun_tf as zrun
        >>> times = tf.constant([0.0, 1.0, 2.0], tf.float64)
        >>> zrun.jacobian(lambda p: p[0] + p[1] * times, tf.constant([1.0, 2.0], tf.float64)).numpy()
        array([[1., 0.],
               [1., 1.],
               [1., 2.]])
    """
    asked = asked_for(
        "jacobian", func, params, autograd, unconnected, bounds=bounds, scale=scale, fixed=fixed, noise=noise
    )
    problem = asked.problem
    if asked.autograd:
        _, parts = _auto.value_and_jacobian(problem, asked.unconnected)
        parts = asked.parts(parts)
        errors = [tf.zeros_like(part) for part in parts]
    else:
        _, parts, errors = _numeric_way.jacobian(problem, asked.options, scalar=False)
    return (problem.pack(parts), problem.pack(errors)) if return_error else problem.pack(parts)
