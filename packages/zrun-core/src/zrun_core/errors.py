"""Public exceptions and warnings of zrun.

Every exception derives from `ZrunError`, and also from the built-in exception a caller would expect, so that code
which knows nothing of zrun can catch it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = [
    "ChunkError",
    "CompileError",
    "CpuError",
    "CpuLeaseTimeoutError",
    "DoNotTrace",
    "EnvironmentVariableError",
    "IllegalInGraphError",
    "PolicyError",
    "PolicyShadowedError",
    "RetraceError",
    "RetraceWarning",
    "RuntimeStartedError",
    "StructureError",
    "UnknownKindError",
    "ZrunError",
    "ZrunWarning",
]


class ZrunError(Exception):
    """Base class of every exception that zrun raises on its own account."""

    if not TYPE_CHECKING:
        # Tools that add to a message by making the exception anew (AutoGraph does) keep the type only of exceptions
        # whose constructor is this very one.
        __init__ = Exception.__init__


class PolicyError(ZrunError, ValueError):
    """A value given for a part of the policy is not one it can take; nothing was changed."""


class UnknownKindError(PolicyError):
    """A kind of function was named that nobody has defined; the message has the nearest known name."""


class EnvironmentVariableError(PolicyError):
    """An environment variable that zrun reads (`ZRUN_…`) holds a value it cannot take."""


class PolicyShadowedError(ZrunError, RuntimeError):
    """The process default was to be set inside a `using` block, where the new default would not be seen."""


class IllegalInGraphError(ZrunError, RuntimeError):
    """Something was asked for while a graph is being built that only makes sense outside of it."""


class StructureError(ZrunError, TypeError):
    """An argument cannot be taken apart into a static key and dynamic leaves, for example because it holds itself."""


class RetraceError(ZrunError, RuntimeError):
    """A function was traced more often than the retrace policy `"error"` allows."""


class CpuError(ZrunError, ValueError):
    """A number of CPUs was asked for that cannot be had."""


class CpuLeaseTimeoutError(ZrunError, TimeoutError):
    """No CPU became free within the timeout of a lease."""


class RuntimeStartedError(ZrunError, RuntimeError):
    """A setting came after the backend's runtime had started, when it can no longer take effect."""


class ChunkError(ZrunError, ValueError):
    """A chunk size, a number of rows or a memory budget from which no plan can be made."""


class CompileError(ZrunError, RuntimeError):
    """A function was to be compiled to machine code, but holds an operation that cannot be; the message names it."""


class DoNotTrace(ZrunError):  # noqa: N818 - a signal, named for what it asks for
    """Raised by a function's body while it is traced: this function, and its callers, run eagerly from now on."""


class ZrunWarning(UserWarning):
    """Base class of every warning that zrun gives on its own account."""


class RetraceWarning(ZrunWarning):
    """One function was traced several times within a short time; the message names the argument that changes."""
