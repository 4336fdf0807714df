"""The `zrun` command."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_NEEDS_CLICK = "zrun: the command line needs click. Install it with: python -m pip install 'zrun-tf[{extra}]'\n"


def main(args: Sequence[str] | None = None) -> None:
    """Run the `zrun` command and exit with its code.

    Args:
        args: the arguments; None: those of this process.

    Raises:
        SystemExit: always: 0 done, 1 something fell short or failed, 2 wrong usage or a missing extra.
    """
    arguments = list(sys.argv[1:] if args is None else args)
    try:
        import click  # noqa: F401 - an extra, missing unless asked for
    except ImportError:
        sys.stderr.write(_NEEDS_CLICK.format(extra="demo" if "demo" in arguments else "cli"))
        raise SystemExit(2) from None
    from ._commands import zrun
    from ._quiet import lenient_output

    try:
        with lenient_output():
            zrun.main(arguments, prog_name="zrun")
    except Exception as error:
        if "--debug" in arguments:
            raise
        sys.stderr.write(f"zrun: {type(error).__name__}: {error}\nRun it again with --debug to see where.\n")
        raise SystemExit(1) from None
