"""`ZRUN_DEPRECATIONS`: what the use of an old name does. Read with the package, which it must not slow down."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

MODES: Final = ("ignore", "warn", "error")


def read_switch(environ: Mapping[str, str]) -> str:
    """What `ZRUN_DEPRECATIONS` says.

    Args:
        environ: the environment variables.

    Returns:
        `"ignore"`, `"warn"` or `"error"`; `"warn"` where the variable is unset or empty.

    Raises:
        EnvironmentVariableError: it holds something else.

    Example:
        >>> read_switch({"ZRUN_DEPRECATIONS": "Error"})
        'error'
    """
    text = environ.get("ZRUN_DEPRECATIONS", "").strip()
    if not text:
        return "warn"
    if text.lower() in MODES:
        return text.lower()
    from zrun_core.errors import EnvironmentVariableError

    raise EnvironmentVariableError(
        f"Environment variable ZRUN_DEPRECATIONS must be one of {', '.join(MODES)}; got {text!r}. "
        f"Correct it or unset it, then start again."
    )


MODE: Final = read_switch(os.environ)
