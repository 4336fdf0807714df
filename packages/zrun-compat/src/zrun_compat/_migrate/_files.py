"""Files: which there are, their text and its encoding, and writing all of one or nothing."""

from __future__ import annotations

import codecs
import os
import shutil
import tempfile
import tokenize
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from ._places import UnreadableSourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SUFFIXES: Final = (".py", ".pyi", ".pyw", ".ipynb")
_SKIPPED: Final = frozenset({"__pycache__", "node_modules", "site-packages"})


class Text(NamedTuple):
    """The text of a file, and how it is encoded."""

    text: str
    encoding: str
    mark: bytes = b""

    def encoded(self, text: str) -> bytes:
        """Another text as this file would hold it."""
        return self.mark + text.encode(self.encoding)


def find_files(paths: Iterable[Path]) -> list[Path]:
    """The files to migrate: those named, and those in the folders that are named.

    Folders are searched for Python files and notebooks. Hidden folders, virtual environments and folders of installed
    packages are left out, and links to folders are not followed. A file that is named is taken whatever it is called.

    Args:
        paths: files and folders.

    Returns:
        The files, sorted within a folder; each once, however many names lead to it.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        for file in _in_folder(path) if path.is_dir() else [path]:
            found.setdefault(file.resolve(), file)
    return list(found.values())


def _in_folder(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder):
        here = Path(root)
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and name not in _SKIPPED and not (here / name / "pyvenv.cfg").exists()
        )
        for name in sorted(files):
            if name.endswith(SUFFIXES) and not name.startswith("._"):
                yield here / name


def decode(data: bytes, *, notebook: bool) -> Text:
    """Decode a file as Python would.

    Args:
        data: what it holds.
        notebook: whether it is one, which is UTF-8.

    Raises:
        UnreadableSourceError: it names no encoding that Python knows, or is not encoded as it says.
    """
    mark = codecs.BOM_UTF8 if data.startswith(codecs.BOM_UTF8) else b""
    if notebook:
        encoding = "utf-8"
    else:
        try:
            encoding, _ = tokenize.detect_encoding(iter(data.splitlines(keepends=True)).__next__)
        except SyntaxError as error:
            # Said better below, with the line.
            encoding = "utf-8"
            if not str(error.msg).startswith("invalid or missing"):
                raise UnreadableSourceError(str(error.msg)) from None
    encoding = "utf-8" if mark else encoding
    try:
        text = data.removeprefix(mark).decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UnreadableSourceError(
            f"it is not encoded as {encoding} from line {line} on; a first line `# -*- coding: ... -*-` names another"
        ) from None
    found = Text(text, encoding, mark)
    if found.encoded(text) != data:
        raise UnreadableSourceError(f"its encoding, {encoding}, does not give the same bytes back")
    return found


def write(path: Path, data: bytes) -> None:
    """Replace what a file holds: all of it, or, whatever happens, nothing.

    A link stays one, and the file that it leads to is written. The mode of the file is kept, and its owner where that
    is allowed.

    Args:
        path: the file, which has to be there.
        data: what it is to hold.

    Raises:
        OSError: it cannot be written, or is protected against that.
    """
    target = path.resolve()
    status = target.stat()
    if not status.st_mode & 0o222 or not os.access(target, os.W_OK):
        # A new file could take its place all the same, which is not what its protection means.
        raise PermissionError(13, "it is read-only, and was left as it was", str(path))
    if status.st_nlink > 1:
        # A new file would cut it off from its other names.
        raise OSError(31, "it has several hard links, which writing it as a whole would break up", str(path))
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".migrating", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        shutil.copymode(target, name)
        with suppress(OSError, AttributeError):
            os.chown(name, status.st_uid, status.st_gid)
        Path(name).replace(target)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
