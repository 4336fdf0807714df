"""The pages about zrun-tf are programs: every block runs, in order."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

SITE = Path(__file__).parents[2] / "docs" / "site"


def blocks(page):
    """The Python blocks of a page, each after as many empty lines as put its errors on the right line."""
    text = (SITE / page).read_text(encoding="utf-8")
    for match in re.finditer(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        yield "\n" * text[: match.start(1)].count("\n") + match[1]


@pytest.mark.parametrize("page", ["numpy-inside.md"])
def test_every_block_of_the_page_runs(page, capsys):
    found = list(blocks(page))
    assert len(found) >= 4
    namespace = {"__name__": "__main__"}
    for block in found:
        exec(compile(block, str(SITE / page), "exec", dont_inherit=True), namespace)
    assert capsys.readouterr().out != ""
