"""A loss, its parameters and its data, and what is computed of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import tensorflow as tf

from ._autograph import converted
from ._errors import GradientError
from ._leaves import Rows
from ._shadow import ask
from .gradients import hessian, jacobian, value_and_gradient
from .gradients._turns import only_here

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ._parameters import Bound

# Points of a stencil that are evaluated at the same time. A compiled loss keeps one core busy and needs little memory;
# the operations of others share all cores.
_AT_ONCE: Final = 2
_COMPILED_AT_ONCE: Final = 8


class Problem:
    """One evaluation of a loss, eager or while it is traced.

    Args:
        name: of the loss, for messages.
        loss: the loss.
        params: its parameters.
        data: its further arguments.
        on_read: called with the variables that were read, when that is known.

    Attributes:
        dtypes: in which the loss and its derivatives came, before they became float64.
    """

    def __init__(
        self,
        name: str,
        loss: Callable[..., Any],
        params: Bound,
        data: Mapping[str, Any],
        on_read: Callable[[Iterable[tf.Variable]], None],
    ) -> None:
        self.name = name
        self._loss = loss if tf.executing_eagerly() else converted(loss)
        self._params = params
        self._data = data
        self._on_read = on_read
        self.dtypes: set[tf.DType] = set()

    @property
    def reads(self) -> bool:
        """Whether the loss reads its parameters from variables."""
        return self._params.layout.form == "variables"

    def solve(self, compute: Callable[[Problem, tf.Tensor], Any], x: Any) -> Any:
        """Compute something at `x`; the user's variables hold afterwards what they held before."""
        variables = self._params.variables
        if not tf.executing_eagerly():
            ask(variables, lambda concrete: self._on_read(concrete.graph.variables))
            return compute(self, x)
        x = tf.constant(x) if isinstance(x, np.ndarray) else x
        with only_here(variables), tf.GradientTape() as tape:
            before = [variable.read_value() for variable in variables]
            try:
                try:
                    result = compute(self, x)
                finally:
                    self._params.assign(before)
            except BaseException:
                # An interrupt may also arrive while they are being set back.
                self._params.assign(before)
                raise
        self._on_read(tape.watched_variables())
        return result

    def value(self, x: tf.Tensor) -> tf.Tensor:
        """The loss at `x` as float64, of shape `()` or `(m,)`."""
        return self._checked(self._params.call(self._loss, x, self._data))

    def _checked(self, value: Any) -> tf.Tensor:
        value = self._as_tensor(value)
        if not value.dtype.is_floating:
            way = "tf.math.real(...) or tf.abs(...)" if value.dtype.is_complex else "tf.cast(..., tf.float64)"
            raise GradientError(
                f"{self.name} returned {value.dtype.name}; a loss returns float32 or float64. Use {way}."
            )
        if value.shape.rank is not None and value.shape.rank > 1:
            raise GradientError(
                f"{self.name} returned shape {tuple(value.shape)}; a loss returns a scalar, or a vector of residuals "
                f"of shape (m,). Use tf.reshape(residuals, [-1]) or tf.reduce_sum."
            )
        self.dtypes.add(value.dtype)
        return tf.cast(value, tf.float64)

    def _as_tensor(self, value: Any) -> tf.Tensor:
        if value is None:
            raise GradientError(
                f"{self.name} returned None; a loss returns a scalar, or a vector of residuals. Does it lack a return?"
            )
        try:
            # Python's floats are float64, which TensorFlow would round to float32.
            return tf.convert_to_tensor(
                value, dtype_hint=tf.float64 if isinstance(value, (float, list, tuple)) else None
            )
        except (TypeError, ValueError) as error:
            raise GradientError(
                f"{self.name} returned an object of type {type(value).__name__}; a loss returns one tensor, a scalar "
                f"or a vector of residuals. Use tf.reduce_sum, tf.stack or tf.concat."
            ) from error

    def differentiate(self, derivative: Callable[..., Any], x: tf.Tensor) -> Any:
        """Apply a derivative with respect to the parameters, under the names the user gave them."""
        layout, variables = self._params.layout, self._params.variables
        if layout.form == "vector":
            return derivative(self._named(lambda x: self._checked(self._params.call(self._loss, x, self._data))), x)
        parts = layout.split(x)
        if layout.form == "variables":
            self._params.assign(parts)
            return derivative(self._named(lambda: self._checked(self._loss(**self._data))), list(variables))
        named = dict(zip(layout.labels, parts, strict=True))
        return derivative(self._named(lambda **values: self._checked(self._loss(**values, **self._data))), named)

    def _named(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Errors are to speak of the loss."""
        function.__qualname__ = self.name
        return function

    def joined(self, parts: Any, leading: tuple[int, ...] = ()) -> tf.Tensor:
        """Derivatives by parameter as one array whose last axis has an entry for each entry of the vector."""
        if isinstance(parts, tf.Tensor):
            return tf.cast(parts, tf.float64)
        parts = list(parts.values() if isinstance(parts, dict) else parts)
        self.dtypes.update(part.dtype for part in parts)
        parts = [tf.cast(part, tf.float64) for part in parts]
        if not leading and all(part.shape == () for part in parts):
            # One operation rather than one for each.
            return tf.stack(parts)
        return tf.concat([tf.reshape(part, (*leading, -1)) for part in parts], axis=-1)


def check_rank(what: str, name: str, rank: int | None) -> None:
    """Refuse a gradient of residuals, and a Jacobian of a scalar."""
    if what in ("gradient", "hessian") and rank == 1:
        raise GradientError(
            f"{what} of {name}: the loss returns a vector of residuals, and a {what} is of a single number. Use "
            f"scipy.optimize.least_squares(obj.value, x0, jac=obj.jacobian), or have the loss return their sum of "
            f"squares."
        )
    if what == "jacobian" and rank == 0:
        raise GradientError(
            f"jacobian of {name}: the loss returns a single number, and a jacobian is of a vector of residuals. "
            f"Use obj.gradient."
        )


def _value(problem: Problem, x: tf.Tensor) -> tf.Tensor:
    return problem.value(x)


def _gradient(problem: Problem, x: tf.Tensor) -> Any:
    value, gradient = problem.differentiate(_scalar_gradient(problem.name), x)
    return value, problem.joined(gradient)


def _scalar_gradient(name: str) -> Callable[..., Any]:
    def derivative(function: Callable[..., Any], params: Any) -> Any:
        def checked(*args: Any, **kwargs: Any) -> tf.Tensor:
            value = function(*args, **kwargs)
            check_rank("gradient", name, value.shape.rank)
            return value

        checked.__qualname__ = name
        return value_and_gradient(checked, params, autograd=True)

    return derivative


def _jacobian(problem: Problem, x: tf.Tensor) -> Any:
    value = problem.value(x)
    check_rank("jacobian", problem.name, value.shape.rank)
    parts = problem.differentiate(lambda function, params: jacobian(function, params, autograd=True), x)
    return value, problem.joined(parts, tuple(value.shape))


def _hessian(problem: Problem, x: tf.Tensor) -> Any:
    check_rank("hessian", problem.name, problem.value(x).shape.rank)
    return problem.joined(problem.differentiate(lambda function, params: hessian(function, params, autograd=True), x))


def _batch(problem: Problem, points: tf.Tensor | Rows, *, jit_compile: bool = False) -> tf.Tensor:
    if isinstance(points, Rows):
        return tf.stack([problem.value(x) for x in tf.unstack(points.tensor)])
    value = tf.function(problem.value, autograph=False, jit_compile=True) if jit_compile else problem.value
    # A loss that reads variables has them set for each point, one after another.
    at_once = 1 if problem.reads else _COMPILED_AT_ONCE if jit_compile else _AT_ONCE
    return tf.map_fn(
        value, points, fn_output_signature=tf.float64, parallel_iterations=at_once if not tf.executing_eagerly() else 1
    )


def _compiled_batch(problem: Problem, points: tf.Tensor | Rows) -> tf.Tensor:
    return _batch(problem, points, jit_compile=True)


COMPILED_BATCH: Final = "compiled batch"
COMPUTE: Final[Mapping[str, Callable[[Problem, tf.Tensor], Any]]] = {
    "value": _value,
    "gradient": _gradient,
    "jacobian": _jacobian,
    "hessian": _hessian,
    "batch": _batch,
    COMPILED_BATCH: _compiled_batch,
}
