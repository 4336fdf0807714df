"""The one way to deprecate: a `Notice` says what is old, until when it works, and what to write instead."""

from __future__ import annotations

import re
import warnings
from functools import wraps
from importlib.metadata import PackageNotFoundError, metadata
from typing import TYPE_CHECKING, Any, Final, NamedTuple, ParamSpec, TypeVar

from deprecation import DeprecatedWarning, UnsupportedWarning

from zrun_core._version import __version__
from zrun_core.errors import ZrunError, ZrunWarning

from . import _switch
from ._caller import caller, reads_by_dot

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")

FIRST: Final = "0.1"
"""The release that deprecated what zfit's run manager has and zrun's has not."""

PAGE: Final = "From zfit's run manager to zrun"
"""The title of the page about migration, by which it is found wherever the documentation is."""

SECTION: Final = "migration.html#gone-for-good"

_warned: set[tuple[str, int, str]] = set()


class ZrunDeprecationWarning(ZrunWarning, FutureWarning):
    """An old name was used; the message says since when it is old, when it goes and what to write instead.

    It is a `FutureWarning`, which Python shows to everybody, not only to the authors of the code that is running.
    """


class RemovedNameError(ZrunError, AttributeError):
    """A name was asked for that worked once; the message says what became of it.

    It is an `AttributeError`, so that `hasattr` answers False.
    """


class Notice(NamedTuple):
    """That something is deprecated.

    Args:
        what: the old spelling, as code.
        instead: the new spelling as an imperative sentence without its full stop ("Write `zrun.run.policy`").
        removed_in: the version of zrun-compat that will not have it any more.
        since: the version that deprecated it.

    Example:
        >>> print(Notice("run.old()", "Write `zrun.run.new()`", removed_in="1.0").text)
        run.old() is deprecated as of zrun-compat 0.1 and will be removed in zrun-compat 1.0. Write `zrun.run.new()`
        (after `import zrun_tf as zrun`).
    """

    what: str
    instead: str
    removed_in: str
    since: str = FIRST

    @property
    def overdue(self) -> bool:
        """Whether this version of the package should not have it any more; its tests fail then."""
        return _release(__version__) >= _release(self.removed_in)

    @property
    def text(self) -> str:
        """The message."""
        return str(self._as_deprecation())

    def warn(self, *, read: bool = False) -> None:
        """Warn, at the line of the caller, once per place, as `ZRUN_DEPRECATIONS` and Python's filters say.

        Args:
            read: an attribute was read. `hasattr` reads it too, and must not raise: a warning that would become an
                error is then given to code that reads with a dot only.

        Raises:
            ZrunDeprecationWarning: warnings are errors.
        """
        if _switch.MODE == "ignore":
            return
        frame = caller()
        module = frame.f_globals.get("__name__", "<string>")
        warning = self._as_deprecation() if self.overdue else ZrunDeprecationWarning(self.text)
        action = "error" if _switch.MODE == "error" else _action(warning, module, frame.f_lineno)
        if action == "error" and read and not reads_by_dot(frame):
            return
        if _switch.MODE == "error":
            raise warning
        filename = frame.f_code.co_filename
        if action == "default" and not _first_time(filename, frame.f_lineno, self.what):
            return
        registry = frame.f_globals.setdefault("__warningregistry__", {})
        warnings.warn_explicit(warning, type(warning), filename, frame.f_lineno, module, registry)

    def _as_deprecation(self) -> Warning:
        # `deprecation.fail_if_not_removed` looks for its own UnsupportedWarning.
        kind = UnsupportedWarning if self.overdue else DeprecatedWarning
        versions = f"zrun-compat {self.since}", f"zrun-compat {self.removed_in}"
        hint = " (after `import zrun_tf as zrun`)" if "zrun." in self.instead else ""
        warning: Warning = kind(self.what, *versions, f"{self.instead}{hint}.")
        return warning


def old(what: str, *, removed_in: str, read: bool = False) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorator: a function that warns and works; goes right under `typing_extensions.deprecated`.

    That decorator, with `category=None`, shows type checkers and editors the same sentence, which is stated there only.

    Args:
        what: the old spelling, as code.
        removed_in: the version that will not have it any more.
        read: the function gets the value of an attribute; see `Notice.warn`.

    Returns:
        The decorator.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            notice(call).warn(read=read)
            return function(*args, **kwargs)

        call.__zrun_old__ = (what, removed_in)  # type: ignore[attr-defined]
        return call

    return decorate


def notice(function: Any) -> Notice:
    """The notice of a function that was decorated with `old`."""
    what, removed_in = function.__zrun_old__
    return Notice(what, function.__deprecated__, removed_in)


def removed(name: str, became: str) -> RemovedNameError:
    """The error for a name that is gone for good, with the address of the page that says so.

    Args:
        name: the old spelling, as code.
        became: what became of it, as a sentence.

    Returns:
        The error, to be raised.
    """
    return RemovedNameError(f"{name} is gone for good. {became} See {_where()}.")


def _where() -> str:
    """The address of the page where the package states one for its documentation; else where to look for it."""
    try:
        urls = metadata("zrun-compat").get_all("Project-URL") or ()
    except PackageNotFoundError:
        # The source is on the path, and no package is installed.
        urls = ()
    stated = dict(url.split(", ", 1) for url in urls)
    if "Documentation" in stated:
        return f"{stated['Documentation'].rstrip('/')}/{SECTION}"
    return f"'Gone for good' on the page '{PAGE}' of zrun's documentation"


def _release(version: str) -> tuple[int, ...]:
    # A development version of a release counts as that release: what is due goes before it, not after.
    return tuple(int(number) for number in re.split(r"[^\d.]|\.(?!\d)", version)[0].split("."))


def _first_time(filename: str, line: int, what: str) -> bool:
    """Python's own memory of places is lost whenever somebody changes the filters, as `catch_warnings` does."""
    place = (filename, line, what)
    if place in _warned:
        return False
    _warned.add(place)
    return True


def _action(warning: Warning, module: str, line: int) -> str:
    """What Python's filters say of a warning."""
    text = str(warning)
    filters: Any = warnings.filters
    for action, message, category, where, at in filters:
        if isinstance(warning, category) and at in (0, line) and _fits(message, text) and _fits(where, module):
            return str(action)
    return "default"


def _fits(pattern: Any, text: str) -> bool:
    """Filters hold compiled patterns; those that Python starts with hold plain strings."""
    if pattern is None or isinstance(pattern, str):
        return pattern is None or pattern == text
    return pattern.match(text) is not None
