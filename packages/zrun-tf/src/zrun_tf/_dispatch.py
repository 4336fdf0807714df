"""The fast path: a compiled function is executed straight, without what TensorFlow does around each call.

This is the only module that uses private symbols of TensorFlow. They are looked up once; where one is missing, or where
a call needs what TensorFlow does around it (a gradient tape or an accumulator records, a cancellation manager or a
distribution strategy is in scope), the public path of `Graph` runs instead. Both give the same results.

Python code that runs between two executions of a graph is slow for its length, since TensorFlow leaves nothing of it in
the processor's caches. So this module calls little and keeps to few, long functions.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from importlib import import_module
from operator import attrgetter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, Literal

import tensorflow as tf

from ._graph import KERNELS, Graph, Traced, as_tensors, direct_is_allowed, enums, is_small
from ._python_errors import error_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

# Where each symbol is in TensorFlow 2.16 to 2.21.
_PLACES: Final = {
    "EagerTensor": "tensorflow.python.framework.ops:EagerTensor",
    "interpolate": "tensorflow.python.eager.polymorphic_function.atomic_function:InterpolateRuntimeError",
    "no_tape": "tensorflow.python.pywrap_tfe:TFE_Py_TapeSetIsEmpty",
    "run": "tensorflow.python.pywrap_tfe:TFE_Py_Execute",
    "cancellation": "tensorflow.python.eager.cancellation:context",
    "context": "tensorflow.python.eager.context:context",
    # A module: its function `execute` is exchanged while op callbacks are registered.
    "execute": "tensorflow.python.eager.execute:",
    "plain_execute": "tensorflow.python.eager.execute:quick_execute",
    "graphs": "tensorflow.python.framework.ops:_default_graph_stack",
    "Status": "tensorflow.python.eager.core:_NotOkStatusException",
    "as_error": "tensorflow.python.eager.core:_status_to_exception",
}


class Symbols(SimpleNamespace):
    """The private symbols that the fast path is made of, and methods of tensors and of the context."""


def _find(place: str) -> Any:
    module, _, name = place.partition(":")
    try:
        found = import_module(module)
        return getattr(found, name) if name else found
    except (ImportError, AttributeError):
        return None


def _symbols() -> Symbols | None:
    """All symbols, where each is there with what the fast path asks of it."""
    if None in _found.values():
        return None
    tensor, context, graphs = _found["EagerTensor"], _found["context"], _found["graphs"]
    try:
        state = context()._thread_local_data
        parts = [getattr(state, name) for name in ("is_eager", "device_name", "function_call_options")]
        parts += [getattr(graphs, name) for name in ("stack", "_global_default_graph")]
        dtype_of, shape_of, numpy_of = tensor._datatype_enum, tensor._shape_tuple, tensor._numpy_internal
    except AttributeError:
        return None
    state_of = attrgetter("_thread_local_data")
    return Symbols(**_found, dtype_of=dtype_of, shape_of=shape_of, numpy_of=numpy_of, state_of=state_of)


def probe() -> Mapping[str, bool]:
    """A new mapping from each of the private symbols to whether this TensorFlow has it."""
    return {place.replace(":", ".").rstrip("."): _found[name] is not None for name, place in _PLACES.items()}


def in_use() -> Literal["direct", "public"]:
    """Which path the graphs that are built now are called by. Scope: process."""
    return "public" if direct.symbols is None else "direct"


class _Direct:
    """Whether the fast path is to be used, and with what. Scope: process.

    Attributes:
        symbols: the private symbols; None where the public path is to be used.
    """

    def __init__(self) -> None:
        self.symbols = _symbols() if direct_is_allowed() else None


@contextmanager
def hidden() -> Iterator[None]:
    """A block in which calls are made as if a private symbol were missing; for tests. Scope: process."""
    before, direct.symbols = direct.symbols, None
    try:
        yield
    finally:
        direct.symbols = before


_found: Final = {name: _find(place) for name, place in _PLACES.items()}
direct: Final = _Direct()


def numpy_of(tensor: Any) -> Any:
    """The value of an eager tensor, which is not to be written to: it may be the tensor's own memory.

    Args:
        tensor: the tensor.
    """
    private = direct.symbols
    own = private is not None and type(tensor) is private.EagerTensor
    return private.numpy_of(tensor) if own else tensor.numpy()  # type: ignore[union-attr]


def in_strategy(private: Symbols) -> bool:
    """Whether a distribution strategy is in scope; where no graph is being built."""
    graphs = private.graphs
    graph = graphs.stack[-1] if graphs.stack else graphs._global_default_graph
    return bool(getattr(graph, "_distribution_strategy_stack", None))


def executable(traced: Traced) -> Graph:
    """A traced function, ready to be called by the fastest path there is for it.

    Args:
        traced: what tracing gave.
    """
    private = direct.symbols
    if private is None or traced.whole or not _is_plain(traced.concrete):
        return Graph(traced)
    return DirectGraph(traced, private)


def _is_plain(concrete: Any) -> bool:
    """Whether what goes in and comes out are tensors and variables, and what is captured stays the same."""
    try:
        arguments, keywords = concrete.structured_input_signature
        function = concrete._inference_function
        captured = concrete.captured_inputs
        changing = any(callable(one) for one in concrete._captured_inputs)
        inputs = len(concrete.inputs)
        outputs = function.function_type.flat_outputs
        name = function.name
    except AttributeError:
        return False
    if changing or keywords or len(arguments) + len(captured) != inputs or not isinstance(name, bytes):
        return False
    # Handles carry what they point to in Python, which only the public path passes on.
    handles = (tf.resource, tf.variant)
    return all(isinstance(one, tf.TensorSpec) and one.dtype not in handles for one in outputs) and all(
        isinstance(one, tf.Tensor) for one in captured
    )


class DirectGraph(Graph):
    """A graph that is executed straight.

    Args:
        traced: what tracing gave.
        private: what to execute it with.
    """

    __slots__ = ("_function", "_private", "_ready", "_sets", "_target", "_types")

    def __init__(self, traced: Traced, private: Symbols) -> None:
        super().__init__(traced)
        self._private = private
        self._types: Any = None
        self._exchange(traced.concrete)
        if traced.jit == "no" and is_small(traced.concrete) and len(tf.config.list_logical_devices()) == 1:
            self._types = (enums(traced.concrete.inputs), enums(traced.concrete.outputs))
            self._sets = any(one.type.startswith("Assign") for one in traced.concrete.graph.get_operations())
            self._left = CALLS_UNTIL_CALLED[traced.single]

    def _exchange(self, concrete: Any) -> None:
        super()._exchange(concrete)
        self._function = concrete._inference_function
        captured = list(concrete.captured_inputs)
        outputs = len(self._function.function_type.flat_outputs)
        # Read at once, so that a call never mixes two functions.
        self._target = (self._function.name.decode(), captured, outputs, False)
        # What to execute, for a target and TensorFlow's options, which belong to a thread and can be set.
        self._ready: tuple[Any, Any, str, tuple[Any, ...]] = (None, None, "", ())

    def _count(self) -> None:
        """Count a call; after some, an operation runs the function, in the thread that calls and in less time."""
        if self._types is None:
            super()._count()
            return
        self._left = max(0, self._left - 1)
        if not self._left and KERNELS.nbytes < KERNELS.MOST:
            KERNELS.nbytes += self.nbytes
            self._target = (*self._target[:3], True)

    def __call__(self, leaves: Sequence[Any]) -> Any:
        """Run the graph."""
        private = self._private
        if direct.symbols is None or not private.no_tape() or private.cancellation() is not None:
            return super().__call__(leaves)
        context = private.context()
        return self.finish(self.execute(as_tensors(leaves, private.EagerTensor, context), context))

    def execute(self, inputs: list[Any], context: Any) -> Sequence[Any]:
        """Execute the function, where nothing records and nothing cancels.

        Args:
            inputs: tensors, and handles of variables; this list is used up.
            context: TensorFlow's eager context.

        Returns:
            The tensors that the graph returned.
        """
        if self._left:
            self._count()
        private = self._private
        target = self._target
        state = context._thread_local_data
        options = state.function_call_options or context.function_call_options
        known, made_of, operation, attributes = self._ready
        if known is not target or made_of is not options:
            operation, attributes = self._make_ready(target, options)
        name, captured, outputs, called = target
        device = state.device_name
        inputs += captured
        lock = self._lock
        try:
            if private.execute.execute is not private.plain_execute or (called and device):
                return self._run_function(name, inputs, outputs, options, context)  # type: ignore[no-any-return]
            if lock is not None:
                # Not with acquire(): an interrupt right after it would leave the lock taken for ever.
                with lock:
                    return private.run(context._handle, device, operation, inputs, attributes, outputs)  # type: ignore[no-any-return]
            return private.run(context._handle, device, operation, inputs, attributes, outputs)  # type: ignore[no-any-return]
        except private.Status as status:
            error = private.as_error(status)
        except tf.errors.OpError as failed:
            # An error of a Python operation comes as it is.
            error = failed
        if called and not self._sets and name not in str(error):
            # The operation does not tell where the function failed, which the function itself does.
            error = error_of(lambda: self._run_function(name, inputs, outputs, options, context)) or error
        if (own := self.own_error(error)) is not None:
            raise own from error
        # Adds where in the user's code the operation stands.
        with private.interpolate(self._function):
            raise error from None

    def _run_function(self, name: str, inputs: list[Any], outputs: int, options: Any, context: Any) -> Any:
        """Execute the function itself, for callbacks to see and where a device was asked for."""
        attributes = _attributes_of(options)
        with self._lock or nullcontext():
            return self._private.execute.execute(name, outputs, inputs, attributes, context)

    def _make_ready(self, target: Any, options: Any) -> tuple[str, tuple[Any, ...]]:
        """The operation that is executed, and with what, under these options of TensorFlow."""
        name, _, _, called = target
        operation, attributes = name, _attributes_of(options)
        if called:
            operation = "StatefulPartitionedCall"
            attributes = ("Tin", self._types[0], "Tout", self._types[1], "f", name, "config", "", *attributes)
        self._ready = (target, options, operation, attributes)
        return operation, attributes


# Of a graph that many objects share, and of one for single objects: what is dropped soon is not worth what it leaves.
CALLS_UNTIL_CALLED: Final = (16, 256)


def _attributes_of(options: Any) -> tuple[Any, ...]:
    return tuple(part for pair in options.as_attrs().items() for part in pair)


def on_first_use(callback: Callable[[], None]) -> bool:
    """Have a function called once, just before TensorFlow starts its runtime; False where that cannot be had."""
    runtime = _found["context"] and _found["context"]()
    start = getattr(runtime, "ensure_initialized", None)
    if start is None:
        return False

    def first() -> Any:
        if vars(runtime).pop("ensure_initialized", None) is first:
            callback()
        return start()

    vars(runtime)["ensure_initialized"] = first
    return True


def runtime_state() -> tuple[bool, int, int] | None:
    """Whether TensorFlow has started, and its thread counts as set (0: not set); None where that is not to be seen."""
    # The public getters look for devices first, which takes time and may print.
    seen = vars(_found["context"]()) if _found["context"] else {}
    counts = [seen.get(f"_{pool}_op_parallelism_threads", "") for pool in ("intra", "inter")]
    return None if "" in counts else (seen.get("_context_handle") is not None, counts[0] or 0, counts[1] or 0)
