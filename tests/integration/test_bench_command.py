"""`zrun bench`: it compares what gives the same numbers, prints ratios, and says so where two ways disagree."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from zrun_tf.cli import _bench, _bench_cases, main
from zrun_tf.cli._bench_cases import MAKERS, Case


def run(capsys, *args):
    with pytest.raises(SystemExit) as ended:
        main(["bench", *args])
    said = capsys.readouterr()
    return ended.value.code or 0, said.out, said.err


@pytest.fixture
def small(monkeypatch):
    """As few calls as will do, for tests that ask nothing about times."""
    monkeypatch.setattr(_bench_cases, "_CALLS", 3)
    monkeypatch.setattr(_bench_cases, "_TOYS", 1)
    monkeypatch.setattr(_bench_cases, "_STEPS", 2)
    monkeypatch.setattr(_bench, "_ROUNDS_QUICK", 3)


@pytest.mark.usefixtures("small")
def test_all_cases_agree_and_are_compared(capsys, tmp_path):
    code, out, err = run(capsys, "--quick", "--json", "--plot", str(tmp_path / "new" / "ratios.png"))
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert [comparison["name"] for comparison in report["comparisons"]] == list(MAKERS)
    for comparison in report["comparisons"]:
        assert comparison["disagreement"] is None
        first, *others = comparison["ways"]
        assert (first["way"], first["ratio"]) == ("zrun", 1.0)
        assert others
        for way in others:
            assert 0 < way["low"] <= way["ratio"] <= way["high"]
            assert way["rounds"] == 3
    numerical = {way["way"] for way in report["comparisons"][-1]["ways"]}
    assert numerical == {"zrun", "numdifftools", "jacobi"}
    assert (tmp_path / "new" / "ratios.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("small")
def test_one_case_as_text(capsys):
    code, out, _ = run(capsys, "--quick", "--only", "call")
    assert code == 0
    assert "a call of a small function" in out
    assert "gradient" not in out
    assert "tf.function" in out
    assert "█" in out


def test_ways_that_disagree_are_not_compared(capsys, monkeypatch):
    def make():
        ways = {"zrun": lambda: np.array([1.0]), "other": lambda: np.array([1.1])}
        return Case("call", "a case", "call", ways, {"zrun": 1, "other": 1})

    monkeypatch.setitem(MAKERS, "call", make)
    code, out, _ = run(capsys, "--quick", "--only", "call")
    assert code == 1
    assert "a case: not measured, because other and zrun differ by up to 0.1" in " ".join(out.split())


def test_every_way_takes_its_turn_in_every_round():
    order = []
    ways = {name: lambda name=name: order.append(name) or 1.0 for name in ("zrun", "other")}
    comparison = _bench.measure(Case("x", "x", "call", ways, {"zrun": 1, "other": 1}), quick=True)
    assert order == ["zrun", "other"] * (1 + _bench._ROUNDS_QUICK)
    assert [len(result.seconds) for result in comparison.results] == [_bench._ROUNDS_QUICK] * 2


def test_a_ratio_is_the_median_of_the_ratios_of_rounds():
    case = Case("x", "x", "call", {}, {})
    results = (_bench.Result("zrun", (1.0, 2.0, 4.0), 1), _bench.Result("other", (2.0, 2.0, 12.0), 1))
    comparison = _bench.Comparison(case, results)
    assert comparison.ratio(results[1])[0] == 2.0
    assert comparison.ratio(results[0]) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--only", "nonsense"], "'nonsense' is not one of"),
        (["--plot", "ratios.docx"], "must end in .png, .pdf or .svg"),
        (["--plot", "."], "is a directory"),
    ],
)
def test_wrong_usage(args, text, capsys, monkeypatch):
    monkeypatch.setattr(_bench, "run_bench", lambda *_, **__: pytest.fail("it ran"))
    code, out, err = run(capsys, *args)
    assert (code, out) == (2, "")
    assert text in " ".join(err.split())


def test_a_missing_matplotlib_is_named(capsys, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, _, err = run(capsys, "--plot", str(tmp_path / "x.png"))
    assert code == 2
    assert "python -m pip install 'zrun-tf[demo]'" in " ".join(err.split())
