"""Exceptions of zrun_tf, beside those of `zrun_core.errors`."""

from __future__ import annotations

from zrun_core.errors import ZrunError

__all__ = ["GradientError", "GradientMismatchError", "PythonFunctionError", "UnconnectedGradientError"]


class GradientError(ZrunError, ValueError):
    """A derivative was asked for that cannot be had; the message says which, why, and what to do instead."""


class UnconnectedGradientError(GradientError):
    """The function does not depend on a parameter, as far as TensorFlow can see; the message names the parameter."""


class PythonFunctionError(ZrunError, ValueError):
    """A function called by `numpy_function` or `py_function` was given or returned something that does not fit."""


class GradientMismatchError(GradientError, AssertionError):
    """Automatic and numerical derivatives disagree; the message has both, parameter by parameter."""
