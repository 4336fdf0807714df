"""Running functions within a block: the part of decorators that must know what kind of callable it has."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

P = ParamSpec("P")
R = TypeVar("R")


def flavour(function: Callable[..., Any]) -> Literal["plain", "coroutine", "generator"]:
    """When the body of a callable runs.

    Args:
        function: any callable, also an object with `__call__` or a `functools.partial`.

    Returns:
        `"plain"` if it runs within the call, `"coroutine"` if it runs when awaited, `"generator"` if it runs while
        somebody iterates.
    """
    # Imported late: most programs never ask, and core is to import fast.
    import inspect

    for code in (function, type(function).__call__):
        if inspect.iscoroutinefunction(code):
            return "coroutine"
        if inspect.isgeneratorfunction(code) or inspect.isasyncgenfunction(code):
            return "generator"
    return "plain"


def is_coroutine_function(function: Callable[..., Any], asked: str) -> bool:
    """Whether a callable is a coroutine function.

    Args:
        function: what was given.
        asked: the name of the decorator, for messages.

    Raises:
        TypeError: it cannot be called, or is a generator function, so that no block can hold its body.
    """
    if not callable(function):
        raise TypeError(f"{asked} takes a callable; got {function!r} of type {type(function).__name__}.")
    found = flavour(function)
    if found == "generator":
        raise TypeError(
            f"{asked} cannot decorate the generator function {getattr(function, '__qualname__', repr(function))}: its "
            f"body runs after the call has returned. Put 'with run.using(...)' inside the body, around code without "
            f"a yield."
        )
    return found == "coroutine"


def within(block: AbstractContextManager[Any], function: Callable[P, R], asked: str) -> Callable[P, R]:
    """A function that runs within a block that can be entered again and again.

    Args:
        block: the block.
        function: the function; its body may be a coroutine.
        asked: the name of the decorator, for messages.

    Returns:
        The function, wrapped.

    Raises:
        TypeError: `function` cannot be called, is a generator function or a class.
    """
    if is_coroutine_function(function, asked):

        @wraps(function)
        async def coroutine(*args: P.args, **kwargs: P.kwargs) -> Any:
            with block:
                return await function(*args, **kwargs)  # type: ignore[misc]

        return coroutine  # type: ignore[return-value]
    if isinstance(function, type):
        raise TypeError(f"{asked} decorates functions; got the class {function.__qualname__}. Decorate its methods.")

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with block:
            return function(*args, **kwargs)

    return call


def check_body(body: Any, name: str) -> None:
    """Refuse what cannot be decorated with `function`.

    Args:
        body: what is to be decorated.
        name: what to call it in messages.

    Raises:
        TypeError: it is no function or method, or a generator or coroutine function.
    """
    if isinstance(body, (staticmethod, classmethod)):
        raise TypeError(
            f"function cannot decorate the {type(body).__name__} {name}: it needs the function inside. "
            f"Write @{type(body).__name__} above the decorator of zrun."
        )
    if not callable(body) or isinstance(body, type):
        raise TypeError(
            f"function decorates functions and methods; got {body!r} of type {type(body).__name__}. "
            f"Options are given by name, as in function(kind='loss')."
        )
    if flavour(body) != "plain":
        raise TypeError(
            f"function cannot decorate {name}: a generator or coroutine function has no result that a graph could "
            f"return. Decorate the part that computes, and leave the yield or await outside."
        )
