"""The code that used an old name: where it stands, and what its line is doing at this moment.

Two questions cannot be answered from the arguments of a call. Is an attribute being read, or only asked for with
`hasattr`? Does the call stand in a `with` statement, or is its result thrown away? The instruction that the caller is
at, or comes to next, tells. Where it tells nothing (compiled callers), the answers are "no".
"""

from __future__ import annotations

import contextlib
import sys
from opcode import opname
from typing import TYPE_CHECKING

from zrun_compat._compat import DISCARDING, ENTERING

if TYPE_CHECKING:
    from types import FrameType

# An ExitStack enters a block for somebody else, whose line is the one to show.
_SKIPPED = (__file__.rpartition("_caller")[0], contextlib.__file__)


def caller() -> FrameType:
    """The innermost frame that belongs neither to this package nor to `contextlib`."""
    frame = sys._getframe(1)
    while frame.f_code.co_filename.startswith(_SKIPPED) and frame.f_back is not None:
        frame = frame.f_back
    return frame


def reads_by_dot(frame: FrameType) -> bool:
    """Whether the frame is reading `object.name`, rather than calling `hasattr`, `getattr` or anything else."""
    return opname[frame.f_code.co_code[frame.f_lasti]].startswith("LOAD_")


def enters_result(frame: FrameType) -> bool:
    """Whether the frame is at a call that stands in a `with` statement."""
    return _next(frame) in ENTERING


def discards_result(frame: FrameType) -> bool:
    """Whether the frame is at a call whose result nobody will hold."""
    return _next(frame) in DISCARDING


def _next(frame: FrameType) -> str:
    """The instruction after the one that the frame is at."""
    following = frame.f_code.co_code[frame.f_lasti + 2 :: 2]
    return next(name for name in map(opname.__getitem__, following) if name != "CACHE")
