"""What several commands share: their common options, and checks of what they are given."""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def _set_debug(context: click.Context, _option: click.Parameter, debug: bool) -> None:
    # Where a command is called by itself, as a test may do, there are no settings.
    if debug and context.obj is not None:
        context.obj.debug = True


def debug_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: the option `--debug`, which every command has."""
    return click.option(
        "--debug",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_set_debug,
        help="Show the traceback of an error.",
    )(command)


def need(what: str, extra: str, *packages: str) -> None:
    """Raise unless packages of an extra are installed.

    Args:
        what: needs them, for the message.
        extra: of zrun-tf that brings them.
        *packages: their import names.

    Raises:
        click.UsageError: one is missing.
    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        msg = f"{what} needs {' and '.join(missing)}. Install with: python -m pip install 'zrun-tf[{extra}]'"
        raise click.UsageError(msg)


def make_folder(folder: Path, what: str, option: str) -> None:
    """Make a folder, if it is missing, and check that files can be written there.

    Args:
        folder: the folder.
        what: what is to be saved in it, for the message.
        option: that names it, for the message.

    Raises:
        click.BadParameter: it cannot be used.

    Scope: file system.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        reason = None if os.access(folder, os.W_OK | os.X_OK) else "permission denied"
    except FileExistsError:
        reason = "that is a file"
    except OSError as error:
        reason = error.strerror
    if reason is not None:
        msg = f"{what} cannot be saved in {str(folder)!r}: {reason}. Name a folder that you can write to."
        raise click.BadParameter(msg, param_hint=option)
