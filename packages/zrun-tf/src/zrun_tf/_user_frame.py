"""The line of the user's program that led here."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

# Frames of these are how things work, not where they were asked for.
_INSIDE = sys.stdlib_module_names | {"zrun_core", "zrun_tf", "zrun_compat", "tensorflow", "keras", "numpy", "click"}


def user_line() -> str:
    """The innermost line outside of zrun and TensorFlow.

    Returns:
        Such as `"fit.py:12"`, with the file relative to the current folder where it lies below it; empty where there is
        no such line.

    Scope: thread (reads its stack).
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if not is_inside(frame):
            return f"{_short(frame.f_code.co_filename)}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def is_inside(frame: FrameType) -> bool:
    """Whether a frame is one of zrun, TensorFlow or Python itself.

    Args:
        frame: of some thread.
    """
    return str(frame.f_globals.get("__name__")).partition(".")[0] in _INSIDE


def _short(path: str) -> str:
    try:
        relative = os.path.relpath(path)
    except (OSError, ValueError):
        # The current folder is gone, or on another drive.
        return path
    return path if relative.startswith("..") or path.startswith("<") else relative
