"""The page about large data is a program: every block runs, in order."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "site" / "large-data.md"


def blocks():
    """The Python blocks of the page, each after as many empty lines as put its errors on the right line."""
    text = PAGE.read_text(encoding="utf-8")
    for match in re.finditer(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        yield "\n" * text[: match.start(1)].count("\n") + match[1]


def test_every_block_of_the_page_runs(capsys):
    namespace = {"__name__": "__main__"}
    found = list(blocks())
    assert len(found) >= 7
    for block in found:
        exec(compile(block, str(PAGE), "exec", dont_inherit=True), namespace)
    printed = capsys.readouterr().out.splitlines()
    # The same sum in memory, from a mapped file, from batches, and compiled.
    assert printed.count(printed[0]) == 4
    assert "[91.19, 2.5]" in printed
    assert printed[4] == "2.0"
