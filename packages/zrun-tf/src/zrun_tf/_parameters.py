"""The parameters of an objective: the three forms a user gives them in, and one vector for the minimiser."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from itertools import chain, count
from threading import RLock
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import finalize

import numpy as np
import tensorflow as tf

from ._data import refuse_masked
from ._dispatch import numpy_of
from ._shadow import borrow_shadow, give_back_shadows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Layout(NamedTuple):
    """How a vector of shape `(n,)` holds the parameters; hashable, without their values."""

    form: str
    labels: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @property
    def sizes(self) -> list[int]:
        """How many entries of the vector each parameter takes."""
        return [int(np.prod(shape, dtype=np.int64)) for shape in self.shapes]

    def entries(self) -> Iterator[str]:
        """The name of each entry of the vector; entries of an array are `name[i]`."""
        for label, shape in zip(self.labels, self.shapes, strict=True):
            if self.form == "vector":
                yield from (f"x{i}" for i in range(shape[0]))
            elif shape:
                yield from (f"{label}[{', '.join(map(str, index))}]" for index in np.ndindex(*shape))
            else:
                yield label

    def split(self, x: tf.Tensor) -> list[tf.Tensor]:
        """The vector as one tensor for each parameter."""
        if not any(self.shapes):
            return list(tf.unstack(x, num=len(self.shapes)))
        return [tf.reshape(part, shape) for part, shape in zip(tf.split(x, self.sizes), self.shapes, strict=True)]


class Bound:
    """A layout with the variables that are the parameters, if they are variables.

    Args:
        layout: the layout.
        variables: one for each parameter, or none.
    """

    __slots__ = ("__weakref__", "_shadows", "layout", "variables")

    def __init__(self, layout: Layout, variables: Sequence[tf.Variable]) -> None:
        self.layout = layout
        self.variables = tuple(variables)
        self._shadows: dict[int, tf.Variable] = {}

    def shadow(self, index: int) -> tf.Variable:
        """A private variable that graphs set instead of the user's; the same one each time."""
        if index not in self._shadows:
            if not self._shadows:
                finalize(self, give_back_shadows, self._shadows).atexit = False
            self._shadows[index] = borrow_shadow(self.variables[index])
        return self._shadows[index]

    def call(self, loss: Callable[..., Any], x: tf.Tensor, data: Mapping[str, Any]) -> Any:
        """Call the loss with the parameters where it takes them; variables are set first."""
        if self.layout.form == "vector":
            return loss(x, **data)
        parts = self.layout.split(x)
        if self.layout.form == "names":
            return loss(**dict(zip(self.layout.labels, parts, strict=True)), **data)
        self.assign(parts)
        return loss(**data)

    def check_call(self, loss: Callable[..., Any], data: Mapping[str, Any]) -> None:
        """Refuse a loss that cannot be called with these parameters and data.

        Raises:
            TypeError: it takes other arguments, or a name is given twice.
        """
        form, labels = self.layout.form, self.layout.labels
        named = dict.fromkeys(labels) if form == "names" else {}
        if twice := sorted(named.keys() & data.keys()):
            raise TypeError(f"objective: {', '.join(twice)} is given as a parameter and as data; rename one.")
        try:
            signature = inspect.signature(loss)
        except (TypeError, ValueError):
            return
        name = getattr(loss, "__qualname__", type(loss).__qualname__)
        try:
            signature.bind(*([None] if form == "vector" else []), **named, **data)
        except TypeError as error:
            how = {"vector": "loss(x, ...)", "names": "loss(**params, ...)", "variables": "loss(...)"}[form]
            raise TypeError(
                f"objective: {name}{signature} cannot be called as {how} with parameters "
                f"{', '.join(self.layout.entries())} and data {', '.join(data) or 'none'}: {error}."
            ) from None

    def assign(self, parts: Sequence[tf.Tensor]) -> None:
        """Set the variables."""
        for variable, part in zip(self.variables, parts, strict=True):
            variable.assign(tf.cast(part, variable.dtype))


class Parameters:
    """Names, start values and layout of the parameters of a loss.

    Args:
        params: a variable or a list of them, which the loss reads; a mapping name -> start value (a number or an
            array), passed to the loss by name; or a vector of start values, passed to the loss whole.

    Raises:
        TypeError: it is none of these.
        ValueError: there are no parameters, or start values are not finite real numbers.

    Attributes:
        names: one for each entry of the vector.
        start: the start values, float64 of shape `(n,)`, read-only.
        bound: the layout, and the variables.
        lock: to be held while a graph sets shadows.
    """

    def __init__(self, params: Any) -> None:
        variables: tuple[tf.Variable, ...] = ()
        if isinstance(params, tf.Variable):
            params = [params]
        if isinstance(params, Mapping):
            form, labels = "names", tuple(params)
            _check_labels(labels)
            values = [_as_floats(f"params[{name!r}]", value) for name, value in params.items()]
        elif isinstance(params, (list, tuple)) and any(isinstance(p, tf.Variable) for p in params):
            form, variables = "variables", _check_variables(params)
            labels = _unique([v.name.partition(":")[0] for v in variables])
            values = [_as_floats(f"params[{i}]", _value_of(v)) for i, v in enumerate(variables)]
        else:
            form, labels = "vector", ("x",)
            values = [_as_vector(params)]
        self.start = np.concatenate([value.reshape(-1) for value in values]) if values else np.zeros(0)
        self.start.flags.writeable = False
        if not len(self.start):
            raise ValueError(f"params must hold at least one parameter; got {params!r}.")
        self.bound = Bound(Layout(form, labels, tuple(value.shape for value in values)), variables)
        self.names = tuple(self.bound.layout.entries())
        if len(set(self.names)) < len(self.names):
            raise ValueError(
                f"params: two parameters have one name ({', '.join(self.names)}). An array's entries are called "
                f"name[i]; rename one of them."
            )
        self.lock = RLock()

    def check(self, x: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
        """The vector `x` as float64 of shape `(n,)`.

        Raises:
            TypeError: it is not made of real numbers.
            ValueError: it has another shape.
        """
        if type(x) is not np.ndarray or x.dtype != np.float64:
            array = _array_of(x)
            if array.dtype.kind not in "iuf":
                raise TypeError(
                    f"x must be a vector of real numbers, one for each parameter ({', '.join(self.names)}); got {x!r}."
                )
            refuse_masked("x", x)
            x = array.astype(np.float64)
        if x.shape != self.start.shape:
            raise ValueError(
                f"x must have shape {self.start.shape}, one entry for each parameter ({', '.join(self.names)}); "
                f"got shape {x.shape}."
            )
        return x  # type: ignore[no-any-return]

    def by_name(self, x: np.ndarray[Any, Any]) -> dict[str, Any]:
        """The vector as a mapping: floats, and arrays for parameters that are arrays."""
        layout = self.bound.layout
        if layout.form == "vector":
            return dict(zip(self.names, x.tolist(), strict=True))
        parts = np.split(x, np.cumsum(layout.sizes)[:-1])
        return {
            label: part.reshape(shape) if shape else float(part[0])
            for label, part, shape in zip(layout.labels, parts, layout.shapes, strict=True)
        }


def _value_of(variable: tf.Variable) -> Any:
    # What `numpy()` of a variable does around reading it takes several times as long.
    if type(variable).__name__ != "ResourceVariable" or not tf.executing_eagerly():
        return variable.numpy()
    return numpy_of(tf.raw_ops.ReadVariableOp(resource=variable.handle, dtype=variable.dtype))


def _as_vector(params: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    array = _array_of(params)
    if array.dtype.kind in "iuf" and array.ndim == 1:
        return _as_floats("params", params)
    raise TypeError(
        f"params must be a list of variables, a mapping name -> start value, or a vector of start values (real "
        f"numbers, shape (n,)); got {params!r} of type {type(params).__name__}."
    )


def _array_of(value: Any) -> np.ndarray[Any, Any]:
    """An array; one of objects where rows have different lengths."""
    try:
        return np.asarray(value)
    except ValueError:
        return np.empty(0, object)


def _as_floats(name: str, value: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    array = _array_of(value)
    if array.dtype.kind not in "iuf":
        raise TypeError(
            f"{name} must be one or an array of real numbers to start from; got {value!r} of type "
            f"{type(value).__name__}."
        )
    refuse_masked(name, value)
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} must be finite to start from; got {value!r}.")
    return array.astype(np.float64)


def _check_labels(labels: Sequence[Any]) -> None:
    for label in labels:
        if not isinstance(label, str):
            raise TypeError(
                f"params: the names of parameters are strings; got {label!r} of type {type(label).__name__}."
            )


def _check_variables(params: Sequence[Any]) -> tuple[tf.Variable, ...]:
    for index, variable in enumerate(params):
        if not isinstance(variable, tf.Variable):
            raise TypeError(
                f"params[{index}] is {variable!r}, while others are variables. Give variables only, or a mapping "
                f"name -> start value, or a vector of start values."
            )
        if not variable.dtype.is_floating:
            raise TypeError(
                f"params[{index}] ({variable.name}) must be a float32 or float64 variable; got {variable.dtype.name}."
            )
        if any(variable is other for other in params[:index]):
            raise ValueError(f"params[{index}] ({variable.name}) was given before; give each variable once.")
    return tuple(params)


def _unique(names: Sequence[str]) -> tuple[str, ...]:
    """Variables need not have different names; parameters must."""
    found: list[str] = []
    for name in names:
        numbered = (f"{name}_{number}" for number in count())
        candidates = chain([name] if names.count(name) == 1 else [], numbered)
        found.append(next(one for one in candidates if one not in found and (one == name or one not in names)))
    return tuple(found)
