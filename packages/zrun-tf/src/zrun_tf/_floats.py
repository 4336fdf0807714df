"""Python floats as inputs of a graph.

In eager code a Python float takes the dtype of the tensor it meets: `2.0 * x` is float32 where `x` is. A tensor cannot
do that, so inside a trace a float argument is a `FloatInput`: it holds its value as a float64 (or complex128) tensor
and casts it to whatever dtype it is asked for.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Callable


class FloatInput:
    """A float or complex argument of a function that is being traced.

    It computes as the number would: with tensors in their dtype, with other numbers in double precision.
    """

    __slots__ = ("_tensor",)
    # NumPy arrays leave their operators to this class, which makes tensors of them.
    __array_ufunc__ = None
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, tensor: tf.Tensor) -> None:
        self._tensor = tensor

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """What `isinstance` sees: a float or complex number, as in eager code."""
        return complex if self._tensor.dtype.is_complex else float

    @property
    def tensor(self) -> tf.Tensor:
        """The value in double precision."""
        return self._tensor

    @property
    def real(self) -> FloatInput:
        """The real part."""
        return FloatInput(tf.math.real(self._tensor))

    @property
    def imag(self) -> FloatInput:
        """The imaginary part."""
        return FloatInput(tf.math.imag(self._tensor))

    def conjugate(self) -> FloatInput:
        """The complex conjugate."""
        return FloatInput(tf.math.conj(self._tensor))

    def __repr__(self) -> str:
        return (
            "<a float argument, an input of the graph: use tf.* operations on it (tf.stack for lists of them), or name "
            "the argument in static= to have its value>"
        )

    def _refuse(self, what: str) -> NoReturn:
        raise TypeError(
            f"{what} needs the value of a float argument, but a graph is being built, where the float is an input. "
            f"Use tf.* operations (tf.convert_to_tensor instead of tf.constant), or name the argument in static= "
            f"(which traces anew for each value)."
        )

    def __format__(self, spec: str) -> str:
        self._refuse("A format string")

    def __float__(self) -> float:
        self._refuse("float()")

    def __complex__(self) -> complex:
        self._refuse("complex()")

    def __int__(self) -> int:
        self._refuse("int()")

    def __bool__(self) -> bool:  # noqa: PLE0304 - it raises
        self._refuse("bool(), or an 'if' on it,")

    def __round__(self, digits: int | None = None) -> NoReturn:
        self._refuse("round()")

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        self._refuse("A NumPy function")

    def __neg__(self) -> FloatInput:
        return FloatInput(-self._tensor)

    def __pos__(self) -> FloatInput:
        return self

    def __abs__(self) -> FloatInput:
        return FloatInput(tf.abs(self._tensor))


def _number(value: FloatInput | complex, dtype: tf.DType) -> tf.Tensor:
    """A number as a tensor; a real one may become complex, not the other way round."""
    if isinstance(value, FloatInput):
        return tf.cast(value.tensor, dtype)
    return tf.constant(value, dtype)


def _binary(operation: Callable[[Any, Any], Any], compares: bool) -> Callable[[FloatInput, Any], Any]:
    def apply(self: FloatInput, other: Any) -> Any:
        if isinstance(other, (FloatInput, int, float, complex)) and not isinstance(other, np.generic):
            is_complex = isinstance(other, complex) or any(
                isinstance(x, FloatInput) and x.tensor.dtype.is_complex for x in (self, other)
            )
            dtype = tf.complex128 if is_complex else tf.float64
            result = operation(_number(self, dtype), _number(other, dtype))
            return result if compares else FloatInput(result)
        if not isinstance(other, (tf.Tensor, tf.Variable)):
            if not isinstance(other, (np.ndarray, np.generic, list, tuple)):
                return NotImplemented
            # Integers and bools become floats beside a float, as they do in NumPy.
            integers = getattr(other, "dtype", np.dtype(object)).kind in "iub"
            other = tf.convert_to_tensor(np.asarray(other, np.float64) if integers else other)
        return operation(_convert(self, other.dtype), other)

    return apply


def _swapped(operation: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda a, b: operation(b, a)


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow"):
    _operation = getattr(operator, _name)
    setattr(FloatInput, f"__{_name}__", _binary(_operation, compares=False))
    setattr(FloatInput, f"__r{_name}__", _binary(_swapped(_operation), compares=False))
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(FloatInput, f"__{_name}__", _binary(getattr(operator, _name), compares=True))


def _convert(value: FloatInput, dtype: tf.DType | None = None, name: str | None = None, as_ref: bool = False) -> Any:  # noqa: ARG001
    """How TensorFlow turns a `FloatInput` into a tensor: as it would a Python float, so float32 unless asked."""
    own = value.tensor.dtype
    if dtype is None:
        dtype = tf.complex128 if own.is_complex else tf.float32
    if not (dtype.is_complex or (dtype.is_floating and not own.is_complex)):
        raise TypeError(
            f"A {'complex' if own.is_complex else 'float'} argument cannot become a tensor of {dtype.name}."
        )
    # Each conversion is a tensor of its own, as it is for a number.
    return tf.identity(tf.cast(value.tensor, dtype), name=name)


tf.register_tensor_conversion_function(FloatInput, _convert)
