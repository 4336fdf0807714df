"""What zfit's objects are at a moment, by value: what a graph that was traced for them may depend on.

A loss on new data may run the graph of an earlier loss only if everything else that tracing reads is the same. So the
state of models, spaces, parameters and constraints is written down in full; where there is anything that cannot be
written down (a function or a class of the user's, an object of another library), nothing is shared.
"""

from __future__ import annotations

import hashlib
import types
from collections.abc import Mapping
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Hashable

# Nothing in these changes what is computed: who is to be told of changes, and helpers to plot and to serialize.
_BOOKKEEPING: Final = frozenset({"_cachers", "_plot", "hs3", "_label", "_abc_impl"})
# Attributes of the classes themselves that tracing reads, and that a user may add to.
_OF_CLASSES: Final = ("_analytic_integral", "_inverse_analytic_integral")
_KNOWN_MODULES: Final = ("zfit", "tensorflow", "tensorflow_probability", "numpy", "builtins", "functools", "math")
# Of a parameter: a variable, whose value is read by the graph, with these beside it.
_OF_PARAMETERS: Final = ("_lower", "_upper", "_floating", "_independent", "_name", "_params", "_stepsize")
# Equal where they are the same one.
_METHODS: Final = (types.FunctionType, classmethod, staticmethod, property)
_SMALL: Final = 64
_SCALARS: Final = (int, bool, str, bytes, type(None), type(Ellipsis))


class NotUnderstood(Exception):  # noqa: N818 - a signal between modules of this package
    """An object holds something of which it is not known what a graph reads of it."""


class State:
    """Writes down the state of objects.

    Attributes:
        weak: the objects that are part of it by identity: variables. What was written is valid while they live.
    """

    def __init__(self) -> None:
        self.weak: list[Any] = []
        self._seen: dict[int, int] = {}
        self._classes: set[type] = set()
        # What is temporary must not die and lend its id to the next.
        self._kept: list[Any] = []

    def of(self, obj: Any) -> Hashable:
        """The state of one object.

        Args:
            obj: the object.

        Raises:
            NotUnderstood: it, or something in it, is of the user or of a library that is not known.
        """
        cls = type(obj)
        if cls in _SCALARS:
            return (cls, obj)
        if cls is float:
            return (cls, obj.hex())
        if isinstance(obj, (complex, np.generic)):
            return (cls, repr(obj))
        if isinstance(obj, Enum):
            return (cls, obj.name)
        if isinstance(obj, (tf.DType, tf.TensorShape, np.dtype)):
            return (cls, repr(obj))
        if isinstance(obj, np.ndarray):
            return _of_array(obj) if not obj.dtype.hasobject else ("objects", obj.shape, *map(self.of, obj.flat))
        if id(obj) in self._seen:
            return ("seen", self._seen[id(obj)])
        self._seen[id(obj)] = len(self._seen)
        self._kept.append(obj)
        return self._of_identity(obj, cls)

    def _of_identity(self, obj: Any, cls: type) -> Hashable:
        if isinstance(obj, tf.Variable):
            return self._of_variable(obj)
        if isinstance(obj, tf.Tensor):
            if not hasattr(obj, "numpy") or obj.dtype in (tf.resource, tf.variant):
                raise NotUnderstood(repr(cls))
            return _of_array(np.asarray(obj))
        if isinstance(obj, type):
            return (type, _known(obj))
        if isinstance(obj, types.FunctionType):
            return self._of_function(obj)
        if isinstance(obj, types.MethodType):
            return ("method", self.of(obj.__func__), self.of(obj.__self__))
        if isinstance(obj, partial):
            return ("partial", self.of(obj.func), self.of(obj.args), self.of(obj.keywords))
        if isinstance(obj, (types.BuiltinFunctionType, np.ufunc)):
            return ("builtin", id(obj))
        if isinstance(obj, Mapping):
            return (_known_container(cls), *((self.of(key), self.of(value)) for key, value in obj.items()))
        if isinstance(obj, (list, tuple)) or cls.__name__ == "OrderedSet":
            return (_known_container(cls), *map(self.of, obj))
        if isinstance(obj, (set, frozenset)):
            return (_known_container(cls), frozenset(map(self.of, obj)))
        return self._of_object(obj, cls)

    def _of_variable(self, obj: Any) -> Hashable:
        self.weak.append(obj)
        if not _is_of_zfit(type(obj)):
            return ("variable", id(obj))
        held, cls = vars(obj), repr(type(obj))
        return ("parameter", cls, id(obj), *(self.of(held.get(name)) for name in _OF_PARAMETERS))

    def _of_function(self, obj: types.FunctionType) -> Hashable:
        _known(obj)
        try:
            cells = [cell.cell_contents for cell in obj.__closure__ or ()]
        except ValueError:
            raise NotUnderstood(obj.__qualname__) from None
        return ("function", obj.__code__, self.of(obj.__defaults__), self.of(obj.__kwdefaults__), *map(self.of, cells))

    def _of_object(self, obj: Any, cls: Any) -> Hashable:
        if not _is_of_zfit(cls):
            raise NotUnderstood(repr(cls))
        if any(base.__module__ == "boost_histogram.axis" for base in cls.__mro__):
            # An axis holds an object of compiled code; this is all that there is to say of it.
            return ("axis", cls, getattr(obj, "name", ""), repr(obj), _of_array(np.asarray(obj.edges)))
        held = dict(getattr(obj, "__dict__", {}))
        for base in cls.__mro__:
            for name in _slots(base):
                if name not in ("__dict__", "__weakref__") and hasattr(obj, name):
                    held[name] = getattr(obj, name)
        parts = [(name, self.of(held[name])) for name in sorted(held) if name not in _BOOKKEEPING]
        of_class = [(name, self.of(getattr(cls, name, None))) for name in _OF_CLASSES if name not in held]
        return (cls, self._methods(cls), *parts, *of_class)

    def _methods(self, cls: Any) -> Hashable:
        """What a class does, by the identities of its methods, of which a user may exchange one."""
        if cls in self._classes:
            return ()
        self._classes.add(cls)
        bases = [vars(base).values() for base in cls.__mro__ if _is_of_zfit(base)]
        return tuple(each for held in bases for each in held if isinstance(each, _METHODS))


def _slots(cls: type) -> tuple[str, ...]:
    slots = vars(cls).get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _of_array(array: np.ndarray[Any, Any]) -> Hashable:
    if array.dtype.hasobject:
        raise NotUnderstood("a tensor of strings")
    data = np.ascontiguousarray(array)
    content = data.tobytes() if data.size <= _SMALL else hashlib.blake2b(data.view(np.uint8).data).digest()
    return ("array", str(array.dtype), array.shape, content)


def _is_of_zfit(cls: type) -> bool:
    return cls.__module__.partition(".")[0] == "zfit"


def _known(obj: Any) -> Any:
    module = getattr(obj, "__module__", None) or ""
    if module.partition(".")[0] not in _KNOWN_MODULES:
        raise NotUnderstood(f"{module}.{getattr(obj, '__qualname__', obj)}")
    return obj


def _known_container(cls: type) -> type:
    if cls.__module__.partition(".")[0] not in (
        "builtins",
        "collections",
        "ordered_set",
        "dotmap",
        "frozendict",
        "hist",
        "zfit",
    ):
        raise NotUnderstood(repr(cls))
    return cls
