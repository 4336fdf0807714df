"""What goes into a Python function and what comes out: structures, dtypes and shapes.

TensorFlow differentiates slots: real tensors. An input or result is one slot, or two if it is complex: its real and its
imaginary part.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import tensorflow as tf

from zrun_tf._errors import PythonFunctionError
from zrun_tf._floats import FloatInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Array = NDArray[Any]

DIFFERENTIABLE: Final = (tf.float32, tf.float64)


class Leaf(NamedTuple):
    """One array that goes in or comes out.

    Attributes:
        name: what messages call it.
        dtype: its dtype.
        shape: its shape, as far as it is known.
    """

    name: str
    dtype: tf.DType
    shape: tf.TensorShape


class Slot(NamedTuple):
    """One real tensor.

    Attributes:
        name: what messages call it.
        leaf: the number of the leaf it belongs to.
        part: `"real"` or `"imag"` of a complex leaf; otherwise empty.
        dtype: its dtype.
    """

    name: str
    leaf: int
    part: str
    dtype: tf.DType

    @property
    def differentiable(self) -> bool:
        """Whether there are derivatives with respect to it, or of it."""
        return self.dtype in DIFFERENTIABLE


class Arrays:
    """The leaves of a structure, and the slots they are made of.

    Args:
        structure: as it was given: leaves in lists, tuples and mappings.
        leaves: what is known of each leaf.
    """

    def __init__(self, structure: Any, leaves: Sequence[Leaf]) -> None:
        self.structure = structure
        self.leaves = list(leaves)
        self.slots: list[Slot] = []
        for number, leaf in enumerate(self.leaves):
            if leaf.dtype.is_complex:
                real = tf.float32 if leaf.dtype == tf.complex64 else tf.float64
                self.slots += [Slot(f"the {name} of {leaf.name}", number, part, real) for name, part in _PARTS]
            else:
                self.slots.append(Slot(leaf.name, number, "", leaf.dtype))

        self.differentiable = [slot for slot in self.slots if slot.differentiable]

    def pack(self, leaves: Sequence[Any]) -> Any:
        """Values of the leaves in the structure that was given."""
        return packed(self.structure, iter(leaves))

    def split(self, tensors: Sequence[Any]) -> list[Any]:
        """The slots of tensors."""
        parts = {"real": tf.math.real, "imag": tf.math.imag}
        return [parts[slot.part](tensors[slot.leaf]) if slot.part else tensors[slot.leaf] for slot in self.slots]

    def split_arrays(self, arrays: Sequence[Array]) -> list[Array]:
        """The slots of NumPy arrays."""
        return [
            np.array(getattr(arrays[slot.leaf], slot.part)) if slot.part else arrays[slot.leaf] for slot in self.slots
        ]

    def join(self, slots: Sequence[Any]) -> list[Any]:
        """Tensors from their slots."""
        given = iter(slots)
        return [tf.complex(next(given), next(given)) if leaf.dtype.is_complex else next(given) for leaf in self.leaves]

    def join_arrays(self, slots: Sequence[Array]) -> list[Array]:
        """NumPy arrays from their slots, never the same memory."""
        given = iter(slots)
        made = []
        for leaf in self.leaves:
            if leaf.dtype.is_complex:
                real, imag = next(given), next(given)
                array = np.empty(real.shape, leaf.dtype.as_numpy_dtype)
                array.real, array.imag = real, imag
            else:
                array = np.array(next(given))
            made.append(array)
        return made


_PARTS: Final = (("real part", "real"), ("imaginary part", "imag"))


def leaves_of(structure: Any, path: str) -> Iterator[tuple[str, Any]]:
    """The leaves of lists, tuples and mappings, with the path to each."""
    if isinstance(structure, Mapping):
        for key, part in structure.items():
            yield from leaves_of(part, f"{path}[{key!r}]")
    elif isinstance(structure, (list, tuple)):
        for place, part in enumerate(structure):
            yield from leaves_of(part, f"{path}[{place}]")
    else:
        yield path, structure


def packed(structure: Any, values: Iterator[Any]) -> Any:
    """Values in a structure, in the order of `leaves_of`."""
    if isinstance(structure, Mapping):
        return {key: packed(part, values) for key, part in structure.items()}
    if isinstance(structure, (list, tuple)):
        parts = [packed(part, values) for part in structure]
        if isinstance(structure, tuple):
            return type(structure)(*parts) if hasattr(structure, "_fields") else tuple(parts)
        return parts
    return next(values)


def read_inputs(what: str, inputs: Any) -> tuple[Arrays, list[tf.Tensor], list[bool]]:
    """The inputs as tensors, and which of them are constants. Python floats are float64, as in NumPy."""
    found = list(leaves_of(inputs, "inputs"))
    tensors = [_tensor(what, name, value) for name, value in found]
    leaves = [Leaf(name, tensor.dtype, tensor.shape) for (name, _), tensor in zip(found, tensors, strict=True)]
    constant = [not isinstance(value, (tf.Tensor, tf.Variable)) and type(value) is not FloatInput for _, value in found]
    return Arrays(inputs, leaves), tensors, constant


def _tensor(what: str, name: str, value: Any) -> tf.Tensor:
    if type(value) is FloatInput:
        return value.tensor
    if isinstance(value, (tf.Tensor, tf.Variable)):
        return tf.convert_to_tensor(value)
    if isinstance(value, (tf.RaggedTensor, tf.SparseTensor)):
        raise PythonFunctionError(
            f"{what}: {name} is a {type(value).__name__}, which no NumPy array can be made of. Use its to_tensor() or "
            f"tf.sparse.to_dense, or pass its components."
        )
    array = np.asarray(value)
    if array.dtype == object:
        raise PythonFunctionError(
            f"{what}: {name} is a {type(value).__name__}; inputs are tensors, variables, NumPy arrays and numbers. "
            f"What is not a number, take from a closure: functools.partial(func, ...)."
        )
    return tf.constant(array)


def read_like(what: str, like: Any, inputs: Arrays) -> Arrays:
    """The results, from what they are to be like."""
    if like is None:
        return Arrays(None, [_like_inputs(what, inputs)])
    return Arrays(like, [_described(what, name, value) for name, value in leaves_of(like, "result")])


def _like_inputs(what: str, inputs: Arrays) -> Leaf:
    """One result, as an elementwise function of the inputs has it."""
    if not inputs.leaves:
        raise PythonFunctionError(
            f"{what}: without inputs, like must say what the result is; give like=tf.TensorSpec(shape, dtype)."
        )
    shape = tf.TensorShape([])
    try:
        for leaf in inputs.leaves:
            shape = tf.broadcast_static_shape(shape, leaf.shape)
        dtype = np.result_type(*(leaf.dtype.as_numpy_dtype for leaf in inputs.leaves))
    except (ValueError, TypeError) as error:
        raise PythonFunctionError(
            f"{what}: without like, the result has the shape and the dtype of all inputs broadcast together, and these "
            f"cannot be: {', '.join(_said(leaf) for leaf in inputs.leaves)}. Give like=tf.TensorSpec(shape, dtype)."
        ) from error
    return Leaf("the result", tf.as_dtype(dtype), shape)


def _said(leaf: Leaf) -> str:
    return f"{leaf.name} of shape {leaf.shape} and dtype {leaf.dtype.name}"


def _described(what: str, name: str, value: Any) -> Leaf:
    name = "the result" if name == "result" else name
    if isinstance(value, FloatInput):
        value = value.tensor
    if isinstance(value, (tf.Tensor, tf.Variable, tf.TensorSpec)):
        return Leaf(name, tf.as_dtype(value.dtype), tf.TensorShape(value.shape))
    if isinstance(value, (np.ndarray, np.generic, bool, int, float, complex)):
        array = np.asarray(value)
        return Leaf(name, tf.as_dtype(array.dtype), tf.TensorShape(array.shape))
    raise PythonFunctionError(
        f"{what}: like says the shape and the dtype of {name} by a tensor, an array, a number or a tf.TensorSpec; got "
        f"{value!r}."
    )


def by_input(what: str, argument: str, given: Any, inputs: Any) -> list[Any]:
    """One entry of an argument for each leaf of the inputs: None where there is none.

    Args:
        what: the function, for messages.
        argument: the name of the argument.
        given: an entry for a single input; a sequence or a mapping with an entry, or None, for each of several.
        inputs: the inputs as they were given.
    """
    if given is None:
        return [None for _ in leaves_of(inputs, "inputs")]
    if isinstance(inputs, Mapping):
        if not isinstance(given, Mapping) or not set(given) <= set(inputs):
            raise PythonFunctionError(
                f"{what}: {argument} must be a mapping with keys of inputs, {list(inputs)}; got {given!r}."
            )
        entries: list[Any] = [given.get(key) for key in inputs]
        parts = list(inputs.values())
    elif isinstance(inputs, (list, tuple)):
        if not isinstance(given, (list, tuple)) or len(given) != len(inputs):
            raise PythonFunctionError(
                f"{what}: {argument} must hold one entry, or None, for each of the {len(inputs)} inputs; got {given!r}."
            )
        entries, parts = list(given), list(inputs)
    else:
        return [given]
    # An entry for an input that is itself a structure counts for all in it.
    return [entry for entry, part in zip(entries, parts, strict=True) for _ in leaves_of(part, "inputs")]
