"""The Python in the README files and on the start page runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("packages/*/README.md")), ROOT / "docs/site/index.md"]


def python_of(page):
    """The Python blocks of a Markdown page as one program; each block continues the one before, as a reader would."""
    return "\n".join(
        re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    )


PROGRAMS = {page.relative_to(ROOT).as_posix(): python_of(page) for page in PAGES}


def test_the_readme_shows_python():
    assert PROGRAMS["README.md"]


@pytest.mark.parametrize("page", [page for page, program in PROGRAMS.items() if program])
def test_the_python_on_a_page_runs(page, capsys):
    exec(compile(PROGRAMS[page], page, "exec"), {"__name__": "__main__"})


def test_the_readme_commands_name_sessions_that_exist():
    noxfile = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8") + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"nox -s (\w+)", readme))
    assert {"demo", "tests"} <= named
    assert named <= set(re.findall(r"^def ([a-z]\w*)\(session", noxfile, flags=re.MULTILINE))
