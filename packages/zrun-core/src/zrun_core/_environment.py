"""The environment variables zrun reads: what each may hold, and the error when it holds something else."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any, NoReturn

from ._policy import Policy
from .errors import EnvironmentVariableError, PolicyError

if TYPE_CHECKING:
    from collections.abc import Mapping

_TRUE = ("1", "true", "yes", "on")
_FALSE = ("0", "false", "no", "off")
_BOOLS = "true or false (also 1, 0, yes, no, on, off)"


def policy_from_environment(environ: Mapping[str, str] | None = None) -> Policy:
    """The policy a process starts with.

    Args:
        environ: the variables; None means the process's own.

    Returns:
        The default policy with what `ZRUN_GRAPH`, `ZRUN_AUTOGRAD` and `ZRUN_CHUNKSIZE` say.

    Raises:
        EnvironmentVariableError: a variable holds a value it cannot take.

    Example:
        >>> policy_from_environment({"ZRUN_GRAPH": "loss=true,model=false"}).graph
        {'loss': True, 'model': False}
    """
    parts: dict[str, Any] = {}
    for variable, part, parse in (
        ("ZRUN_GRAPH", "graph", _graph),
        ("ZRUN_AUTOGRAD", "autograd", _autograd),
        ("ZRUN_CHUNKSIZE", "chunksize", _chunksize),
    ):
        text = _read(variable, environ)
        if not text:
            continue
        parts[part] = parse(variable, text)
        try:
            Policy(**{part: parts[part]})
        except PolicyError as error:
            raise EnvironmentVariableError(f"Environment variable {variable}={text!r}: {error}") from None
    return Policy(**parts)


def cpus_from_environment(environ: Mapping[str, str] | None = None) -> int | None:
    """The upper limit of CPUs that `ZRUN_CPUS` sets.

    Args:
        environ: the variables; None means the process's own.

    Returns:
        The number, or None where the variable is unset, empty or `auto`.

    Raises:
        EnvironmentVariableError: it is neither a positive number nor `auto`.
    """
    text = _read("ZRUN_CPUS", environ)
    if text.lower() in ("", "auto"):
        return None
    return _positive("ZRUN_CPUS", text, "a positive number of CPUs or 'auto'")


@cache
def cpu_limit() -> int | None:
    """What `ZRUN_CPUS` held when this was first asked.

    Returns:
        As `cpus_from_environment`.

    Raises:
        EnvironmentVariableError: it holds neither a positive number nor `auto`.

    Scope: process.
    """
    return cpus_from_environment()


def log_from_environment(environ: Mapping[str, str] | None = None) -> str | None:
    """What `ZRUN_LOG` asks to be logged; None where it is unset or empty."""
    return _read("ZRUN_LOG", environ).lower() or None


def apply_log_setting(environ: Mapping[str, str] | None = None) -> None:
    """Do what `ZRUN_LOG` says; called once, when the package is imported.

    Args:
        environ: the variables; None means the process's own.

    Raises:
        EnvironmentVariableError: it names no choice of `configure_logging`.

    Scope: process.
    """
    choice = log_from_environment(environ)
    if choice is None:
        return
    from ._events import configure_logging

    try:
        configure_logging(choice)
    except ValueError as error:
        raise EnvironmentVariableError(f"Environment variable ZRUN_LOG: {error}") from None


def _read(variable: str, environ: Mapping[str, str] | None) -> str:
    return (os.environ if environ is None else environ).get(variable, "").strip()


def _bool(variable: str, text: str, flag: str, rule: str) -> bool:
    if flag.lower() in _TRUE:
        return True
    if flag.lower() in _FALSE:
        return False
    _refuse(variable, text, rule)


def _autograd(variable: str, text: str) -> bool:
    return _bool(variable, text, text, _BOOLS)


def _graph(variable: str, text: str) -> Any:
    rule = "true, false, auto, or kinds such as 'loss=true,model=false'"
    if text.lower() == "auto":
        return "auto"
    if "=" not in text:
        return _bool(variable, text, text, rule)
    kinds: dict[str, bool] = {}
    for item in text.split(","):
        kind, _, flag = (part.strip() for part in item.partition("="))
        if kind in kinds:
            _refuse(variable, text, f"{rule}, each kind once")
        kinds[kind] = _bool(variable, text, flag, rule)
    return kinds


def _chunksize(variable: str, text: str) -> Any:
    if text.lower() == "auto":
        return "auto"
    if text.lower() == "none":
        return None
    return _positive(variable, text, "a positive number of rows, 'auto' or 'none'")


def _positive(variable: str, text: str, rule: str) -> int:
    # Python refuses to read numbers of more than 4300 digits.
    if text.isascii() and text.isdecimal() and len(text) < 20 and int(text) > 0:
        return int(text)
    _refuse(variable, text, rule)


def _refuse(variable: str, text: str, rule: str) -> NoReturn:
    raise EnvironmentVariableError(
        f"Environment variable {variable} must be {rule}; got {text!r}. Correct it or unset it, then start again."
    )
