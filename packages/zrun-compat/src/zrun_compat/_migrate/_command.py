"""The command `zrun-migrate`."""

from __future__ import annotations

import difflib
import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from tqdm import tqdm

from zrun_core import __version__

from ._files import Text, decode, find_files, write
from ._names import worth_reading
from ._notebook import migrate_notebook
from ._places import UnreadableSourceError
from ._source import migrate_module

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._places import Migration

_EPILOG = """\b
Examples:
  zrun-migrate --diff fit.py      show what would change, and change nothing
  zrun-migrate fit.py study/      rewrite a file, and all in a folder
  zrun-migrate --check .          for CI: fail while there is anything to do

\b
What is said of a place:
  left    it was left as it was; the reason says what to write
  check   it was rewritten, but look at it: something has changed with it

\b
Exit code:
  0  there is nothing (more) to do
  1  a place was left or is to be checked; with --check or --diff also:
     something would be rewritten
  2  wrong usage, or a file could not be read or written; the others were
     dealt with all the same

Commit your work before, so that you can compare. Comments and strings are
never rewritten; the summary counts those that mention old names.
"""


class _Totals:
    def __init__(self) -> None:
        self.files = self.rewritten_files = self.failed = 0
        self.rewritten = self.left = self.checks = self.mentions = 0

    def add(self, done: Migration) -> None:
        self.rewritten += done.rewritten
        self.left += sum(place.kind == "left" for place in done.places)
        self.checks += sum(place.kind == "check" for place in done.places)
        self.mentions += done.mentions

    def code(self, *, dry: bool) -> int:
        if self.failed:
            return 2
        return int(bool(self.left or self.checks or (dry and self.rewritten_files)))


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 88}, epilog=_EPILOG)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(exists=True, path_type=Path))
@click.option("--check", is_flag=True, help="Write nothing; the exit code says whether there is anything to do.")
@click.option("--diff", is_flag=True, help="Write nothing; print what would change as a patch.")
@click.option("-q", "--quiet", is_flag=True, help="Print no summary and no progress.")
@click.version_option(__version__, prog_name="zrun-migrate", message="%(prog)s %(version)s")
def command(paths: tuple[Path, ...], *, check: bool, diff: bool, quiet: bool) -> None:
    """Rewrite code for zfit's run manager to use zrun.

    PATH is a Python file, a notebook, or a folder, which is searched for both. Uses of zfit.run, z.function,
    zfit.util.execution and zrun_compat become those of zrun, imported as `import zrun_tf as zrun`. What cannot be
    decided is left as it is and reported, with its line and column and the reason.
    """
    files, totals = find_files(paths), _Totals()
    # The patch alone goes to stdout, so that it can be applied.
    say = partial(click.echo, err=diff)
    bar = tqdm(files, unit="file", leave=False, disable=None if len(files) > 20 and not quiet else True)
    for path in bar:
        totals.files += 1
        try:
            _migrate(path, totals, say, dry=check or diff, diff=diff)
        except UnreadableSourceError as error:
            where = "" if error.line is None else f"{error.line}:{error.column}:"
            totals.failed += 1
            say(f"{_shown(path)}:{where} error: nothing was changed: {error.reason}")
        except OSError as error:
            totals.failed += 1
            say(f"{_shown(path)}: error: nothing was changed: {error.strerror or error}")
        except Exception as error:  # noqa: BLE001 - one file must not keep the others from being migrated
            totals.failed += 1
            say(
                f"{_shown(path)}: error: nothing was changed: {_described(error)}. This is a fault of zrun-migrate; "
                f"please report it with the file."
            )
    if not quiet:
        click.echo(_summary(totals, dry=check or diff), err=diff)
    sys.exit(totals.code(dry=check or diff))


def _migrate(path: Path, totals: _Totals, say: Callable[[str], Any], *, dry: bool, diff: bool) -> None:
    data, notebook = path.read_bytes(), path.suffix == ".ipynb"
    if not worth_reading(data):
        return
    text = decode(data, notebook=notebook)
    done = (
        migrate_notebook(text.text)
        if notebook
        else migrate_module(text.text, is_package=path.name in {"__init__.py", "__init__.pyi"})
    )
    if done.source != text.text:
        if not dry:
            _write(path, text, done)
        totals.rewritten_files += 1
        if diff:
            click.echo(_patch(_shown(path), text.text, done.source), nl=False)
    totals.add(done)
    for place in done.places:
        say(place.at(_shown(path)))


def _write(path: Path, text: Text, done: Migration) -> None:
    try:
        data = text.encoded(done.source)
    except UnicodeEncodeError as error:
        raise UnreadableSourceError(f"the new text cannot be encoded as {text.encoding} ({error})") from None
    write(path, data)


def _described(error: Exception) -> str:
    name = type(error).__name__
    try:
        return f"{name}: {error}"
    except Exception:  # noqa: BLE001 - it holds the tree of the whole source, which cannot always be shown
        return name


def _shown(path: Path) -> str:
    # A name may hold bytes that are no text.
    return path.as_posix().encode("utf-8", errors="backslashreplace").decode("utf-8")


def _patch(name: str, old: str, new: str) -> str:
    # Programs that apply patches know one kind of line end; str.splitlines knows many.
    before, after = (re.findall(r"[^\n]*\n|[^\n]+", text) for text in (old, new))
    lines = difflib.unified_diff(before, after, f"a/{name.lstrip('/')}", f"b/{name.lstrip('/')}")
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _summary(totals: _Totals, *, dry: bool) -> str:
    would = "would be rewritten" if dry else "rewritten"
    untouched = totals.files - totals.rewritten_files - totals.failed
    files = f"{_count(totals.files, 'file')}: {totals.rewritten_files} {would}, {untouched} untouched"
    lines = [
        f"{files}, {totals.failed} failed.",
        f"{_count(totals.rewritten, 'place')} {would}; {totals.checks} to be checked, {totals.left} left to you.",
    ]
    if totals.mentions:
        lines.append(f"{_count(totals.mentions, 'mention')} of old names in comments and strings left as they are.")
    return "\n".join(lines)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
