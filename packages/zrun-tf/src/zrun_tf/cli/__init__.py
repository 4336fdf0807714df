"""The `zrun` command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["main"]

_NEEDS_CLICK = "zrun: the command line needs click. Install it with: python -m pip install 'zrun-tf[{extra}]'\n"

_HELP_COLUMNS = 80


def _columns() -> int:
    """The width of the terminal, as click sees it."""
    from shutil import get_terminal_size

    return get_terminal_size().columns


def _is_installed(package: str) -> bool:
    """Whether a package can be imported. `importlib.util` would know, but takes long to import itself."""
    return any(finder.find_spec(package, None) is not None for finder in sys.meta_path)


class Settings:
    """What holds for every command.

    Attributes:
        debug: whether errors are shown with their traceback.
    """

    debug = False


class HandOver(Exception):  # noqa: N818 - a signal to `main`
    """Raised by a command that leaves the rest to something that is to run outside of click and of its handlers.

    Args:
        run: takes no arguments and does not return.
    """

    def __init__(self, run: Callable[[], object]) -> None:
        super().__init__()
        self.run = run


def main(args: Sequence[str] | None = None) -> None:
    """Run the `zrun` command and exit with its code.

    Args:
        args: the arguments; None: those of this process.

    Raises:
        SystemExit: always: 0 done, 1 something fell short or failed, 2 wrong usage or a missing extra; after
            `zrun run`, what the program exits with, or the program's own exception.
    """
    arguments = list(sys.argv[1:] if args is None else args)
    if arguments in (["--help"], ["-h"]) and _columns() >= _HELP_COLUMNS and _is_installed("click"):
        # What click would print, without the tenth of a second that it takes to import.
        sys.stdout.write(Path(__file__).with_name("data").joinpath("help.txt").read_text(encoding="utf-8"))
        raise SystemExit(0)
    try:
        import click  # noqa: F401 - an extra, missing unless asked for
    except ImportError:
        sys.stderr.write(_NEEDS_CLICK.format(extra="demo" if "demo" in arguments else "cli"))
        raise SystemExit(2) from None
    from ._commands import zrun
    from ._quiet import lenient_output

    settings = Settings()
    try:
        with lenient_output():
            zrun.main(arguments, prog_name="zrun", obj=settings)
    except HandOver as signal:
        run = signal.run
    except Exception as error:
        if settings.debug:
            raise
        sys.stderr.write(f"zrun: {type(error).__name__}: {error}\nRun it again with --debug to see where.\n")
        raise SystemExit(1) from None
    # Out here, where no handler of ours comes into the user's way.
    run()
