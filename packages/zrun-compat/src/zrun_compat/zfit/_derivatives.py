"""zfit's derivatives on zrun: numerical ones by zrun's engine, and numerical wherever the policy says so."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MethodType
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np
import tensorflow as tf

import zrun_tf
from zrun_tf import GradientError

from ._losses import ReadsItsData
from ._released import released

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


def numerical_gradient(func: Callable[[], Any], params: Iterable[Any]) -> tf.Tensor:
    """The numerical gradient, as `zfit.z.math.numerical_gradient` returns it.

    Args:
        func: takes no arguments and reads `params`; returns one number.
        params: zfit's parameters.

    Returns:
        A tensor of shape `(n,)`.
    """
    variables = _variables(params)
    if variables is None:
        return released("numerical_gradient")(func, params)
    kept = _without_its_loss(func)

    def compute(*_: Any) -> Any:
        try:
            parts = zrun_tf.gradient(kept(), variables, autograd=False, bounds=_bounds(variables))
        except GradientError:
            # Where the function is not finite, zfit goes on with NaN, which its minimisers know how to deal with.
            return np.asarray(released("numerical_gradient")(kept(), variables))
        return np.stack([np.asarray(part, np.float64) for part in parts])

    return _now_or_in_graph(compute, variables, (len(variables),))


def numerical_hessian(func: Callable[[], Any], params: Iterable[Any], hessian: str | None = None) -> tf.Tensor:
    """The numerical Hessian, as `zfit.z.math.numerical_hessian` returns it.

    Args:
        func: takes no arguments and reads `params`; returns one number.
        params: zfit's parameters.
        hessian: `"diag"` for the diagonal alone.

    Returns:
        A tensor of shape `(n, n)`, or `(n,)` for the diagonal.
    """
    variables, diagonal = _variables(params), hessian == "diag"
    if variables is None:
        return released("numerical_hessian")(func, params, hessian=hessian)
    kept, size = _without_its_loss(func), len(variables)

    def compute(*_: Any) -> Any:
        try:
            found = zrun_tf.hessian(kept(), variables, autograd=False, bounds=_bounds(variables), diagonal=diagonal)
        except GradientError:
            return np.asarray(released("numerical_hessian")(kept(), variables, hessian=hessian))
        return np.asarray(found, np.float64).reshape((size,) if diagonal else (size, size))

    return _now_or_in_graph(compute, variables, (size,) if diagonal else (size, size))


def by_policy(automatic: str, numerical: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """A derivative that zfit would take automatically: as released, unless the policy says numerically.

    Args:
        automatic: the name of zfit's function.
        numerical: what to call in its place.
        *args: its positional arguments.
        **kwargs: its keyword arguments.
    """
    if zrun_tf.run.current_policy_autograd():
        return released(automatic)(*args, **kwargs)
    return numerical(*args, **kwargs)


def _variables(params: Any) -> list[Any] | None:
    """The parameters as a list, if all of them are different variables of one number each."""
    if isinstance(params, tf.Variable):
        params = [params]
    found = list(params.values() if isinstance(params, Mapping) else params)
    plain = all(isinstance(each, tf.Variable) and each.shape.rank == 0 for each in found)
    return found if found and plain and len({id(each) for each in found}) == len(found) else None


def _bounds(variables: Sequence[Any]) -> list[tuple[float | None, float | None]] | None:
    """The limits of parameters, outside of which zfit would read the limit; None where a value is not within them."""
    bounds: list[tuple[float | None, float | None]] = []
    for each in variables:
        low, high = (getattr(each, name, None) for name in ("_lower", "_upper"))
        pair = tuple(None if side is None else float(np.asarray(side)) for side in (low, high))
        value = float(np.asarray(tf.convert_to_tensor(each)))
        if (pair[0] is not None and value < pair[0]) or (pair[1] is not None and value > pair[1]):
            return None
        bounds.append((pair[0], pair[1]))
    return bounds


def _now_or_in_graph(compute: Callable[..., Any], variables: Sequence[Any], shape: tuple[int, ...]) -> tf.Tensor:
    if tf.executing_eagerly():
        return tf.convert_to_tensor(compute(), tf.float64)
    # The reads order the call after what the graph has set before.
    reads = [tf.convert_to_tensor(each) for each in variables]
    result = tf.numpy_function(compute, reads, tf.float64)
    result.set_shape(shape)
    return result


def _without_its_loss(func: Callable[[], Any]) -> Callable[[], Callable[[], Any]]:
    """A function that gives `func` again, without keeping alive the loss that it is a method of.

    A graph keeps what its Python calls need, and would so keep the loss for which alone it is kept.
    """
    bound = func.func if isinstance(func, partial) else func
    owner = getattr(bound, "__self__", None)
    if not isinstance(bound, MethodType) or owner is None:
        return lambda: func
    if not tf.executing_eagerly() and _was_put_together(owner):
        # Its data are tensors of the graph that is being built, which Python cannot see when that runs.
        raise ReadsItsData("a numerical derivative of a loss in a graph reads the data of that loss")
    args, keywords = (func.args, func.keywords) if isinstance(func, partial) else ((), {})
    weak, plain = ref(owner), bound.__func__
    return lambda: partial(plain, weak(), *args, **keywords)


def _was_put_together(loss: Any) -> bool:
    from ._functions import is_symbolic

    return hasattr(loss, "_data") and is_symbolic(loss)
