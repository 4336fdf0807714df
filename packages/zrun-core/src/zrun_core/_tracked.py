"""Attributes whose changes drop the graphs that read them."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar, overload

from ._reads import active, changed, note_read

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class _Missing(Enum):
    MISSING = "no value"


MISSING = _Missing.MISSING

_FLOATS = (float, complex)
_SCALARS = (int, bool, str, bytes, type(None))


def _is_same(old: object, new: object) -> bool:
    """Whether setting `new` changes nothing. Never for what can be changed in place: `x += [1]` sets the same list."""
    if type(old) is not type(new):
        return False
    if isinstance(new, _FLOATS):
        # 0.0 == -0.0 and nan != nan, but a graph holds the one or the other.
        return type(new) in _FLOATS and repr(old) == repr(new)
    return (type(new) in _SCALARS and old == new) or (isinstance(new, Enum) and old is new)


class TrackedAttribute:
    """The descriptor that `tracked` makes."""

    def __init__(self, default: Any = MISSING, default_factory: Any = MISSING) -> None:
        self._default = default
        self._factory = default_factory
        self._name = ""
        self._slot: Any = None

    def __set_name__(self, owner: type, name: str) -> None:
        if self._name not in ("", name):
            raise TypeError(
                f"{owner.__qualname__}.{name} and {self._name} are one tracked() attribute. Call tracked() for each."
            )
        self._name = name
        self._slot = getattr(owner, f"_tracked_{name}", None)

    @overload
    def __get__(self, instance: None, owner: type) -> TrackedAttribute: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None) -> Any: ...
    def __get__(self, instance: object | None, owner: type | None = None) -> Any:
        if instance is None:
            # A dataclass asks its class for the default of a field, and AttributeError tells it that there is none.
            if self._default is MISSING and self._factory is MISSING:
                raise AttributeError(f"{self._name} has no default: it is tracked() on instances only.")
            return self
        if self._slot is None and not active.get():
            try:
                return instance.__dict__[self._name]
            except (AttributeError, KeyError):
                pass
        self._check(instance)
        # Before the value is read: a change after this line reaches the recording.
        note_read(instance, self._name)
        value = self._load(instance)
        if value is MISSING:
            raise AttributeError(f"{type(instance).__qualname__}.{self._name} has not been set and has no default.")
        # A bare @invalidates method of the value, or touch(value), is then seen as well.
        note_read(value)
        return value

    def __set__(self, instance: object, value: Any) -> None:
        self._check(instance)
        # The __init__ of a dataclass passes on what the class gave as the default.
        if value is self:
            self._clear(instance)
            return
        old = self._peek(instance)
        if old is MISSING:
            old = self._default
        try:
            self._store(instance, value)
            if not _is_same(old, value):
                self._changed(instance)
        except BaseException:
            # An interrupt must not leave a new value with graphs of the old one; announcing it twice does no harm.
            self._changed(instance)
            raise

    def __delete__(self, instance: object) -> None:
        if self._peek(instance) is MISSING:
            raise AttributeError(f"{type(instance).__qualname__}.{self._name} has not been set.")
        self._clear(instance)

    def __repr__(self) -> str:
        if self._factory is not MISSING:
            return f"tracked(default_factory={self._factory!r})"
        return "tracked()" if self._default is MISSING else f"tracked({self._default!r})"

    def _check(self, instance: object) -> None:
        """Refuse objects that could not be tracked, when they are made and not when a graph turns out wrong."""
        cls = type(instance)
        if self._name and cls.__weakrefoffset__ and (self._slot is not None or cls.__dictoffset__):
            return
        if not self._name:
            raise TypeError("A tracked() attribute was added to a class after its creation; call its __set_name__ too.")
        if not cls.__weakrefoffset__:
            raise TypeError(
                f"{cls.__qualname__}.{self._name} is tracked, but Python cannot refer to a {cls.__qualname__} weakly. "
                f"Add '__weakref__' to its __slots__."
            )
        raise TypeError(
            f"{cls.__qualname__}.{self._name} is tracked, but a {cls.__qualname__} has no place for its value. "
            f"Add '_tracked_{self._name}' to the __slots__ of the class that declares it."
        )

    def _peek(self, instance: object) -> Any:
        """The value that was set, or MISSING."""
        if self._slot is None:
            return instance.__dict__.get(self._name, MISSING)
        try:
            return self._slot.__get__(instance)
        except AttributeError:
            return MISSING

    def _load(self, instance: object) -> Any:
        """The value that was set, or the default; a factory runs once per object."""
        value = self._peek(instance)
        if value is not MISSING:
            return value
        if self._factory is MISSING:
            return self._default
        made = self._factory()
        if self._slot is None:
            return instance.__dict__.setdefault(self._name, made)
        self._slot.__set__(instance, made)
        return made

    def _store(self, instance: object, value: Any) -> None:
        if self._slot is None:
            instance.__dict__[self._name] = value
        else:
            self._slot.__set__(instance, value)

    def _clear(self, instance: object) -> None:
        old = self._peek(instance)
        if old is MISSING:
            return
        try:
            if self._slot is None:
                instance.__dict__.pop(self._name, None)
            else:
                self._slot.__delete__(instance)
            if not _is_same(old, self._default):
                self._changed(instance)
        except BaseException:
            # As in __set__.
            self._changed(instance)
            raise

    def _changed(self, instance: object) -> None:
        changed(instance, (self._name,), f"{type(instance).__qualname__}.{self._name} changed")


@overload
def tracked(default: T) -> T: ...
@overload
def tracked(*, default_factory: Callable[[], T]) -> T: ...
@overload
def tracked() -> Any: ...
def tracked(default: Any = MISSING, *, default_factory: Any = MISSING) -> Any:
    """An attribute of a class: setting it on an object drops exactly the graphs that read it from that object.

    What a graph reads is noted while it is being built, also through properties and through other objects. Setting an
    equal `int`, `float`, `complex`, `bool`, `str`, `bytes`, `None` or enum member of the same type changes nothing;
    setting anything else is a change, even if it is the same object, because `model.knots += [1.0]` sets the same list.

    What is not seen: a container that is changed in place (`model.knots.append(1.0)`), and writing to `vars(model)`.
    Call `touch(model, "knots")` after it, set the attribute to a new container, or keep a tuple in it. Also not seen
    are objects inside of a container, until one of their own tracked attributes is read.

    Instances hold the value in their `__dict__` under the attribute's name, so they pickle and copy as ever. A class
    without `__dict__` needs `"__weakref__"` and, for an attribute `order`, `"_tracked_order"` in its `__slots__`. A
    dataclass may have tracked attributes as fields, but not with `slots=True`, which replaces them.

    Args:
        default: the value as long as none was set. Without it, and without a factory, reading raises `AttributeError`.
        default_factory: called once per object, when the attribute is read before it was set.

    Returns:
        A descriptor; declared as the type of the default, so that `order: int = tracked(3)` is right to a type checker.

    Raises:
        TypeError: both are given, or the factory cannot be called. Later: the class lacks what is said above.

    Scope: process. Changes in any thread drop the graphs; objects are held weakly.

    Example:
        >>> class Spline:
        ...     order = tracked(3)
        >>> spline = Spline()
        >>> spline.order
        3
        >>> spline.order = 4
        >>> vars(spline)
        {'order': 4}
    """
    if default_factory is not MISSING:
        if default is not MISSING:
            raise TypeError("tracked() takes a default or a default_factory; got both. Leave one out.")
        if not callable(default_factory):
            raise TypeError(f"default_factory must be callable without arguments; got {default_factory!r}.")
    return TrackedAttribute(default, default_factory)
