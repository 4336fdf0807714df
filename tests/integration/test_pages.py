"""The pages about zrun_tf are programs: every Python block runs, in order, from a folder that has nothing in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

SITE = Path(__file__).parents[2] / "docs" / "site"
PAGES = ("index.md", "functions.md")


@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_the_page_runs(page, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (SITE / page).read_text(encoding="utf-8")
    found = list(re.finditer(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL))
    assert len(found) >= 2
    namespace = {"__name__": "__main__"}
    for block in found:
        # As many empty lines before it as put an error on the right line.
        code = "\n" * text[: block.start(1)].count("\n") + block[1]
        exec(compile(code, str(SITE / page), "exec", dont_inherit=True), namespace)
    assert capsys.readouterr().out != ""
