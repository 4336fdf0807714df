"""A Python function as a block of a model: what it is called with, and what it must return."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import ref

import numpy as np
import tensorflow as tf

from zrun_core._scope import Using, bind
from zrun_tf._errors import GradientError, PythonFunctionError

from ._arguments import Arrays, packed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from ._rows import Rows

    Array = NDArray[Any]


class Options(NamedTuple):
    """How a block is differentiated.

    Attributes:
        jacobian: the user's derivatives; None: they are found numerically.
        rows: which slots are mapped row by row.
        bounds: for each leaf of the inputs a pair, or None.
        scale: for each leaf of the inputs a scale, or None.
        autograd: whether the function computes with TensorFlow, which is to differentiate it.
    """

    jacobian: Callable[..., Any] | None
    rows: Rows
    bounds: Sequence[Any]
    scale: Sequence[Any]
    autograd: bool


class Block:
    """One call of `numpy_function` or `py_function`: eager, or traced and then run many times.

    Args:
        what: the public function that made it.
        func: the user's function.
        given: the inputs as they were given, whose form decides how `func` is called.
        inputs: the inputs.
        results: the results.
        options: how it is differentiated.
        tensors: whether `func` takes tensors instead of NumPy arrays.

    Attributes:
        name: of the block, for messages.
        function: the user's function.
        on_foreign_thread: calls a function with arguments under the policy of the caller, wherever it is called.
        reads: the trainable variables that `func` was seen to read on its own, with their names.
        integers: what it was seen to return that like promised as real numbers, for messages.
        precision: the coarsest relative rounding error among the results as `func` returned them.
    """

    def __init__(
        self,
        what: str,
        func: Callable[..., Any],
        given: Any,
        inputs: Arrays,
        results: Arrays,
        options: Options,
        *,
        tensors: bool,
    ) -> None:
        self.name = named(what, func)
        self.inputs, self.results, self.options = inputs, results, options
        self.function, self._given, self._tensors = func, given, tensors
        self.reads: list[tuple[ref[tf.Variable], str]] = []
        self.integers = ""
        self.precision = float(np.finfo(np.float64).eps)
        # TensorFlow runs a body of a graph on one of its own threads. The policy there is the caller's, but graphs are
        # off: one would wait for threads of the same pool that this body is holding.
        with Using({"graph": False}):
            self.on_foreign_thread = bind(_apply)

    def evaluate(self, slots: Sequence[Array]) -> list[Array]:
        """The slots of the results, for slots of the inputs, which stay as they are."""
        with tf.GradientTape() as tape:
            result = self.call(self.function, slots)
        if watched := tape.watched_variables():
            self.reads = [(ref(variable), variable.name.partition(":")[0]) for variable in watched]
        return self.results.split_arrays(self._checked(result))

    def differentiated(self, slots: Sequence[Array]) -> list[Array]:
        """Those of the results that have derivatives."""
        pairs = zip(self.evaluate(slots), self.results.slots, strict=True)
        return [result for result, slot in pairs if slot.differentiable]

    def call(self, function: Callable[..., Any], slots: Sequence[Array]) -> Any:
        """Call the user's function, or their Jacobian, with the inputs in the form in which they were given."""
        return self.called(function, [array[()] for array in self.inputs.join_arrays(slots)])

    def called(self, function: Callable[..., Any], leaves: Sequence[Any]) -> Any:
        """Call a function with leaves of the inputs."""
        if self._tensors:
            leaves = [
                tf.constant(leaf, like.dtype) if not isinstance(leaf, tf.Tensor) else leaf
                for leaf, like in zip(leaves, self.inputs.leaves, strict=True)
            ]
        args, kwargs = arguments(packed(self._given, iter(leaves)))
        return function(*args, **kwargs)

    def _checked(self, result: Any) -> list[Array]:
        """What the function returned as arrays of the dtypes and shapes that `like` promised."""
        found = list(self.leaves_of_result(result))
        arrays = []
        for value, like in zip(found, self.results.leaves, strict=True):
            array = self._array(value, like.name)
            if not np.can_cast(array.dtype, like.dtype.as_numpy_dtype, "same_kind"):
                raise PythonFunctionError(
                    f"{self.name}: {like.name} is {array.dtype.name}, which does not go into the {like.dtype.name} "
                    f"that like promised. Convert it in the function, or give another like."
                )
            if not like.shape.is_compatible_with(array.shape):
                raise PythonFunctionError(
                    f"{self.name}: {like.name} has shape {array.shape}, but like promised {_text(like.shape)}. Give "
                    f"like=tf.TensorSpec(shape, dtype) with None for sizes that are not known."
                )
            if like.dtype.is_floating and array.dtype.kind != "f":
                self.integers = f"{like.name} as {array.dtype.name}"
            if array.dtype.kind in "fc":
                self.precision = max(self.precision, float(np.finfo(array.dtype).eps))
            # A copy: TensorFlow may write into the memory it is given, and that may be the function's own.
            arrays.append(np.array(array, like.dtype.as_numpy_dtype, order="C"))
        return arrays

    def leaves_of_result(self, result: Any, what: str = "it returned") -> list[Any]:
        """The leaves of something that must have the structure of the results."""
        return unpacked(self.results, result, f"{self.name}: {what}")

    def _array(self, value: Any, name: str) -> Array:
        if value is None:
            raise PythonFunctionError(f"{self.name}: {name} is None; does the function lack a return?")
        try:
            array = np.asarray(value)
        except Exception as error:
            raise PythonFunctionError(
                f"{self.name}: {name} is a {type(value).__name__}, which no NumPy array can be made of: {error}"
            ) from error
        if array.dtype == object:
            raise PythonFunctionError(
                f"{self.name}: {name} is a {type(value).__name__}, which is no array of numbers. Return arrays, or "
                f"several of them in the form of like."
            )
        return array

    def refuse_unseen(self) -> None:
        """Raise if there is no derivative, or one that would leave something out."""
        if self.reads:
            names = sorted({name for _, name in self.reads})
            raise GradientError(
                f"{self.name} reads the variable{'s' * (len(names) > 1)} {', '.join(names)} on its own, so that "
                f" no derivative would take notice of it. Pass it as one of the inputs; a variable that nothing is "
                f"differentiated by, make with trainable=False."
            )
        if self.integers:
            raise GradientError(
                f"{self.name} returned {self.integers}, and whole numbers have no derivative. Have it compute with "
                f"floats, or use tf.stop_gradient on its result."
            )


def _apply(function: Callable[..., Any], *args: Any) -> Any:
    return function(*args)


def named(what: str, func: Callable[..., Any]) -> str:
    """How messages call a block."""
    name = getattr(func, "__qualname__", None) or getattr(func, "__name__", None)
    inner = getattr(func, "func", None)
    if name is None and callable(inner):
        name = getattr(inner, "__qualname__", None)
    # AutoGraph's copy of the function around it is not a name that the user gave.
    name = name and re.sub(r"\b(outer_factory\.<locals>\.|inner_factory\.<locals>\.|tf__)", "", name)
    return f"{what} of {name or type(func).__name__}"


def arguments(inputs: Any) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """The arguments of a call: one input as such, a list or tuple by position, a mapping by name."""
    if isinstance(inputs, dict):
        return (), inputs
    return (tuple(inputs), {}) if isinstance(inputs, (list, tuple)) else ((inputs,), {})


def unpacked(arrays: Arrays, value: Any, what: str) -> list[Any]:
    """The leaves of a value that must have the structure of these arrays."""
    from collections.abc import Mapping as MappingType

    def walk(structure: Any, part: Any, path: str) -> list[Any]:
        if isinstance(structure, MappingType):
            if not isinstance(part, MappingType) or set(part) != set(structure):
                got = (
                    f"a mapping with keys {list(part)}" if isinstance(part, MappingType) else f"a {type(part).__name__}"
                )
                raise PythonFunctionError(f"{what}{path} {got} where a mapping with keys {list(structure)} belongs.")
            return [leaf for key in structure for leaf in walk(structure[key], part[key], f" under {key!r}")]
        if isinstance(structure, (list, tuple)):
            try:
                count = len(part)
            except TypeError:
                count = -1
            if isinstance(part, MappingType) or count != len(structure):
                got = f"{count} values" if count >= 0 else f"a {type(part).__name__}"
                raise PythonFunctionError(f"{what}{path} {got} where {len(structure)} belong.")
            return [
                leaf for place, one in enumerate(structure) for leaf in walk(one, part[place], f" in place {place}")
            ]
        return [part]

    return walk(arrays.structure, value, "")


def _text(shape: tf.TensorShape) -> str:
    return str(tuple(shape)) if shape.rank is not None else "any shape"
