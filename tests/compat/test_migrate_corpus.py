"""The codemod over a corpus: files before and after, and what is said of each."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from zrun_compat.migrate import migrate_source

CORPUS = Path(__file__).parent / "data" / "migrate"
CASES = sorted(path.name for path in CORPUS.iterdir())
PAGE = (Path(__file__).parents[2] / "docs" / "site" / "migration.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(
    r'^### (.*?)\n\n```python title="before"\n(.*?)^```\n\n```python title="after"\n(.*?)^```',
    PAGE,
    flags=re.MULTILINE | re.DOTALL,
)
NOT_DECIDED = {"Chunks", "Checks for NaN and infinity"}


def read(case, name):
    return (CORPUS / case / name).read_text(encoding="utf-8")


def report(done):
    lines = [place.at("before.py") for place in done.places]
    return "".join(f"{line}\n" for line in [*lines, f"{done.rewritten} rewritten, {done.mentions} mentioned"])


@pytest.mark.parametrize("case", CASES)
def test_before_becomes_after(case):
    done = migrate_source(read(case, "before.py"))
    assert done.source == read(case, "after.py")
    assert report(done) == read(case, "report.txt")


@pytest.mark.parametrize("case", CASES)
def test_doing_it_again_changes_nothing(case):
    again = migrate_source(read(case, "after.py"))
    assert again.source == read(case, "after.py")
    assert again.rewritten == 0
    assert {place.kind for place in again.places} <= {"left"}


@pytest.mark.parametrize("case", CASES)
def test_what_comes_out_is_python(case):
    ast.parse(read(case, "before.py"))
    ast.parse(read(case, "after.py"))


@pytest.mark.parametrize("case", CASES)
def test_no_comment_and_no_string_is_lost(case):
    # Comments may go with a line that goes; here only those of an argument and of an imported name do.
    def marks(text):
        return re.findall(r'#.*|""".*?"""', text)

    gone = [mark for mark in marks(read(case, "before.py")) if mark not in marks(read(case, "after.py"))]
    assert gone in ([], ["# the manager"])


@pytest.mark.parametrize("case", [case for case in CASES if case != "star"])
def test_each_use_is_rewritten_or_reported(case):
    # Check that no use of an old name is passed over: the new source has one on a line that is reported only.
    after, reported = read(case, "after.py"), migrate_source(read(case, "after.py")).places
    lines = {place.line for place in reported if place.kind == "left"}
    old = re.compile(
        r"(?<![.\w])(?:zfit|zf|run|manager)\.(?:run\.)?(?:set|get|experimental|numeric|chunking|aquire)\w*"
    )
    for number, line in enumerate(after.splitlines(), start=1):
        code = re.sub(r"#.*|print\(\"zfit.*|def .*", "", line)
        if old.search(code) and "run.set_mode(graph=False)" not in code:
            assert {number, number + 1} & lines, f"{case}, line {number}: {line}"


@pytest.mark.parametrize(("title", "before", "after"), EXAMPLES, ids=[title for title, *_ in EXAMPLES])
def test_the_examples_of_the_page_come_out_as_it_says(title, before, after):
    done = migrate_source(before)
    if title in NOT_DECIDED:
        assert done.places
        assert {place.kind for place in done.places} == {"left"}
    else:
        assert done.source == after
        assert done.places == ()


def test_the_page_has_all_examples():
    assert len(EXAMPLES) == PAGE.count('title="before"') - 1
    assert {title for title, *_ in EXAMPLES} > NOT_DECIDED


PACKAGE = "from zfit import run\nimport zfit\n\nrun.set_graph_mode(zfit.run.get_graph_mode())\n"


def test_a_package_keeps_what_others_may_import_from_it():
    done = migrate_source(PACKAGE, is_package=True)
    assert done.source == (
        "from zfit import run\nimport zrun_tf as zrun\n\nzrun.run.set_mode(graph=zrun.run.current_policy_graph())\n"
    )
    assert [place.reason for place in done.places] == [
        "the import of run stays: others may import it from this package"
    ]
    assert "from zfit import run" not in migrate_source(PACKAGE).source


def test_a_block_that_would_be_empty_passes():
    done = migrate_source(
        "from zfit import run\n\n\ndef nothing():\n    run.set_mode()\n    run.set_mode(); run.set_mode()\n"
        "if True: run.set_mode(); run.set_mode()\n"
        "for _ in []:\n    run.set_mode(); pass; run.set_mode(); run.set_mode()  # why\n"
    )
    assert done.source == "\n\ndef nothing():\n    pass\nif True: pass\nfor _ in []:\n    pass  # why\n"
    assert done.rewritten == 8


def test_the_source_is_not_read_where_it_cannot_matter():
    # This is no Python, but has no word of ours.
    assert migrate_source("zfit is (a name").source == "zfit is (a name"
