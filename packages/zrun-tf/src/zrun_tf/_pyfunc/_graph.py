"""A block in a graph: operations that call Python when the graph runs.

TensorFlow keeps for ever what it is given as a Python operation, and each gradient that is defined with it. So it is
given a few functions that look the block up by number; there is one graph of them for each list of dtypes, and the
graph of the user calls that. The block lives as long as the graphs that were built around its call.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import count
from threading import Lock
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary, ref

import numpy as np
import tensorflow as tf

from zrun_tf._errors import PythonFunctionError
from zrun_tf._python_errors import described
from zrun_tf._shadow import OWN_OPERATION, traced_here

from ._arguments import DIFFERENTIABLE
from ._calculus import Calculus, added
from ._points import Point

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from ._arguments import Arrays
    from ._block import Block
    from ._calculus import Tensors

    Array = NDArray[Any]

# Points whose derivatives are kept for each block: what threads that run one graph need at the same time.
_POINTS: Final = 4

_DROPPED: Final = (
    "numpy_function or py_function of zrun was called in something that drops its derivative, such as "
    "tf.vectorized_map, and is differentiated from outside of that. Use tf.map_fn, or call the function with all rows "
    "at once."
)

_numbers = count(1)
_tickets = count(1)
_lock = Lock()
_blocks: WeakValueDictionary[int, GraphBlock] = WeakValueDictionary()
_functions: dict[tuple[Any, ...], Any] = {}


class GraphBlock:
    """A block that graphs call by its number.

    Args:
        block: the block.

    Attributes:
        number: what it is known by.
        claimed: whether it is a zrun function that runs the graph, which asks for the exception that stopped it.
    """

    def __init__(self, block: Block) -> None:
        self.block = block
        traced = traced_here()
        self.claimed = traced is not None
        # Parameters that the graph has private copies of: the function would read the values of the user's.
        self._set = [] if traced is None else [ref(variable) for variable in traced.variables]
        self.number = next(_numbers)
        self._points: OrderedDict[int, Point] = OrderedDict()
        self._lock = Lock()
        _blocks[self.number] = self

    def evaluate(self, *slots: Array) -> list[Array]:
        """The slots of the results."""
        results = self.block.evaluate(slots)
        own = {id(variable()) for variable in self._set}
        read = [name for variable, name in self.block.reads if id(variable()) in own]
        if read:
            raise PythonFunctionError(
                f"{self.block.name} reads the parameter {', '.join(read)} on its own, where it has the value from "
                f"before the fit. Pass it as one of the inputs."
            )
        return results

    def point(self, ticket: int, slots: Sequence[Array]) -> Point:
        """The point that a ticket stands for."""
        with self._lock:
            found = self._points.pop(ticket, None)
            if found is None:
                found = Point(self.block, slots)
            self._points[ticket] = found
            while len(self._points) > _POINTS:
                self._points.popitem(last=False)
            return found


def call_in_graph(
    block: Block, inputs: Tensors, sources: Sequence[int], targets: Sequence[int], *, stateful: bool
) -> list[tf.Tensor]:
    """The results of a block in the graph that is being built.

    Args:
        block: the block.
        inputs: the slots of its inputs.
        sources: the numbers of those that TensorFlow may ask derivatives by.
        targets: the numbers of the results that have derivatives.
        stateful: whether its function must run whenever the graph does, in the order of the program.
    """
    held = GraphBlock(block)
    _keep(held)
    number = tf.constant(held.number, tf.int64)
    dtypes = (_dtypes(block.inputs), _dtypes(block.results))
    # The gradient of a reshape is of the shape of what was reshaped, also where that of the function is not known.
    shaped = [tf.reshape(tensor, tf.shape(tensor)) if tensor.shape.rank is not None else tensor for tensor in inputs]
    *results, ticket = _function(_trace_value, *dtypes, stateful)(number, *shaped)
    found = like = [results[target] for target in targets]
    # One call for each input: a derivative that nobody asks for is not computed, if no other is part of its call.
    for slot in sources if targets else ():
        found = added(found, _function(_trace_zeros, *dtypes, slot)(number, ticket, *like, *shaped))
    attached = dict(zip(targets, found, strict=True))
    return [attached.get(place, result) for place, result in enumerate(results)]


def _keep(held: GraphBlock) -> None:
    """Have a block live as long as the graphs that are being built."""
    graph = tf.compat.v1.get_default_graph()
    while True:
        outer = getattr(graph, "outer_graph", None)
        graph.zrun_blocks = [*getattr(graph, "zrun_blocks", ()), held]
        # The outermost one is there for ever.
        if outer is None or getattr(outer, "outer_graph", None) is None:
            return
        graph = outer


def _dtypes(arrays: Arrays) -> tuple[tf.DType, ...]:
    return tuple(slot.dtype for slot in arrays.slots)


def _function(trace: Callable[..., Any], *signature: Any) -> Any:
    """The graph that calls blocks of these dtypes."""
    key = (trace, *signature)
    with _lock:
        found = _functions.get(key)
        if found is None:
            # Outside of the graph of the user, which would be kept with it.
            with tf.init_scope():
                found = _functions[key] = trace(*signature)
        return found


def _trace_value(inputs: Sequence[tf.DType], results: Sequence[tf.DType], stateful: bool) -> Any:
    """The results, and the ticket of the evaluation."""

    def value(number: tf.Tensor, *slots: tf.Tensor) -> Any:
        return tf.numpy_function(_value, [number, *slots], [*results, tf.int64], stateful=stateful, name=OWN_OPERATION)

    return _concrete(value, inputs)


def _trace_zeros(inputs: Sequence[tf.DType], results: Sequence[tf.DType], slot: int) -> Any:
    """Zeros that carry the derivatives by a slot."""
    targets = [dtype for dtype in results if dtype in DIFFERENTIABLE]
    sources = [place for place, dtype in enumerate(inputs) if dtype.is_floating]

    def zeros(number: tf.Tensor, ticket: tf.Tensor, *tensors: tf.Tensor) -> Tensors:
        like, slots = tensors[: len(targets)], tensors[len(targets) :]
        return Calculus(GraphRaw(number, inputs, targets), slots, ticket, sources).carrying(slot, like)

    return _concrete(zeros, [tf.int64, *targets, *inputs])


def _concrete(function: Callable[..., Any], dtypes: Sequence[tf.DType]) -> Any:
    specs = [tf.TensorSpec(None, dtype) for dtype in dtypes]
    return tf.function(function, autograph=False).get_concrete_function(tf.TensorSpec([], tf.int64), *specs)


class GraphRaw:
    """See `_calculus.Raw`; the ticket is a tensor.

    Args:
        number: of the block.
        inputs: the dtypes of the slots of its inputs.
        targets: those of its results that have derivatives.
    """

    def __init__(self, number: tf.Tensor, inputs: Sequence[tf.DType], targets: Sequence[tf.DType]) -> None:
        self._number, self._inputs, self._targets = number, inputs, targets

    def here(self, tensors: Sequence[Any]) -> tuple[GraphRaw, list[Any]]:
        """See `Raw`; the gradient of a gradient must not refer to tensors of a graph that is out of its reach."""
        number, *local = self.local([self._number, *tensors])
        return GraphRaw(number, self._inputs, self._targets), local

    def local(self, tensors: Tensors) -> list[tf.Tensor]:
        """See `Raw`."""
        return [tf.identity(tensor) for tensor in tensors]

    def zero(self, like: tf.Tensor) -> tf.Tensor:
        """See `Raw`. tf.vectorized_map drops derivatives that functions define, and comes upon this one."""
        never = tf.zeros_like(like, tf.bool)
        return tf.where(never, tf.raw_ops.PreventGradient(input=like, message=_DROPPED), tf.zeros_like(like))

    def pulled(self, ticket: tf.Tensor, slot: int, weights: Tensors, inputs: Tensors) -> tf.Tensor:
        """See `Raw`."""
        return self._call(_pulled, [ticket, slot], [*inputs, *weights], self._inputs[slot])

    def pushed(self, ticket: tf.Tensor, slot: int, vector: tf.Tensor, inputs: Tensors) -> list[tf.Tensor]:
        """See `Raw`."""
        return list(self._call(_pushed, [ticket, slot], [*inputs, vector], self._targets))

    def curved(
        self, ticket: tf.Tensor, slot: int, other: int, weights: Tensors, vector: tf.Tensor, inputs: Tensors
    ) -> tf.Tensor:
        """See `Raw`."""
        return self._call(_curved, [ticket, slot, other], [*inputs, vector, *weights], self._inputs[other])

    def third(self, ticket: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
        """Raises when the graph runs."""
        return self._call(_third, [ticket], [like], like.dtype)

    def _call(self, function: Callable[..., Any], head: Sequence[Any], tensors: Tensors, dtypes: Any) -> Any:
        address = tf.stack([self._number, *(tf.cast(part, tf.int64) for part in head)])
        # Without state: what nobody asks for is not computed.
        return tf.numpy_function(function, [address, *tensors], dtypes, stateful=False, name=OWN_OPERATION)


# -- what TensorFlow calls, on threads of its own ---------------------------------------------------------------------


def _value(number: Any, *slots: Array) -> list[Array]:
    held = _held(number)
    return [*_guarded(held, held.evaluate, *slots), np.asarray(next(_tickets), np.int64)]


def _pulled(address: Array, *arrays: Array) -> Array:
    held, point, rest = _at(address, arrays)
    return _guarded(held, point.pulled, int(address[2]), rest)  # type: ignore[no-any-return]


def _pushed(address: Array, *arrays: Array) -> list[Array]:
    held, point, rest = _at(address, arrays)
    return _guarded(held, point.pushed, int(address[2]), rest[0])  # type: ignore[no-any-return]


def _curved(address: Array, *arrays: Array) -> Array:
    held, point, (vector, *weights) = _at(address, arrays)
    return _guarded(held, point.curved, int(address[2]), int(address[3]), weights, vector)  # type: ignore[no-any-return]


def _third(address: Array, _: Array) -> Array:
    held = _held(address[0])
    return _guarded(held, Point(held.block, ()).third)  # type: ignore[no-any-return]


def _held(number: Any) -> GraphBlock:
    found = _blocks.get(int(number))
    if found is None:
        raise RuntimeError(
            "A graph calls a Python function that is gone: the tf.function that it was traced in was dropped, and "
            "something else still runs its graph. Keep a reference to it."
        )
    return found


def _at(address: Array, arrays: Sequence[Array]) -> tuple[GraphBlock, Point, list[Array]]:
    held = _held(address[0])
    count_inputs = len(held.block.inputs.slots)
    # TensorFlow's memory, which it may use again afterwards.
    slots = [np.array(array) for array in arrays[:count_inputs]]
    return held, held.point(int(address[1]), slots), [np.asarray(array) for array in arrays[count_inputs:]]


def _guarded(held: GraphBlock, function: Callable[..., Any], *args: Any) -> Any:
    try:
        return held.block.on_foreign_thread(function, *args)
    except Exception as error:
        instead = described(error, f"This happened in {held.block.name}.", claimed=held.claimed)
        if instead is None:
            raise
        raise instead from instead.__cause__
