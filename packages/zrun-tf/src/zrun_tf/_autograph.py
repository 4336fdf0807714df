"""Python control flow on tensors as graph control flow."""

from __future__ import annotations

import warnings
from types import MethodType
from typing import TYPE_CHECKING, Any, Final, TypeVar

import tensorflow as tf

from zrun_core.errors import ZrunWarning

from ._compat import add_note

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")

DO_NOT_CONVERT: Final[Any] = {}
"""AutoGraph looks for an attribute `autograph_info__` and leaves alone what has one."""


def leave_alone(function: F) -> F:
    """Decorator: have AutoGraph call this function as it is, and what it calls; it converts the user's part itself."""
    function.autograph_info__ = DO_NOT_CONVERT  # type: ignore[attr-defined]
    return function


def converted(body: Callable[..., Any]) -> Callable[..., Any]:
    """The function as AutoGraph makes it, or as it is.

    Args:
        body: the Python function.

    Returns:
        A function in which `if`, `while` and `for` on tensors are graph operations. The function as it is, where its
        source cannot be had (a lambda among others on a line, code typed into a shell), or where it asks not to be
        converted.
    """
    if hasattr(body, "autograph_info__"):
        return body
    if isinstance(body, MethodType):
        return MethodType(converted(body.__func__), body.__self__)
    try:
        return tf.autograph.to_graph(body)  # type: ignore[no-any-return]
    except Exception:  # noqa: BLE001 - AutoGraph's own kinds are not public; `tf.function` goes on without, too
        return body


def note_missing_conversion(error: BaseException, body: Callable[..., Any]) -> None:
    """Say with an error about Python control flow on tensors why AutoGraph did not turn it into graph control flow."""
    if isinstance(body, MethodType) or hasattr(body, "autograph_info__"):
        return
    try:
        tf.autograph.to_graph(body)
    except Exception as reason:  # noqa: BLE001 - see `converted`
        note = f"AutoGraph could not convert {getattr(body, '__qualname__', body)}, so it was traced as it is: {reason}"
        if not add_note(error, note):
            warnings.warn(note, ZrunWarning, stacklevel=2)
