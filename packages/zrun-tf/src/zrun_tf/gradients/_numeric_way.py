"""Numerical derivatives of the user's functions: chooses the engine, and gives tensors shaped like the parameters."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from zrun_tf._errors import GradientError

from ._numeric import numeric_hessian, numeric_jacobian
from ._numeric_graph import Stencil
from ._points import EagerPoints, GraphPoints
from ._turns import only_here

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._options import NumericOptions
    from ._params import Numbers, Problem


def jacobian(
    problem: Problem, options: NumericOptions, *, scalar: bool
) -> tuple[tf.Tensor, list[tf.Tensor], list[tf.Tensor]]:
    """The value and, per parameter, derivatives and their errors, of the shapes of value and parameter joined."""
    if tf.executing_eagerly():
        points = EagerPoints(problem, scalar=scalar)
        with only_here(problem.variables):
            found = numeric_jacobian(*_of_free(problem, points, options), **_described(problem, options))
        value = tf.constant(found.value, points.dtype)
        rows, errors = (np.moveaxis(part, -1, 0) for part in (found.jacobian, found.error))
        shape = found.value.shape
    else:
        traced = GraphPoints(problem, scalar=scalar)
        f0, first = Stencil(problem, traced, options).first()
        shape, value = traced.out_shape, tf.cast(tf.reshape(f0, traced.out_shape), traced.dtype)
        rows, errors = first.value, first.error
    flat = [_spread(options, tf.reshape(part, [len(options.free), -1])) for part in (rows, errors)]
    return _held(problem, value, *(_by_parameter(problem, part, shape) for part in flat))  # type: ignore[no-any-return]


def hessian(
    problem: Problem, options: NumericOptions, *, diagonal: bool = False
) -> tuple[tf.Tensor, list[tf.Tensor], list[tf.Tensor], tf.Tensor, tf.Tensor]:
    """The value, the gradient and its error per parameter, the Hessian and its error.

    With `diagonal`, the mixed derivatives are not evaluated, and 0.
    """
    if tf.executing_eagerly():
        points = EagerPoints(problem, scalar=True)
        described = _described(problem, options)
        with only_here(problem.variables):
            found = numeric_hessian(*_of_free(problem, points, options), **described, diagonal=diagonal)
        value = tf.constant(found.value, points.dtype)
        first, first_error = found.gradient, found.gradient_error
        second, second_error = found.hessian, found.error
    else:
        traced = GraphPoints(problem, scalar=True)
        f0, derivative, second, second_error = Stencil(problem, traced, options).second(diagonal=diagonal)
        value = tf.cast(f0[0], traced.dtype)
        first, first_error = derivative.value, derivative.error
    columns = [_spread(options, tf.reshape(part, [-1, 1])) for part in (first, first_error)]
    parts = [_by_parameter(problem, column, ()) for column in columns]
    squares = []
    for part in (second, second_error):
        half = _spread(options, tf.convert_to_tensor(part))
        squares.append([tf.cast(_spread(options, tf.transpose(half)), problem.dtype)])
    value, gradient, gradient_error, (hessian,), (error,) = _held(problem, value, *parts, *squares)
    return value, gradient, gradient_error, hessian, error


def _of_free(
    problem: Problem, points: EagerPoints, options: NumericOptions
) -> tuple[Callable[[Numbers], Any], Numbers]:
    """The function of the free elements, and where they are."""
    whole = np.concatenate([np.asarray(source, np.float64).ravel() for source in problem.sources])

    def evaluate(free: Numbers) -> Any:
        every = np.repeat(whole[None, :], len(free), axis=0)
        every[:, options.free] = free
        return points(every)

    return evaluate, whole[options.free]


def _described(problem: Problem, options: NumericOptions) -> dict[str, Any]:
    single = np.repeat([dtype == tf.float32 for dtype in problem.dtypes], problem.sizes)
    names = problem.element_names()
    return {
        "single": single[options.free],
        "names": [names[place] for place in options.free],
        "function": problem.name,
        **options.of_free(),
    }


def _spread(options: NumericOptions, rows: tf.Tensor) -> tf.Tensor:
    """A row for each element, with zeros for those that are fixed."""
    if not options.fixed.any():
        return rows
    place = np.where(options.fixed, len(options.free), np.cumsum(~options.fixed) - 1)
    return tf.gather(tf.pad(rows, [[0, 1], [0, 0]]), place)


def _by_parameter(problem: Problem, rows: tf.Tensor, shape: tuple[int, ...]) -> list[tf.Tensor]:
    """Derivatives of shape `(n, out)` as one tensor per parameter, of the shapes of value and parameter joined."""
    parts = tf.split(tf.transpose(rows), problem.sizes, axis=1)
    return [
        tf.cast(tf.reshape(part, [*shape, *own]), dtype)
        for part, own, dtype in zip(parts, problem.shapes, problem.dtypes, strict=True)
    ]


def _held(problem: Problem, value: tf.Tensor, *groups: list[tf.Tensor]) -> Any:
    """The results, such that an outer tape that differentiates them raises instead of finding no connection."""
    sources = [tf.convert_to_tensor(source) for source in problem.sources]
    results = [tf.convert_to_tensor(tensor) for tensor in (value, *(tensor for group in groups for tensor in group))]
    hold = _refusing(problem.name, problem.what)
    if not tf.executing_eagerly():
        specs = tuple(tuple(tf.TensorSpec(t.shape, t.dtype) for t in part) for part in (sources, results))
        try:
            found = _traced(problem.name, problem.what, *specs)(sources, results)
        except GradientError:
            # Under several tapes, TensorFlow differentiates a function before anybody asks.
            found = hold(sources, results)
    else:
        found = hold(sources, results)
    held = iter(found)
    return next(held), *([next(held) for _ in group] for group in groups)


def _refusing(name: str, what: str) -> Callable[[list[tf.Tensor], list[tf.Tensor]], list[tf.Tensor]]:
    # The results are inputs: TensorFlow looks for variables in what lies between inputs and outputs.
    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def hold(sources: list[tf.Tensor], results: list[tf.Tensor]) -> Any:  # noqa: ARG001 - what it hangs on
        def refuse(*_: tf.Tensor) -> Any:
            raise GradientError(
                f"The numerical {what} of {name} is to be differentiated by an outer tape, which it cannot be. Use "
                f"zrun.hessian for second derivatives, or automatic derivatives (autograd=True)."
            )

        return [tf.identity(result) for result in results], refuse

    return hold  # type: ignore[no-any-return]


@lru_cache(maxsize=256)
def _traced(name: str, what: str, sources: tuple[tf.TensorSpec, ...], results: tuple[tf.TensorSpec, ...]) -> Any:
    """`_refusing` as a graph of its own: TensorFlow keeps each graph with a custom gradient, whole, for ever."""
    with tf.init_scope():
        function = tf.function(_refusing(name, what), autograph=False)
        return function.get_concrete_function(list(sources), list(results))
