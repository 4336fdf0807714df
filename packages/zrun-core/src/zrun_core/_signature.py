"""Calls in one canonical form: however arguments are passed, the same call gives the same values in the same order."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from ._containers import Static
from ._nodes import Node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_NO_DEFAULT = inspect.Parameter.empty


class Signature(Node):
    """The parameters of a function, and how its calls are put in order. As a node, it names them where one is refused.

    Args:
        function: the function.
        static: names of parameters that are compared by value.

    Raises:
        TypeError: Python does not tell the parameters of the function.
        ValueError: `static` names a parameter the function does not have.

    Attributes:
        names: of the parameters, in order.
        static: those of them that are compared by value.
        exact: a call with this many positional arguments and nothing else is in order as it is; -1: there is none.
    """

    def __init__(self, function: Callable[..., Any], static: Iterable[str] = ()) -> None:
        self._name = getattr(function, "__qualname__", repr(function))
        try:
            self._signature = inspect.signature(function)
        except ValueError as error:
            raise TypeError(
                f"function cannot decorate {self._name}: {error}, so its arguments cannot be put in order. "
                f"Call it in a function of your own, and decorate that."
            ) from None
        parameters = list(self._signature.parameters.values())
        self.names = tuple(p.name for p in parameters)
        self.static = _checked_names(static, self.names, self._name)
        self._variadic = {p.name: p.kind for p in parameters if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
        self._keyword_only = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
        # Calls of most functions can be put in order without the general, slow way.
        self._defaults = [(p.name, p.default) for p in parameters]
        is_simple = not self._variadic and not any(p.kind is p.POSITIONAL_ONLY for p in parameters)
        self._most_positional = len(parameters) - len(self._keyword_only) if is_simple else -1
        self.exact = -1 if self._variadic or self._keyword_only else len(parameters)

    def ordered(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Sequence[Any]:
        """The values of a call, one for each parameter; defaults filled in.

        Args:
            args: the positional arguments.
            kwargs: the keyword arguments.

        Raises:
            TypeError: the arguments do not fit the parameters.
        """
        if not kwargs and len(args) == self.exact:
            return args
        values = self._filled(args, kwargs)
        if values is not None:
            return values
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self._name}: {error}") from None
        bound.apply_defaults()
        return tuple(bound.arguments.values())

    def _filled(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any] | None:
        """The values where every parameter has a name to pass it by; None where the call does not fit."""
        if len(args) > self._most_positional:
            return None
        values = list(args)
        unused = len(kwargs)
        for name, default in self._defaults[len(args) :]:
            if name in kwargs:
                values.append(kwargs[name])
                unused -= 1
            elif default is _NO_DEFAULT:
                return None
            else:
                values.append(default)
        return None if unused else values

    def marked(self, values: Sequence[Any]) -> list[Any]:
        """The values of a call, those that are compared by value marked as such."""
        return [Static(v) if name in self.static else v for name, v in zip(self.names, values, strict=True)]

    def label(self, names: Any, parts: Sequence[Any], index: int) -> str:  # noqa: ARG002 - the signature of nodes
        """The name of a parameter."""
        return self.names[index]

    def call_form(self, values: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
        """The positional and keyword arguments that a function is called with.

        Args:
            values: one for each parameter, in order.
        """
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for name, value in zip(self.names, values, strict=True):
            kind = self._variadic.get(name)
            if kind is inspect.Parameter.VAR_POSITIONAL:
                args.extend(value)
            elif kind is inspect.Parameter.VAR_KEYWORD:
                kwargs.update(value)
            elif name in self._keyword_only:
                kwargs[name] = value
            else:
                args.append(value)
        return args, kwargs


def _checked_names(static: Iterable[str], names: tuple[str, ...], function: str) -> frozenset[str]:
    static = (static,) if isinstance(static, str) else tuple(static)
    for name in static:
        if name not in names:
            from difflib import get_close_matches

            near = get_close_matches(str(name), names, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(
                f"static={static!r}: {function} has no parameter {name!r}.{hint} "
                f"Its parameters are {', '.join(names) or 'none'}."
            )
    return frozenset(static)
