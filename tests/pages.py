"""The Markdown pages as programs: their fenced blocks, how a page is run, and what it must print.

Blocks of Python run in the order of the page, in one namespace, as a reader would paste them. A `text` block with the
title "prints" below one is what it prints, with `...` for what may differ. A comment above a block says otherwise:

    <!-- not run: REASON -->    the block cannot run; tests/integration/test_pages.py counts these

`python tests/pages.py PAGE` runs one page. Imports the standard library only, so that the pages about zrun-core are run
without TensorFlow.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SITE = ROOT / "docs" / "site"
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "changelog.d" / "README.md",
    *sorted(ROOT.glob("packages/*/README.md")),
    *sorted(SITE.rglob("*.md")),
]
_BLOCK = re.compile(
    r"""^(?:<!--[ ]not[ ]run:[ ](?P<excuse>[^\n]+?)[ ]-->\n+)?
    (?P<fence>```+)(?P<language>[\w-]*)(?:[ ]+title="(?P<title>[^"\n]*)")?[ ]*\n
    (?P<code>.*?)^(?P=fence)[ ]*$""",
    re.MULTILINE | re.DOTALL | re.VERBOSE,
)
_INCLUDED = re.compile(r'^--8<-- "([\w./]+)(?::(\d+))?"$', re.MULTILINE)
_SAME = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True)
class Block:
    """A fenced block: where it is, what it is, why it is not run (None: it is), what it prints (None: not said)."""

    page: Path
    line: int
    language: str
    title: str | None
    code: str
    excuse: str | None
    prints: str | None = None


def name_of(page: Path) -> str:
    """The page's path in the repository."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str | None = None) -> list[Block]:
    """The fenced blocks of a page, of one language or of all, with what they include put in."""
    text = page.read_text(encoding="utf-8")
    found: list[Block] = []
    for match in _BLOCK.finditer(text):
        line = text.count("\n", 0, match.start("fence")) + 1
        code = _INCLUDED.sub(_lines_of, match["code"])
        block = Block(page, line, match["language"], match["title"], code, match["excuse"])
        if block.language == "text" and block.title == "prints":
            assert found[-1].language == "python", f"{name_of(page)}:{line}: no Python block is above what is printed"
            found[-1] = replace(found[-1], prints=block.code)
        found.append(block)
    return [block for block in found if language in (None, block.language)]


def _lines_of(match: re.Match[str]) -> str:
    lines = (ROOT / "docs" / "examples" / match[1]).read_text(encoding="utf-8").splitlines()
    return "\n".join(lines[int(match[2] or 1) - 1 :])


def run_page(page: Path) -> str:
    """Run the Python blocks of a page in this process; returns all that they print.

    Raises:
        AssertionError: a block does not print what the page says.
        Exception: whatever a block raises, with the page and the line in its traceback.
    """
    namespace: dict[str, Any] = {"__name__": "__main__"}
    return "".join(_run(block, namespace) for block in blocks(page, "python") if block.excuse is None)


def run_alone(block: Block) -> str:
    """Run one block in a namespace of its own; returns what it prints."""
    return _run(block, {"__name__": "__main__"})


def _run(block: Block, namespace: dict[str, Any]) -> str:
    # As many empty lines before it as put an error on the right line.
    source = "\n" * block.line + block.code
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(source, str(block.page), "exec", dont_inherit=True), namespace)
    printed = out.getvalue()
    if block.prints is not None:
        checker, example = doctest.OutputChecker(), doctest.Example(block.code, block.prints)
        if not checker.check_output(block.prints, printed, _SAME):
            difference = checker.output_difference(example, printed, _SAME)
            raise AssertionError(f"{name_of(block.page)}:{block.line}: {difference}")
    return printed


def fences(page: Path) -> list[str]:
    """Every line of a page that opens or closes a fence, found without the pattern for blocks."""
    lines = page.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.lstrip().startswith(("```", "~~~"))]


if __name__ == "__main__":
    print(run_page(Path(sys.argv[1])), end="")
