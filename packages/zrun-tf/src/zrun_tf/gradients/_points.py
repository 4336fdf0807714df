"""The user's function at the points of a stencil: one after another, or in a loop inside a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import tensorflow as tf

from zrun_tf._errors import GradientError
from zrun_tf._shadow import traced_here

from ._auto import checked_value

if TYPE_CHECKING:
    from ._params import Numbers, Problem

# The name under which TensorFlow makes a new variable each time, freed with the last tensor that refers to it.
_ANONYMOUS: Final = "cd2c89b7-88b7-44c8-ad83-06c2a9158347"


class EagerPoints:
    """The function, called in Python for one point after another.

    Variables are set for each point, and hold afterwards what they held before, also when the function raises. Other
    threads that read them meanwhile see the points.

    Args:
        problem: the function.
        scalar: whether it must return a single number.

    Attributes:
        dtype: of the function's values, once it was called.
    """

    def __init__(self, problem: Problem, *, scalar: bool) -> None:
        self._problem = problem
        self._scalar = scalar
        self.dtype = tf.float64

    def __call__(self, points: Numbers) -> Any:
        """The function at points of shape `(k, n)`, as an array of shape `(k, *out)`."""
        before = [variable.numpy() for variable in self._problem.variables]
        try:
            try:
                values = [self._at(point) for point in points]
            finally:
                self._set(before)
        except BaseException:
            # An interrupt may also arrive while they are being set back.
            self._set(before)
            raise
        shapes = {value.shape for value in values}
        if len(shapes) > 1:
            raise GradientError(
                f"{self._problem.what} of {self._problem.name}: it returned different shapes for different parameters: "
                f"{', '.join(map(str, sorted(shapes)))}."
            )
        stacked = np.stack(values)
        self.dtype = tf.as_dtype(stacked.dtype)
        return stacked

    def _set(self, values: list[Any]) -> None:
        for variable, value in zip(self._problem.variables, values, strict=True):
            variable.assign(value)

    def _at(self, point: Numbers) -> np.ndarray[Any, Any]:
        problem, values = self._problem, []
        parts = np.split(point, np.cumsum(problem.sizes)[:-1])
        for leaf, part, shape, dtype in zip(problem.leaves, parts, problem.shapes, problem.dtypes, strict=True):
            value = part.reshape(shape).astype(dtype.as_numpy_dtype)[()]
            if isinstance(leaf, tf.Variable):
                leaf.assign(value)
                values.append(leaf)
            else:
                # Code written for NumPy gets NumPy numbers, if it was given them.
                values.append(tf.convert_to_tensor(value) if isinstance(leaf, tf.Tensor) else value)
        return np.asarray(checked_value(problem, problem.call(values), scalar=self._scalar))


class GraphPoints:
    """The function, traced once and run in a loop of the graph that is being built.

    The graph sets private variables in place of the user's: what the function captured as the latter's resources is
    passed the former's. So the user's variables are never touched, whatever happens while the graph runs.

    Args:
        problem: the function.
        scalar: whether it must return a single number.

    Attributes:
        out_shape: the shape that the function returns.
        size: how many values that are.
        dtype: of its values.
        eps: relative rounding error of its values.
    """

    def __init__(self, problem: Problem, *, scalar: bool) -> None:
        self._problem = problem
        inputs = [leaf for leaf in problem.sources if not isinstance(leaf, tf.Variable)]

        def at_point(*tensors: tf.Tensor) -> tf.Tensor:
            given = iter(tensors)
            values = [leaf if isinstance(leaf, tf.Variable) else next(given) for leaf in problem.sources]
            value = tf.convert_to_tensor(checked_value(problem, problem.call(values), scalar=scalar))
            return tf.ensure_shape(value, []) if scalar else value

        specs = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in inputs]
        self._function = tf.function(at_point, autograph=False).get_concrete_function(*specs)
        (output,) = self._function.outputs
        if not output.shape.is_fully_defined():
            raise GradientError(
                f"{problem.what} of {problem.name}: the shape of what it returns must be known while the graph is "
                f"built; it is {output.shape}. Use tf.ensure_shape, or compute numerical derivatives eagerly."
            )
        self.out_shape = tuple(int(size) for size in output.shape)
        self.size = int(np.prod(self.out_shape, dtype=int))
        self.dtype = output.dtype
        self.eps = float(np.finfo(output.dtype.as_numpy_dtype).eps)
        self._resources = [_private_resource(variable) for variable in problem.variables]

    def __call__(self, points: tf.Tensor, active: tf.Tensor) -> tf.Tensor:
        """The function at float64 points of shape `(k, n)`, as a float64 tensor of shape `(k, out)`.

        Where `active`, of shape `(k,)`, is False, the function is not evaluated and the values mean nothing.
        """
        values = tf.TensorArray(tf.float64, size=tf.shape(points)[0], element_shape=[self.size])
        order = tf.argsort(tf.cast(active, tf.int32), direction="DESCENDING")
        count = tf.reduce_sum(tf.cast(active, tf.int32))

        def step(done: tf.Tensor, values: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
            place = order[done]
            return done + 1, values.write(place, self.at(points[place]))

        # One at a time where all share the private variables.
        settings = {"parallel_iterations": 1 if self._resources else 10}
        return tf.while_loop(lambda done, _: done < count, step, (0, values), **settings)[1].stack()

    def at(self, point: tf.Tensor) -> tf.Tensor:
        """The function at a float64 point of shape `(n,)`, as a float64 tensor of shape `(out,)`."""
        problem, inputs, replaced = self._problem, [], {}
        resources = iter(self._resources)
        parts = tf.split(point, problem.sizes)
        assigned = []
        for leaf, part, shape, dtype in zip(problem.sources, parts, problem.shapes, problem.dtypes, strict=True):
            value = tf.cast(tf.reshape(part, shape), dtype)
            if isinstance(leaf, tf.Variable):
                resource = next(resources)
                replaced[id(leaf.handle)] = resource
                assigned.append(tf.raw_ops.AssignVariableOp(resource=resource, value=value))
            else:
                inputs.append(value)
        captured = [replaced.get(id(outside), outside) for outside in self._function.captured_inputs]
        with tf.control_dependencies([op for op in assigned if op is not None]):
            (output,) = tf.raw_ops.StatefulPartitionedCall(
                args=inputs + captured, Tout=[tensor.dtype for tensor in self._function.outputs], f=self._function
            )
        return tf.reshape(tf.cast(output, tf.float64), [self.size])


class FreePoints:
    """A function of the free parameters alone; the others stay where they are. Otherwise as `GraphPoints`.

    Args:
        points: the function of all parameters.
        whole: all parameters, of shape `(n,)`.
        free: which of them are free, of shape `(m,)`.
    """

    def __init__(self, points: GraphPoints, whole: tf.Tensor, free: np.ndarray[Any, Any]) -> None:
        self._points = points
        self._whole = whole
        self._place = np.full(whole.shape[0], len(free))
        self._place[free] = np.arange(len(free))
        self._is_free = self._place < len(free)
        self.size, self.eps = points.size, points.eps

    def __call__(self, points: tf.Tensor, active: tf.Tensor) -> tf.Tensor:
        """The function at points of shape `(k, m)`."""
        if not self._is_free.all():
            moved = tf.gather(tf.pad(points, [[0, 0], [0, 1]]), self._place, axis=1)
            points = tf.where(self._is_free, moved, self._whole)
        return self._points(points, active)


def _private_resource(variable: tf.Variable) -> tf.Tensor:
    """A variable's resource of the same dtype and shape, for the graph that is being built."""

    def make() -> tf.Tensor:
        shape = variable.shape
        resource = tf.raw_ops.VarHandleOp(dtype=variable.dtype, shape=shape, shared_name=_ANONYMOUS)
        tf.raw_ops.AssignVariableOp(resource=resource, value=tf.zeros(shape, variable.dtype))
        return resource

    if not compiled_by_xla():
        # One for each run of the graph, so that threads can run it at the same time.
        return make()
    # XLA makes no variables, but gives each run its own copy of what they hold.
    with tf.init_scope():
        return make()


def compiled_by_xla() -> bool:
    """Whether the graph that is being built is for XLA.

    TensorFlow has no public question for that. It marks a conditional to be lowered where the graph is not for XLA; the
    one made here is not used by anything, so it is never run.
    """
    probe = tf.cond(tf.constant(True), lambda: tf.constant(0), lambda: tf.constant(1)).op
    while probe.type == "Identity":
        probe = probe.inputs[0].op
    try:
        return not probe.get_attr("_lower_using_switch_merge")
    except ValueError:
        return True


def is_compiled() -> bool:
    """Whether the graph that is being built is for XLA, now or once it has been called often."""
    traced = traced_here()
    if traced is not None and traced.compiled:
        return True
    graph = tf.compat.v1.get_default_graph()
    found = getattr(graph, "zrun_compiled", None)
    if found is None:
        # The question takes longer than all the rest, so that it is asked once for each graph.
        found = graph.zrun_compiled = compiled_by_xla()
    return bool(found)
