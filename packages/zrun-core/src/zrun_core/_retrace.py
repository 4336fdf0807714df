"""What the retrace policy does when one function is traced again and again."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING

from .errors import RetraceError, RetraceWarning

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._owner import CacheOwner
    from ._policy import RetracePolicy
    from ._structure import KeyRow
    from ._watch import RetraceWatch

_PACKAGES = ("zrun_core", "zrun_tf", "zrun_compat")


def check_retraces(
    watch: RetraceWatch, owner: CacheOwner, rows: Callable[[], tuple[KeyRow, ...]], policy: RetracePolicy
) -> None:
    """Note that a function is about to be traced; warn or raise if that is once too often.

    Args:
        watch: counts the traces.
        owner: the function.
        rows: describes the key it is traced for.
        policy: `"allow"`, `"warn"` (once per function) or `"error"`.

    Raises:
        RetraceError: under the policy `"error"`.
    """
    if policy == "allow" or not owner.watched:
        return
    text = watch.note(owner, rows(), once=policy == "warn")
    if not text:
        return
    if policy == "error":
        raise RetraceError(text)
    warnings.warn(text, RetraceWarning, stacklevel=_level_of_caller())


def _level_of_caller() -> int:
    """How far up the first frame outside of zrun lies, as `warnings.warn` in the calling function counts."""
    level = 1
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _PACKAGES:
        frame = frame.f_back
        level += 1
    return level
