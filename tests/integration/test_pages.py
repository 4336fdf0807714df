"""Every Markdown page of the project is a program, and each of its blocks is run, or says why it is not."""

from __future__ import annotations

import importlib.util
import re
import warnings
from urllib.parse import urlsplit

import matplotlib.pyplot as plt
import pytest

from zrun_core.testing import policy_unchanged

from ..pages import PAGES, ROOT, SITE, blocks, fences, name_of, run_alone, run_page

# What is run elsewhere, where there is more to say about what the blocks do.
RUN_BY = {
    "docs/site/backend.md": "tests/core/test_docs.py",
    "docs/site/command.md": "tests/integration/test_command_pages.py",
    "docs/site/core.md": "tests/core/test_docs.py",
    "docs/site/cpus.md": "tests/integration/test_command_pages.py",
    "docs/site/large-data.md": "tests/tf/test_chunked_docs.py",
    "packages/zrun-core/README.md": "tests/core/test_docs.py",
}
# Its blocks are pairs, before and after, of which each stands for itself.
PAIRS = "docs/site/migration.md"
PYTHON = {name_of(page): blocks(page, "python") for page in PAGES if blocks(page, "python")}
LANGUAGES = {"python", "sh", "text"}
# Blocks that cannot run, by page: to say so is the exception.
EXCUSED = {"docs/site/migration.md": 2, "docs/site/zfit.md": 1}


@pytest.mark.parametrize("name", [name for name in PYTHON if name not in RUN_BY and name != PAIRS])
def test_every_block_of_the_page_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with policy_unchanged():
        run_page(ROOT / name)
    plt.close("all")


@pytest.mark.parametrize("block", [block for block in PYTHON[PAIRS] if not block.excuse], ids=lambda block: block.line)
def test_a_block_of_the_page_about_migration_runs(block):
    with policy_unchanged(), warnings.catch_warnings():
        if block.title == "before":
            warnings.simplefilter("ignore", FutureWarning)
        run_alone(block)


def test_what_is_run_elsewhere_is_named_there():
    for name, test in RUN_BY.items():
        assert PYTHON[name]
        named = name.rpartition("/")[2] if "site" in name else "README"
        assert named in (ROOT / test).read_text(encoding="utf-8"), name


def test_few_blocks_are_excused_and_each_has_a_reason():
    excused = {name: [block.excuse for block in found if block.excuse] for name, found in PYTHON.items()}
    assert {name: len(reasons) for name, reasons in excused.items() if reasons} == EXCUSED
    assert all(len(reason) > 20 for reasons in excused.values() for reason in reasons)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_block_is_overlooked(page):
    # Check that each fence belongs to a block, and that each block is of a language that some test knows.
    assert len(fences(page)) == 2 * len(blocks(page))
    assert {block.language for block in blocks(page)} <= LANGUAGES


def test_the_diagrams_are_what_the_script_draws(tmp_path):
    spec = importlib.util.spec_from_file_location("diagrams", ROOT / "docs" / "diagrams.py")
    diagrams = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(diagrams)
    diagrams.main(tmp_path)
    drawn = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert drawn == {path.name: path.read_bytes() for path in SITE.glob("diagram-*.svg")}


def test_each_picture_is_there_and_says_what_it_shows():
    pictures = [
        (page, *found) for page in PAGES for found in re.findall(r"!\[(.*?)\]\((.*?)\)", page.read_text("utf-8"))
    ]
    assert len(pictures) >= 7
    for page, says, path in pictures:
        assert (page.parent / path).is_file(), path
        assert len(says) > 40, path


# Where links lead to; a new place is to be looked at once, since no test follows it.
HOSTS = {"docs.astral.sh", "github.com", "nox.thea.codes", "ui.perfetto.dev", "www.itl.nist.gov", "zfit.readthedocs.io"}


def test_links_to_elsewhere_are_well_formed_and_lead_to_known_places():
    links = [url for page in PAGES for url in re.findall(r"\]\((\w+:[^)\s]*)\)", page.read_text("utf-8"))]
    parts = [urlsplit(url) for url in links]
    assert {part.scheme for part in parts} == {"https"}
    assert {part.hostname for part in parts} == HOSTS
    assert [url for url in links if re.search(r"[\s<>\"]|[.,;]$", url)] == []


@pytest.mark.parametrize("page", [page for page in PAGES if SITE not in page.parents], ids=name_of)
def test_links_of_pages_outside_of_the_site_lead_somewhere(page):
    # Those within the site are checked, with their anchors, when it is built.
    for link in re.findall(r"\]\(([^):]+)\)", page.read_text("utf-8")):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor:
            titles = re.findall(r"^#+ (.*)$", target.read_text("utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles}, (
                link
            )
