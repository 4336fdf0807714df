"""Making a loss ready for a minimiser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zrun_core._manager import UNSET

from ._losses import functions_of
from ._objective import Objective
from ._parameters import Parameters

if TYPE_CHECKING:
    from collections.abc import Callable

    from zrun_core._policy import Chunksize


def objective(loss: Callable[..., Any], params: Any, /, *, chunksize: Chunksize = UNSET, **data: Any) -> Objective:
    """Make a loss ready for a minimiser.

    Args:
        loss: returns a scalar, or a vector of residuals for a least-squares fit. What else it reads (globals, names
            around it, the fields of its `self` unless that is a dataclass or a registered structure) is a part of the
            graph, and a later change is not seen: pass it in `data`, or keep it in a variable.
        params: a list of variables that `loss()` reads; or a mapping name -> start value, and `loss(**params)` is
            called; or a vector of start values of shape `(n,)`, and `loss(x)` is called. Parameters reach the loss as
            float64 tensors (variables keep their dtype).
        chunksize: rows that the loss is given at once, or `"auto"`, and its results are added up. Every array in
            `data` is cut along its first axis. Mapped files and batches may be given, as to `chunked_sum`. None: all.
            Left out: as the policy says at each call (`run.chunksize`).
        **data: further arguments of the loss, passed by name. Arrays and floats in them are inputs of the graph and
            are copied here; a list of numbers becomes a float64 vector.

    Returns:
        An object with `value`, `gradient`, `value_and_gradient`, `jacobian` and `hessian` of a float64 vector of shape
        `(n,)`. Variables hold what they held before each call.

    Raises:
        TypeError: `loss` cannot be called with these parameters and data, or `params` is of none of the three forms.
        ValueError: there are no parameters, or start values are not finite.

    Example:
        >>> import numpy as np, tensorflow as tf, zrun_tf as zrun
        >>> from scipy.optimize import minimize
        >>> def loss(mu, sigma, data):
        ...     return tf.reduce_sum(((data - mu) / sigma) ** 2 / 2 + tf.math.log(sigma))
        >>> obj = zrun.objective(loss, {"mu": 0.0, "sigma": 1.0}, data=np.array([1.0, 2.0, 4.0, 5.0]))
        >>> fit = minimize(obj.value_and_gradient, obj.x0, jac=True, hess=obj.hessian, method="trust-exact")
        >>> {name: round(value, 3) for name, value in obj.as_dict(fit.x).items()}
        {'mu': 3.0, 'sigma': 1.581}
    """
    if not callable(loss):
        raise TypeError(
            f"objective takes a function that returns the loss; got {loss!r} of type {type(loss).__name__}."
        )
    parameters = Parameters(params)
    parameters.bound.check_call(loss, data)
    return Objective(loss, parameters, (functions := functions_of(loss, chunksize)).inputs(data), functions)
