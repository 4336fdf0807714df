"""Automatic derivatives: reverse mode, and products of the Hessian with a vector.

Everything here works eagerly, while a graph is built, under XLA and under an outer tape, and calls the function once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import tensorflow as tf

from zrun_tf._errors import GradientError, UnconnectedGradientError

from ._wanted import wanted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    from ._params import Problem

    Unconnected: TypeAlias = Literal["error", "zero"]


WAYS_OUT: Final = (
    "take a numerical derivative (run.using(autograd=False)); the functions zrun.gradient, jacobian and hessian also "
    "give zeros, with unconnected='zero'."
)


def checked_value(problem: Problem, value: Any, *, scalar: bool) -> Any:
    """What a function returned, checked, as a tensor or a NumPy array.

    Args:
        problem: the function.
        value: what it returned.
        scalar: whether it must have the shape `()`.

    Raises:
        GradientError: it is nothing that has derivatives.
    """
    if not isinstance(value, (tf.Tensor, np.ndarray, np.generic)):
        if isinstance(value, tf.Variable):
            value = tf.convert_to_tensor(value)
        elif isinstance(value, (bool, int, float, complex)):
            value = np.asarray(value)
        else:
            hint = "; does it lack a return?" if value is None else "; return one tensor, such as tf.stack([...])."
            raise GradientError(f"{problem.what} of {problem.name}: it returned {_described(value)}{hint}")
    kind = value.dtype.name
    if kind not in ("float32", "float64"):
        hint = "tf.math.real(...) or tf.abs(...)" if kind.startswith("complex") else "tf.cast(..., tf.float64)"
        raise GradientError(
            f"{problem.what} of {problem.name}: it returned {kind}; a derivative needs real values, float32 or "
            f"float64. Use {hint}."
        )
    rank = value.shape.rank if isinstance(value, tf.Tensor) else value.ndim
    if scalar and rank not in (0, None):
        raise GradientError(
            f"{problem.what} of {problem.name}: it returned shape {tuple(value.shape)}, and a {problem.what} is of a "
            f"single number. Sum it up with tf.reduce_sum, or use jacobian."
        )
    return value


def _described(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _traced_value(problem: Problem, *, scalar: bool, unconnected: Unconnected) -> tf.Tensor:
    token = wanted.set(scalar)
    try:
        value = checked_value(problem, problem.call(problem.sources), scalar=scalar)
    finally:
        wanted.reset(token)
    if not isinstance(value, tf.Tensor):
        if unconnected == "error":
            raise UnconnectedGradientError(
                f"{problem.what} of {problem.name}: it returned a {type(value).__name__}, not a tensor, so TensorFlow "
                f"has not seen how it depends on {', '.join(problem.names)}. Compute with TensorFlow, or {WAYS_OUT}"
            )
        value = tf.convert_to_tensor(value)
    return tf.ensure_shape(value, []) if scalar and value.shape.rank is None else value


def _connected(problem: Problem, found: Sequence[Any], unconnected: Unconnected) -> list[tf.Tensor | None]:
    """Refuse derivatives that are None, unless zeros were asked for."""
    pairs = enumerate(zip(problem.names, found, strict=True))
    missing = [name for place, (name, derivative) in pairs if derivative is None and place not in problem.held]
    if missing and unconnected == "error":
        raise UnconnectedGradientError(
            f"{problem.what} of {problem.name}: it does not depend on {', '.join(missing)}, as far as TensorFlow can "
            f"see. Either that is not used, or the way there leads through NumPy, integers or tf.stop_gradient. Leave "
            f"it out, or {WAYS_OUT}"
        )
    # A parameter that is looked up by tf.gather has a sparse gradient.
    return [None if derivative is None else tf.convert_to_tensor(derivative) for derivative in found]


def value_and_gradient(problem: Problem, unconnected: Unconnected) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """The value and, per parameter, the gradient."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(problem.sources)
        value = _traced_value(problem, scalar=True, unconnected=unconnected)
    found = _connected(problem, tape.gradient(value, problem.sources), unconnected)
    pairs = zip(found, problem.sources, strict=True)
    return value, [tf.zeros_like(source) if part is None else part for part, source in pairs]


def value_and_jacobian(problem: Problem, unconnected: Unconnected) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """The value of any shape and, per parameter, derivatives of the shape of the value plus that of the parameter."""
    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as outer:
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(problem.sources)
            value = _traced_value(problem, scalar=False, unconnected=unconnected)
        weights = tf.ones_like(value)
        outer.watch(weights)
        pulled = _connected(problem, tape.gradient(value, problem.sources, output_gradients=weights), unconnected)
    found = []
    for part, source in zip(pulled, problem.sources, strict=True):
        derivative = None if part is None else _transposed(outer, part, weights)
        if derivative is None and part is not None:
            derivative = all_derivatives(tape, value, source)
        if derivative is None:
            derivative = tf.zeros(tf.concat([tf.shape(value), tf.shape(source)], axis=0), source.dtype)
        found.append(derivative)
    return value, found


def _transposed(tape: tf.GradientTape, pulled: tf.Tensor, weights: tf.Tensor) -> tf.Tensor | None:
    """The Jacobian where there are fewer parameters than values, else None.

    What is pulled back is linear in the weights of the values, so that differentiating it by them gives the Jacobian in
    as many passes as there are parameters, with memory for parameters × values instead of values × values.
    """
    few, many = pulled.shape.num_elements(), weights.shape.num_elements()
    if few is None or many is None or few >= many:
        return None
    found = all_derivatives(tape, pulled, weights)
    if found is None:
        return None
    rank = pulled.shape.rank
    return tf.transpose(found, [*range(rank, rank + weights.shape.rank), *range(rank)])


def hessian_vector_product(problem: Problem, vector: list[tf.Tensor], unconnected: Unconnected) -> list[tf.Tensor]:
    """The Hessian applied to a vector, per parameter; costs a few evaluations whatever the number of parameters."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(problem.sources)
        _, gradient = value_and_gradient(problem, unconnected)
        parts = [
            tf.reduce_sum(tf.cast(part * tf.stop_gradient(direction), problem.dtype))
            for part, direction in zip(gradient, vector, strict=True)
        ]
        along = tf.add_n(parts)
    found = tape.gradient(along, problem.sources, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return [tf.convert_to_tensor(part) for part in found]


def all_derivatives(tape: tf.GradientTape, target: tf.Tensor, source: Any, at_once: int = 10) -> tf.Tensor | None:
    """The Jacobian of `target` by `source`, one row after another; None where they are unconnected.

    Unlike `tape.jacobian`, it takes a source of another dtype than the target. The vectorised form of that method takes
    longer to run, more memory, and many seconds to trace where the function has loops. `at_once` rows are computed at
    the same time.
    """
    if tape.gradient(target, source) is None:
        return None
    size, shape = tf.size(target), tf.shape(target)

    def row(place: tf.Tensor) -> tf.Tensor:
        weights = tf.reshape(tf.one_hot(place, size, dtype=target.dtype), shape)
        return tf.convert_to_tensor(tape.gradient(target, source, output_gradients=weights))

    signature = tf.TensorSpec(source.shape, source.dtype)
    count = target.shape.num_elements()
    places = tf.range(size if count is None else count)
    rows = tf.map_fn(
        row, places, fn_output_signature=signature, parallel_iterations=at_once if not tf.executing_eagerly() else 1
    )
    return tf.reshape(rows, tf.concat([shape, tf.shape(source)], axis=0))
