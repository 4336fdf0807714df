"""Announcing changes that no tracked attribute sees: `@invalidates` methods and `touch`."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from ._reads import changed
from ._tracked import TrackedAttribute

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")


@overload
def invalidates(method: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def invalidates(*attributes: str) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def invalidates(*given: Any) -> Any:
    """Decorator of a method that changes its object: afterwards the graphs that read the object are dropped.

    `@invalidates` drops the graphs that read any tracked attribute of the object, those whose arguments hold it by
    identity, and those that read it from a tracked attribute of another object. `@invalidates("order", "knots")` drops
    only those that read these attributes. Graphs that read other objects stay.

    The change is announced when the method ends, also when it raises, since it may have changed a part by then.

    Args:
        *given: the names of tracked attributes; or the method itself.

    Returns:
        The method, or a decorator.

    Raises:
        TypeError: what is decorated is not a function that ends when its call returns: a generator, property, static or
            class method (put `@invalidates` below `@property.setter` and the like). When the method is called: a name
            given is not a tracked attribute of the object; nothing has been changed then.

    Scope: process.

    Example:
        >>> class Histogram:
        ...     def __init__(self):
        ...         self.counts = [0.0, 0.0]
        ...
        ...     @invalidates
        ...     def fill(self, index):
        ...         self.counts[index] += 1.0
        >>> Histogram().fill(1)
    """
    if len(given) == 1 and not isinstance(given[0], str):
        return _announcing(given[0], None)
    names = tuple(given)
    if not names or not all(isinstance(name, str) for name in names):
        raise TypeError(
            f"invalidates takes names of tracked attributes, or decorates a method without parentheses; got {given!r}."
        )
    return lambda method: _announcing(method, names)


def _announcing(method: Callable[..., Any], names: tuple[str, ...] | None) -> Callable[..., Any]:
    if not callable(method):
        raise TypeError(
            f"invalidates decorates a method; got {method!r} of type {type(method).__name__}. "
            f"Put @invalidates below @property.setter, @staticmethod or @classmethod."
        )
    # Imported late: core is to import fast.
    import inspect

    called = getattr(method, "__qualname__", repr(method))
    if inspect.isgeneratorfunction(method) or inspect.isasyncgenfunction(method):
        raise TypeError(
            f"invalidates cannot decorate the generator {called}: its body runs after the call has returned. "
            f"Call touch(self) in its body instead."
        )
    reason = f"{called} was called"

    if inspect.iscoroutinefunction(method):

        @wraps(method)
        async def announce_async(self: object, /, *args: Any, **kwargs: Any) -> Any:
            _check_names(self, names, called)
            try:
                result = await method(self, *args, **kwargs)
                changed(self, names, reason)
            except BaseException:
                # Also where an interrupt hit the announcement; to make it twice does no harm.
                changed(self, names, reason)
                raise
            return result

        return announce_async

    @wraps(method)
    def announce(self: object, /, *args: Any, **kwargs: Any) -> Any:
        _check_names(self, names, called)
        try:
            result = method(self, *args, **kwargs)
            changed(self, names, reason)
        except BaseException:
            # As above.
            changed(self, names, reason)
            raise
        return result

    return announce


def touch(obj: object, *attributes: str) -> None:
    """Say that an object was changed where zrun could not see it: a container changed in place, a C extension.

    Args:
        obj: the object: one with tracked attributes, one that functions were called with, or one that was read from a
            tracked attribute.
        *attributes: which of its tracked attributes; none means all, and the object as a whole.

    Raises:
        TypeError: a name given is not a tracked attribute of the object; nothing has been dropped then.

    Scope: process. Drops the graphs that read it, no others.

    Example:
        >>> from zrun_core import tracked
        >>> class Spline:
        ...     knots = tracked(default_factory=list)
        >>> spline = Spline()
        >>> spline.knots.append(1.0)
        >>> touch(spline, "knots")
    """
    _check_names(obj, attributes, "touch")
    reason = f"touch({type(obj).__qualname__} object{_listed(attributes)}) was called"
    try:
        changed(obj, attributes or None, reason)
    except BaseException:
        # An interrupt: what was changed in place is changed already.
        changed(obj, attributes or None, reason)
        raise


def _listed(names: tuple[str, ...]) -> str:
    return "".join(f", {name!r}" for name in names)


def _check_names(obj: object, names: tuple[str, ...] | None, asked: str) -> None:
    for name in names or ():
        if not any(isinstance(vars(cls).get(name), TrackedAttribute) for cls in type(obj).__mro__):
            raise TypeError(
                f"{asked}: {name!r} is not a tracked attribute of {type(obj).__qualname__}, so who read it is unknown. "
                f"Declare '{name} = tracked()' in the class, or leave the names out to mean the whole object."
            )
