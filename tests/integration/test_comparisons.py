"""What the benchmarks save becomes the tables and pictures of the page of comparisons."""

from __future__ import annotations

import importlib.util
import json
import sys

import pytest

from ..pages import ROOT, SITE

SAVED = {
    "machine": "a processor, 2 CPUs",
    "rows": [
        {"work": "one call", "microseconds": {"zrun": 50.0, "a": 400.0, "b": 25.0}, "ratios": {"a": 0.125, "b": 2.0}},
        {"work": "one toy", "microseconds": {"zrun": 8000.0, "c": 1e6}, "ratios": {"c": 0.008}},
        {"work": "zrun alone", "microseconds": {"zrun": 3.0}, "ratios": {}},
    ],
}
PAGE = "before\n<!-- measured: run -->\nan old table\n<!-- end of run -->\nafter\n"


@pytest.fixture(scope="module")
def comparisons():
    spec = importlib.util.spec_from_file_location("comparisons", ROOT / "docs" / "comparisons.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def fill(comparisons, tmp_path, monkeypatch):
    """Run the script on a saved run and a page; returns the page's text afterwards."""

    def run(saved, page=PAGE):
        (tmp_path / "run.json").write_text(json.dumps(saved))
        (tmp_path / "page.md").write_text(page)
        monkeypatch.setattr(sys, "argv", ["comparisons.py", str(tmp_path / "run.json"), str(tmp_path / "page.md")])
        monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
        import matplotlib as mpl

        with mpl.rc_context():
            comparisons.main()
        return (tmp_path / "page.md").read_text(encoding="utf-8")

    return run


def test_a_saved_run_becomes_a_table_and_a_picture(fill, tmp_path):
    text = fill(SAVED)
    assert text.startswith("before\n<!-- measured: run -->\n\n![")
    assert "the largest is c, 125 times.](comparison-run.svg)" in text
    assert "| one call | 50 µs | 8.0 | 0.50 |  |\n| one toy | 8.0 ms |  |  | 125 |\n" in text
    assert text.endswith("*a processor, 2 CPUs.*\n\n<!-- end of run -->\nafter\n")
    picture = (tmp_path / "comparison-run.svg").read_text(encoding="utf-8")
    assert [
        word for word in ("one call", "one toy", ">a<", ">b<", ">c<", "time of the peer") if word not in picture
    ] == []


def test_it_can_be_done_again(fill):
    once = fill(SAVED)
    assert fill(SAVED, once) == once


def test_a_page_without_a_place_is_refused(fill):
    with pytest.raises(SystemExit, match=r"has no place for run: write `<!-- measured: run -->`"):
        fill(SAVED, "no place")


def test_a_run_without_a_comparison_is_refused(fill):
    with pytest.raises(SystemExit, match="Nothing was compared"):
        fill({**SAVED, "rows": SAVED["rows"][2:]})


def test_the_page_has_the_tables_of_the_runs_that_are_kept(comparisons):
    kept = sorted((ROOT / "docs" / "measured").glob("*.json"))
    text = (SITE / "comparisons.md").read_text(encoding="utf-8")
    assert kept
    for path in kept:
        assert comparisons.table(json.loads(path.read_text(encoding="utf-8"))) in text
        assert f"comparison-{path.stem}.svg" in text
