"""What is differentiated: how `func` and `params` are read, and how results get the structure of `params`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import tensorflow as tf

from zrun_tf._errors import GradientError
from zrun_tf._floats import FloatInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Numbers: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
Mask: TypeAlias = "np.ndarray[Any, np.dtype[np.bool_]]"

DTYPES: Final = ("float32", "float64")


class Problem:
    """A function and its parameters, checked.

    Args:
        what: the derivative that is asked for, for error messages.
        func: takes the parameters as arguments, or nothing if it reads them as variables.
        params: one parameter, or a list, tuple or mapping of parameters, nested if need be.

    Attributes:
        name: of the function.
        leaves: the parameters: variables, tensors, and NumPy arrays and numbers.
        names: what each is called in error messages.
        reads: whether `func` reads the variables instead of taking arguments.
        held: the places of the parameters that are fixed whole.
    """

    def __init__(self, what: str, func: Callable[..., Any], params: Any) -> None:
        if not callable(func):
            raise GradientError(f"{what} takes a function as its first argument; got {func!r}.")
        self.what = what
        self.held: set[int] = set()
        self.name = getattr(func, "__qualname__", None) or getattr(func, "__name__", None) or type(func).__name__
        self._func = func
        self._params = params
        found = list(_leaves(params, "params"))
        if not found:
            raise GradientError(f"{what} of {self.name}: params is empty; give at least one parameter.")
        self.names = [_name(path, leaf) for path, leaf in found]
        self.leaves = [_checked(name, leaf) for name, (_, leaf) in zip(self.names, found, strict=True)]
        self._refuse_twice()
        signature = _signature(func)
        self.reads = all(isinstance(leaf, tf.Variable) for leaf in self.leaves) and _binds(signature) is None
        if not self.reads:
            self._refuse_wrong_arguments(signature)

    def _refuse_twice(self) -> None:
        seen: dict[int, str] = {}
        for name, leaf in zip(self.names, self.leaves, strict=True):
            if isinstance(leaf, tf.Variable) and seen.setdefault(id(leaf), name) is not name:
                raise GradientError(f"{seen[id(leaf)]} and {name} are the same variable; list it once.")

    def _refuse_wrong_arguments(self, signature: inspect.Signature | None) -> None:
        args, kwargs = self._arguments(self.leaves)
        problem = _binds(signature, *args, **kwargs)
        if problem is not None:
            raise GradientError(
                f"{self.what}: {self.name}{signature} cannot be called with params: {problem}. One parameter is passed "
                f"as func(x), a list or tuple as func(*params), a mapping as func(**params); a function without "
                f"arguments can only have tf.Variable parameters, which it reads."
            )

    @property
    def single(self) -> bool:
        """Whether `params` is one parameter, rather than a structure of them."""
        return not isinstance(self._params, (Mapping, list, tuple))

    @property
    def variables(self) -> list[tf.Variable]:
        """The parameters that are variables."""
        return [leaf for leaf in self.leaves if isinstance(leaf, tf.Variable)]

    @cached_property
    def sources(self) -> list[Any]:
        """The parameters as TensorFlow differentiates with respect to them."""
        # A tensor of its own for each parameter: one that is given twice, or that `func` reads besides, would be
        # differentiated in all its places.
        return [leaf if isinstance(leaf, tf.Variable) else tf.identity(leaf) for leaf in self.leaves]

    @cached_property
    def shapes(self) -> list[tuple[int, ...]]:
        """The shapes of the parameters."""
        for name, leaf in zip(self.names, self.leaves, strict=True):
            if isinstance(leaf, (tf.Tensor, tf.Variable)) and not leaf.shape.is_fully_defined():
                raise GradientError(
                    f"{self.what} of {self.name}: the shape of {name} must be known while the graph is built; it is "
                    f"{leaf.shape}. Use tf.ensure_shape."
                )
        return [tuple(int(size) for size in leaf.shape) for leaf in self.leaves]

    @property
    def sizes(self) -> list[int]:
        """How many elements each parameter has."""
        return [int(np.prod(shape, dtype=int)) for shape in self.shapes]

    @property
    def dtypes(self) -> list[tf.DType]:
        """The dtypes of the parameters."""
        return [tf.as_dtype(leaf.dtype) for leaf in self.leaves]

    @property
    def dtype(self) -> tf.DType:
        """The widest of the dtypes."""
        return tf.float64 if tf.float64 in self.dtypes else tf.float32

    def element_names(self) -> list[str]:
        """A name for each element of each parameter."""
        names = []
        for name, shape in zip(self.names, self.shapes, strict=True):
            names += [name + (f"[{', '.join(map(str, place))}]" if place else "") for place in np.ndindex(shape)]
        return names

    def call(self, values: Sequence[Any]) -> Any:
        """Call the function with these values of the parameters; variables are read or passed on as they are."""
        if self.reads:
            return self._func()
        args, kwargs = self._arguments(values)
        return self._func(*args, **kwargs)

    def _arguments(self, values: Sequence[Any]) -> tuple[Sequence[Any], dict[str, Any]]:
        packed = self.pack(values)
        if isinstance(self._params, Mapping):
            return (), packed
        return (packed, {}) if isinstance(self._params, (list, tuple)) else ((packed,), {})

    def pack(self, values: Sequence[Any]) -> Any:
        """Values, one per parameter, in the structure of `params`."""
        return _packed(self._params, iter(values))

    def unpack(self, structure: Any, argument: str) -> list[Any]:
        """The leaves of an argument that must have the structure and the shapes of `params`."""
        found = list(_leaves(structure, argument))
        given, wanted = [_tail(path) for path, _ in found], [_tail(path) for path, _ in _leaves(self._params, "params")]
        if given != wanted:
            raise GradientError(f"{argument} must have the structure of params; got {structure!r}.")
        leaves = []
        for (path, leaf), dtype, shape in zip(found, self.dtypes, self.shapes, strict=True):
            tensor = tf.cast(tf.convert_to_tensor(leaf), dtype)
            if not tensor.shape.is_compatible_with(shape):
                raise GradientError(f"{path} must have the shape of its parameter, {shape}; got {tensor.shape}.")
            leaves.append(tensor)
        return leaves

    def flat_bounds(self, bounds: Any) -> Numbers | None:
        """`bounds` as an array of shape `(n, 2)`; NaN where there is none."""
        if bounds is None:
            return None
        if isinstance(bounds, Mapping):
            for key, pair in bounds.items():
                if not isinstance(pair, (list, tuple, np.ndarray)) or len(pair) != 2:
                    raise GradientError(f"bounds[{key!r}] must be a pair (low, high); got {pair!r}.")
            sides = [self._spread("bounds", {key: pair[side] for key, pair in bounds.items()}) for side in (0, 1)]
            return np.stack(sides, axis=1)
        return _numbers("bounds", bounds, (sum(self.sizes), 2), "one (low, high) for each element of params")

    def flat_scale(self, scale: Any) -> Numbers | None:
        """`scale` as an array of shape `(n,)`; NaN where it is not known."""
        if scale is None:
            return None
        if isinstance(scale, Mapping):
            return self._spread("scale", scale)
        if np.ndim(scale) == 0:
            scale = [scale] * sum(self.sizes)
        return _numbers("scale", scale, (sum(self.sizes),), "one positive number for each element of params")

    def flat_fixed(self, fixed: Any, *, known_shapes: bool) -> Mask:
        """`fixed` as a mask of shape `(n,)`; sets `held`, the parameters of which every element is fixed.

        Without `known_shapes`, the mask is empty where no element is fixed and shapes are not known.
        """
        if fixed is None:
            return np.zeros(sum(self.sizes) if known_shapes or self._known_shapes() else 0, bool)
        size = sum(self.sizes)
        by_key = isinstance(fixed, Mapping)
        masks = [np.asarray(part) for part in (fixed.values() if by_key else [fixed])]
        if any(part.dtype != np.bool_ for part in masks) or not (by_key or masks[0].shape == (size,)):
            raise GradientError(
                f"fixed must hold True or False for each element of params, a mask of shape ({size},), or be a "
                f"mapping with keys of params; got {fixed!r}."
            )
        mask = np.asarray(self._spread("fixed", fixed, missing=False) if by_key else masks[0], bool)
        if np.all(mask):
            raise GradientError(f"{self.what} of {self.name}: fixed holds every parameter; leave one free.")
        ends = np.cumsum(self.sizes)
        self.held = {place for place, part in enumerate(np.split(mask, ends[:-1])) if part.all()}
        return mask

    def _known_shapes(self) -> bool:
        return all(leaf.shape.is_fully_defined() for leaf in self.leaves if isinstance(leaf, (tf.Tensor, tf.Variable)))

    def _spread(self, argument: str, given: Mapping[Any, Any], missing: Any = None) -> Numbers:
        """Numbers by key of `params`, spread over the elements of the parameters under that key."""
        keys = list(self._params) if isinstance(self._params, Mapping) else []
        if not set(given) <= set(keys):
            known = f"the keys of params, {keys}" if keys else "entries in the order of params, which has no keys"
            raise GradientError(f"{argument} must have {known}; got the keys {list(given)}.")
        parts = []
        for key in keys:
            for path, leaf in _leaves(self._params[key], f"{argument}[{key!r}]"):
                try:
                    numbers = np.broadcast_to(np.asarray(given.get(key, missing), np.float64), np.shape(leaf))
                except (TypeError, ValueError):
                    raise GradientError(
                        f"{path} must hold numbers that broadcast against shape {np.shape(leaf)}; got {given[key]!r}."
                    ) from None
                parts.append(numbers.ravel())
        return np.concatenate(parts)


def _leaves(structure: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(structure, Mapping):
        for key, part in structure.items():
            yield from _leaves(part, f"{path}[{key!r}]")
    elif isinstance(structure, (list, tuple)):
        for place, part in enumerate(structure):
            yield from _leaves(part, f"{path}[{place}]")
    else:
        yield path, structure


def _packed(structure: Any, values: Iterator[Any]) -> Any:
    if isinstance(structure, Mapping):
        return {key: _packed(part, values) for key, part in structure.items()}
    if isinstance(structure, (list, tuple)):
        parts = [_packed(part, values) for part in structure]
        if isinstance(structure, tuple):
            return type(structure)(*parts) if hasattr(structure, "_fields") else tuple(parts)
        return parts
    return next(values)


def _tail(path: str) -> str:
    return path.partition("[")[2]


def _name(path: str, leaf: Any) -> str:
    return f"{path} ({leaf.name.partition(':')[0]!r})" if isinstance(leaf, tf.Variable) else path


def _checked(name: str, leaf: Any) -> Any:
    if isinstance(leaf, FloatInput):
        leaf = leaf.tensor
    elif not isinstance(leaf, (tf.Variable, tf.Tensor)):
        leaf = np.asarray(leaf)
    kind = leaf.dtype.name
    if kind not in DTYPES:
        advice = "Give variables, tensors, NumPy arrays or floats."
        if kind.startswith("complex"):
            advice = "Differentiate with respect to real and imaginary part; func may compute with complex numbers."
        elif kind.startswith(("int", "uint", "float", "bfloat", "bool")):
            advice = "Write 3.0 for 3, or use tf.cast(..., tf.float64)."
        raise GradientError(f"{name} is {kind}; a derivative needs real parameters, float32 or float64. {advice}")
    # Of no axes, a NumPy number rather than an array.
    return leaf[()] if isinstance(leaf, np.ndarray) else leaf


def _numbers(argument: str, given: Any, shape: tuple[int, ...], rule: str) -> Numbers:
    try:
        # None becomes NaN.
        numbers = np.asarray(given, np.float64)
    except (TypeError, ValueError):
        numbers = np.empty(0)
    if numbers.shape != shape:
        raise GradientError(f"{argument} must hold {rule}, an array of shape {shape}; got {given!r}.")
    return numbers


def _signature(func: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(func)
    except (TypeError, ValueError):
        return None


def _binds(signature: inspect.Signature | None, *args: Any, **kwargs: Any) -> str | None:
    """Why arguments do not fit a signature; None if they do. A function without a signature takes its parameters."""
    if signature is None:
        return None if args or kwargs else "its signature is not known"
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        return str(error)
    return None
