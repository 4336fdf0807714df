"""A traced function as the cache holds it, called through TensorFlow's public interface."""

from __future__ import annotations

import os
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import numpy as np
import tensorflow as tf

from zrun_core._structure import LeafNode, rebuild
from zrun_core.errors import EnvironmentVariableError

from ._leaves import Rows
from ._python_errors import original
from ._shadow import PYTHON_OPERATIONS
from ._xla import compile_error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from zrun_core._structure import Key


_ENVIRONMENT: Final = "ZRUN_DISPATCH"
CALLS_UNTIL_COMPILED: Final = 8


class Kernels:
    """What TensorFlow keeps of graphs that an operation runs, also when they are gone. Scope: process.

    It keeps that among its kernels, all of which can be cleared only together; a seeded random operation of anybody's
    graph would then begin again with its first number. So it stays, and no more graphs are run that way once it has
    grown to a limit.

    Attributes:
        nbytes: an estimate.
    """

    MOST = 64 << 20
    nbytes = 0


KERNELS: Final = Kernels()
_counting: Final = Lock()
# The codes of NumPy's dtypes that eager tensors are made of straight: all numbers but long doubles.
NUMBERS: Final = frozenset("?bBhHiIlLqQefdFD")


class Traced(NamedTuple):
    """What tracing a function gave.

    Attributes:
        name: of the function, for messages.
        concrete: takes the leaves of a call as inputs and returns a list of tensors.
        result: the key of the result, which those tensors are the leaves of.
        nbytes: an estimate of the memory the graph takes.
        jit: whether XLA compiles it: not at all, as it was traced, or once it has been called often.
        notes: what is to be told of it where somebody asks.
        whole: whether values of several tensors (ragged and sparse ones, data sets) go in or come out, which only
            TensorFlow's own call takes apart and puts together.
        shadows: private variables that the graph sets; while there are any, one call runs at a time.
        single: whether it is for single objects, and dropped with them.
    """

    name: str
    concrete: Any
    result: Key
    nbytes: int
    jit: Literal["no", "now", "later"]
    notes: tuple[str, ...] = ()
    whole: bool = False
    shadows: Sequence[tf.Variable] = ()
    single: bool = False


class Status:
    """What of a graph changes, shared with who watches it.

    Attributes:
        compiled: whether XLA compiles it.
    """

    __slots__ = ("compiled",)

    def __init__(self, compiled: bool) -> None:
        self.compiled = compiled


class Graph:
    """A traced function, called with the leaves of a call.

    Args:
        traced: what tracing gave.

    Attributes:
        name: of the function, for messages.
        nbytes: an estimate of the memory it takes.
        jit: whether XLA compiles it: not at all, as it was traced, or once it has been called often.
        notes: what `run.explain` tells of it.
        finish: makes the result of a call from the tensors that the concrete function returned.
    """

    __slots__ = (
        "__weakref__",
        "_concrete",
        "_left",
        "_lock",
        "_shadows",
        "finish",
        "name",
        "nbytes",
        "notes",
        "status",
    )

    def __init__(self, traced: Traced) -> None:
        self.name = traced.name
        self.nbytes = traced.nbytes
        self.status = Status(traced.jit == "now")
        # How many calls are left until it is compiled; 0 if it is not to be.
        self._left = CALLS_UNTIL_COMPILED if traced.jit == "later" else 0
        self.notes = traced.notes
        self._concrete = traced.concrete
        self.finish = put_together(traced.result)
        self._shadows = traced.shadows
        self._lock = Lock() if traced.shadows else None

    def __call__(self, leaves: Sequence[Any]) -> Any:
        """Run the graph."""
        if self._left:
            self._count()
        inputs = [to_input(leaf) for leaf in leaves]
        try:
            if self._lock is None:
                return self.finish(self._concrete(*inputs))
            with self._lock:
                return self.finish(self._concrete(*inputs))
        except tf.errors.OpError as error:
            if (own := self.own_error(error)) is None:
                raise
            raise own from error

    def own_error(self, error: tf.errors.OpError) -> BaseException | None:
        """What is raised in place of an error of TensorFlow, where there is something.

        Args:
            error: the error of a call.

        Returns:
            What a Python function of the user raised, as it is; or that XLA cannot compile the function.
        """
        found = original(error)
        return compile_error(self.name, error) if found is None and self.status.compiled else found

    @property
    def compiled(self) -> bool:
        """Whether XLA compiles it."""
        return self.status.compiled

    def _count(self) -> None:
        """Count a call; the last one before it is compiled has that done."""
        with _counting:
            self._left = max(0, self._left - 1)
            if self._left or self.status.compiled:
                return
            self.status.compiled = True
        self._exchange(_compiled(self._concrete))

    def _exchange(self, concrete: Any) -> None:
        """Run another concrete function from now on, which computes the same."""
        self._concrete = concrete


def _compiled(concrete: Any) -> Any:
    """A concrete function that XLA compiles, around another; the Python body does not run again."""
    arguments, _ = concrete.structured_input_signature
    function = tf.function(concrete, autograph=False, jit_compile=True)
    return function.get_concrete_function(*arguments)


def to_input(leaf: Any) -> Any:
    """A leaf of a call as what a concrete function takes: floats and arrays become tensors."""
    if isinstance(leaf, np.generic):
        return tf.convert_to_tensor(leaf)
    # Not as numbers where there are zeros: TensorFlow keeps tensors of numbers, and takes 0.0 and -0.0 for the same.
    if isinstance(leaf, float):
        return tf.constant(leaf or np.array(leaf), tf.float64)
    if isinstance(leaf, complex):
        return tf.constant(np.array(leaf), tf.complex128)
    if isinstance(leaf, np.ndarray):
        return tf.convert_to_tensor(leaf)
    return leaf.tensor if isinstance(leaf, Rows) else leaf


def placeholder(leaf: Any) -> Any:
    """What the placeholder of a leaf looks like."""
    if isinstance(leaf, tf.Variable):
        return leaf
    if isinstance(leaf, Rows):
        return tf.TensorSpec([None, *leaf.tensor.shape[1:]], leaf.tensor.dtype)
    return tf.type_spec_from_value(to_input(leaf))


def put_together(result: Key) -> Callable[[Sequence[Any]], Any]:
    """The function that makes the result of a call from the tensors that its graph returned.

    Args:
        result: the key of the result.
    """
    if isinstance(result[0], LeafNode):
        return _only
    if result[1] is tuple and all(isinstance(part[0], LeafNode) for part in result[3:]):
        return tuple
    return lambda tensors: rebuild(result, tensors)


def _only(tensors: Sequence[Any]) -> Any:
    return tensors[0]


# Up to this many elements, handing an operation to another thread costs more than computing it.
_SMALL: Final = 1 << 14
# Operations with a state that is elsewhere. Others begin anew where what runs them is made anew, as random ones do.
_VARIABLES: Final = frozenset(
    {"ReadVariableOp", "AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp", "ResourceGather"}
)


def is_small(concrete: Any) -> bool:
    """Whether a graph may as well be run in one thread, by another kernel: small tensors, and no state of its own.

    Args:
        concrete: a concrete function.
    """
    for operation in concrete.graph.get_operations():
        if operation.op_def.is_stateful and operation.type not in _VARIABLES:
            return False
        if operation.type in PYTHON_OPERATIONS or any(
            attribute.HasField("func") or attribute.list.func for attribute in operation.node_def.attr.values()
        ):
            return False
        for output in operation.outputs:
            elements = 1 if output.dtype == tf.resource else output.shape.num_elements()
            if elements is None or elements > _SMALL:
                return False
    return True


def enums(tensors: Sequence[Any]) -> list[int]:
    """TensorFlow's numbers for the dtypes of tensors."""
    return [tensor.dtype.as_datatype_enum for tensor in tensors]


def direct_is_allowed() -> bool:
    """Whether the environment leaves it to zrun how graphs are called.

    Raises:
        EnvironmentVariableError: `ZRUN_DISPATCH` is neither `direct` nor `public`.
    """
    value = os.environ.get(_ENVIRONMENT, "direct")
    if value not in ("direct", "public"):
        raise EnvironmentVariableError(
            f"{_ENVIRONMENT} must be 'direct' (graphs are executed straight where that can be done) or 'public' (only "
            f"TensorFlow's public interface is used); got {value!r}. Correct or unset it."
        )
    return value == "direct"


def as_tensors(leaves: Sequence[Any], eager_tensor: Any, context: Any) -> list[Any]:
    """The leaves of a call as tensors; handles in place of variables.

    Args:
        leaves: of a call.
        eager_tensor: TensorFlow's class of eager tensors.
        context: its eager context.
    """
    # An empty name is looked up, which takes three times as long as the rest.
    device = context.device_name or None
    tensors: list[Any] = []
    for leaf in leaves:
        cls = type(leaf)
        if cls is eager_tensor:
            tensors.append(leaf)
        elif cls is float:
            # Not of the number, which TensorFlow 2.16 crashes on without the name of a device.
            tensors.append(eager_tensor(np.array(leaf), device, None))
        elif cls is np.ndarray and leaf.dtype.char in NUMBERS:
            # A tensor may share the memory of an array, which can change later.
            tensors.append(eager_tensor(leaf.copy(), device, None))
        elif isinstance(leaf, tf.Variable):
            tensors.append(leaf.handle)
        else:
            tensors.append(to_input(leaf))
    return tensors
