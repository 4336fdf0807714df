"""Exchanging what zfit's functions do while they stay the objects that everybody has imported, and giving it back.

Functions of zfit are imported by name into many modules and bound into closures when a class is defined, so exchanging
names would reach only some of them. Their code objects are exchanged instead; no file of zfit changes.
"""

from __future__ import annotations

import gc
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

if TYPE_CHECKING:
    from collections.abc import Callable

_originals: Final[dict[str, FunctionType]] = {}


def released(name: str) -> Callable[..., Any]:
    """A function of zfit as it was released.

    Args:
        name: of the function.
    """
    return _originals[name]


class Exchange:
    """What was exchanged, to be given back."""

    def __init__(self) -> None:
        self._code: list[tuple[FunctionType, CodeType, str]] = []
        self._attributes: list[tuple[Any, str, Any, bool]] = []
        self._closures: WeakSet[FunctionType] = WeakSet()
        self._inner: tuple[CodeType, CodeType] | None = None

    def function(self, function: FunctionType, template: Any) -> None:
        """Have a function do what another one does that takes the same arguments and has no closure.

        Args:
            function: of zfit.
            template: what it is to do; it runs with the globals of `function`.
        """
        name = function.__name__
        _originals[name] = FunctionType(
            function.__code__, function.__globals__, name, function.__defaults__, function.__closure__
        )
        _originals[name].__kwdefaults__ = function.__kwdefaults__
        self._code.append((function, function.__code__, name))
        function.__code__ = template.__code__

    def attribute(self, owner: Any, name: str, value: Any) -> None:
        """Set an attribute of a class or module of zfit.

        Args:
            owner: the class or module.
            name: of the attribute.
            value: what it is to be.
        """
        there = name in vars(owner)
        self._attributes.append((owner, name, vars(owner).get(name), there))
        setattr(owner, name, value)

    def closures(self, made_of: CodeType, template: CodeType) -> None:
        """Have every function that was made of one code do what another code does that has the same free variables.

        Args:
            made_of: the code.
            template: the other one.
        """
        self._inner = made_of, template
        frozen = gc.get_freeze_count() > 0
        if frozen:
            # The garbage collector does not show what it was told to leave alone.
            gc.unfreeze()
        # Not all objects there are: holding a tuple that another thread is still building makes that thread fail.
        for found in gc.get_referrers(made_of):
            if type(found) is FunctionType:
                self.closure(found)
        if frozen:
            gc.freeze()

    def closure(self, function: FunctionType) -> None:
        """Do the same for one function that was made since.

        Args:
            function: the function.
        """
        if self._inner is not None and function.__code__ is self._inner[0]:
            function.__code__ = self._inner[1]
            self._closures.add(function)

    def give_back(self) -> None:
        """Put everything back as it was."""
        if self._inner is not None:
            for function in list(self._closures):
                function.__code__ = self._inner[0]
        for function, code, name in reversed(self._code):
            function.__code__ = code
            _originals.pop(name, None)
        for owner, name, value, there in reversed(self._attributes):
            if there:
                setattr(owner, name, value)
            else:
                delattr(owner, name)
        self._code.clear()
        self._attributes.clear()
        self._closures.clear()


def inner_code(function: Any, name: str) -> CodeType | None:
    """The code of a function that is defined inside of another one.

    Args:
        function: the outer function.
        name: of the inner one.
    """
    for constant in function.__code__.co_consts:
        if isinstance(constant, CodeType) and constant.co_name == name:
            return constant
    return None
