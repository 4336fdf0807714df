"""The page about large data is a program: every block runs, in order."""

from __future__ import annotations

from ..pages import SITE, blocks, run_page

PAGE = SITE / "large-data.md"


def test_every_block_of_the_page_runs():
    assert len(blocks(PAGE, "python")) >= 7
    printed = run_page(PAGE).splitlines()
    # The same sum in memory, from a mapped file, from batches, and compiled.
    assert printed.count(printed[0]) == 4
    assert "[91.19, 2.5]" in printed
    assert printed[4] == "2.0"
