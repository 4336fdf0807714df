"""The pages about zrun-core are programs: every block runs, in order, without TensorFlow and NumPy."""

from __future__ import annotations

import pytest

from ..pages import ROOT, SITE, blocks, run_page

README = ROOT / "packages" / "zrun-core" / "README.md"
PAGES = [SITE / "core.md", SITE / "backend.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_of_the_page_runs(page):
    assert len(blocks(page, "python")) >= 4
    assert run_page(page) != ""


def test_the_readme_runs():
    assert len(blocks(README, "python")) == 1
    run_page(README)
