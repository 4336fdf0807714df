"""Migrates a notebook: its cells of Python are one module, since a name of one cell is used in the others."""

from __future__ import annotations

import json
import re
from typing import Any, Final, NamedTuple

from ._names import worth_reading
from ._places import Migration, Place, UnreadableSourceError
from ._source import migrate_module
from ._tree import Tree

# Cell magics below which there is Python that runs in the notebook itself.
_PYTHON_BELOW: Final = frozenset({"capture", "prun", "time", "timeit"})
_FENCE: Final = "# --- cell {} of the notebook ---\n"
_ANY_FENCE: Final = re.compile(r"^# --- cell (\d+) of the notebook ---\n", flags=re.MULTILINE)
# `%magic`, `!command`, `?help`, `help?`, and what is assigned from the first two.
_MAGIC: Final = re.compile(r"(?P<indent>[ \t]*)(?:[%!?].*|[\w.]+\?\??[ \t]*|[\w, ]+=[ \t]*[%!].*)")
_STAND_IN: Final = re.compile(r"pass  # line (\d+) is for IPython")


class _Cell(NamedTuple):
    """A cell that holds Python: its number in the notebook, its text, and the lines that are for IPython."""

    number: int
    text: str
    magics: tuple[str, ...]


def migrate_notebook(text: str) -> Migration:
    """Migrate a notebook.

    Args:
        text: the text of an `.ipynb` file.

    Returns:
        The new text, which differs in the sources of the cells that were rewritten only.

    Raises:
        UnreadableSourceError: it is no notebook.
    """
    if not worth_reading(text.encode("utf-8", errors="surrogatepass")):
        return Migration(text)
    notebook = _load(text)
    cells, places = [], []
    for number, cell in enumerate(notebook["cells"], start=1):
        if cell.get("cell_type") != "code":
            continue
        try:
            cells.append(_read(number, _source_of(cell)))
        except UnreadableSourceError as error:
            if worth_reading(_source_of(cell).encode()):
                reason = f"the cell is not read, and nothing in it is rewritten: {error.reason}"
                places.append(Place(error.line or 1, error.column or 1, "left", reason, number))
    joined = "".join(_FENCE.format(cell.number) + cell.text for cell in cells)
    done = migrate_module(joined, readable=not places)
    starts = [(found.group(1), joined.count("\n", 0, found.end())) for found in _ANY_FENCE.finditer(joined)]
    for place in done.places:
        number, before = next((int(number), line) for number, line in reversed(starts) if line < place.line)
        places.append(place._replace(line=place.line - before, cell=number))
    places.sort(key=lambda place: (place.cell or 0, place))
    new = text if done.source == joined else _write(notebook, text, cells, done.source)
    return Migration(new, done.rewritten, tuple(places), done.mentions)


def _load(text: str) -> Any:
    try:
        notebook = json.loads(text)
    except ValueError as error:
        raise UnreadableSourceError(f"it is no JSON ({error})") from None
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
        raise UnreadableSourceError("it is no notebook of version 4, the one with a list of cells; save it as one")
    return notebook


def _source_of(cell: dict[str, Any]) -> str:
    source = cell.get("source", "")
    return "".join(source) if isinstance(source, list) else str(source)


def _read(number: int, source: str) -> _Cell:
    """A cell as Python, with a statement that does nothing in the place of each line that is for IPython."""
    text = source if source.endswith("\n") else f"{source}\n"
    lines = text.splitlines(keepends=True)
    magics: list[str] = []
    first = next((index for index, line in enumerate(lines) if line.strip()), 0)
    if lines[first].startswith("%%"):
        name = lines[first][2:].split()[0] if lines[first][2:].split() else ""
        if name not in _PYTHON_BELOW:
            raise UnreadableSourceError(f"what is below %%{name} is not run here as Python", first + 1, 1)
        lines[first] = _stand_in(lines[first], magics)
        text = "".join(lines)
    try:
        Tree(text)
    except UnreadableSourceError:
        for index, line in enumerate(lines):
            if _MAGIC.fullmatch(line.rstrip("\n")):
                if worth_reading(line.encode()):
                    raise UnreadableSourceError("a line for IPython uses an old name", index + 1, 1) from None
                lines[index] = _stand_in(line, magics)
        text = "".join(lines)
        Tree(text)
    return _Cell(number, text, tuple(magics))


def _stand_in(line: str, magics: list[str]) -> str:
    magics.append(line)
    return f"{line[: len(line) - len(line.lstrip())]}pass  # line {len(magics)} is for IPython\n"


def _write(notebook: Any, text: str, cells: list[_Cell], joined: str) -> str:
    new = _ANY_FENCE.split(joined)[1:]
    for cell, source in zip(cells, new[1::2], strict=True):
        if source == cell.text:
            continue
        held = notebook["cells"][cell.number - 1]
        lines = [_restored(line, cell.magics) for line in source.splitlines(keepends=True)]
        if not _source_of(held).endswith("\n"):
            lines[-1] = lines[-1].removesuffix("\n")
        held["source"] = lines if isinstance(held["source"], list) else "".join(lines)
    return _dumped_like(notebook, text)


def _restored(line: str, magics: tuple[str, ...]) -> str:
    found = _STAND_IN.fullmatch(line.strip())
    return magics[int(found.group(1)) - 1] if found and int(found.group(1)) <= len(magics) else line


def _dumped_like(notebook: Any, text: str) -> str:
    """JSON in the format of the text that the notebook was read from."""
    original = json.loads(text)
    for indent in (1, 2, 4, None, "\t", 0, 3):
        for as_ascii in (False, True):
            for separators in (None, (",", ":")):
                for tail in ("\n", "", "\r\n"):
                    options: dict[str, Any] = {"indent": indent, "ensure_ascii": as_ascii, "separators": separators}
                    if json.dumps(original, **options) + tail == text:
                        return json.dumps(notebook, **options) + tail
    raise UnreadableSourceError("its JSON is formatted in an unusual way; save it with Jupyter, then try again")
