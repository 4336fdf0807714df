"""The rows of the matrix, and all that is made from them: nothing has drifted apart."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import zrun_core

ROOT = Path(__file__).parents[2]
TOOLS = ("fragment", "generate", "machine", "row", "rows", "summary")
REQUIRED = [("3.10", "2.16", "1.26"), ("3.11", "2.17", "1.26"), ("3.12", "2.18", "2.0"), ("3.12", "2.19", None)]
REQUIRED += [("3.13", "2.20", None), ("3.13", "2.21", None), *((f"3.{minor}", None, None) for minor in range(10, 15))]


@pytest.fixture(scope="module")
def tools():
    """The modules of `.ci`, importable as they import each other."""
    sys.path.insert(0, str(ROOT / ".ci"))
    try:
        yield {name: runpy.run_path(str(ROOT / ".ci" / f"{name}.py")) for name in TOOLS}
    finally:
        sys.path.remove(str(ROOT / ".ci"))


@pytest.fixture(scope="module")
def settings(tools):
    return tools["generate"]["matrix"]()


def test_what_is_made_from_the_rows_is_up_to_date(tools):
    made = tools["generate"]["generated"]()
    assert len(made) == 5
    different = [path for path, text in made.items() if (ROOT / path).read_text(encoding="utf-8") != text]
    assert different == [], "run `nox -s generate`"


def test_a_change_of_a_row_is_seen_everywhere(tools, settings):
    generate = tools["generate"]
    rows = [dict(row, python="3.15") if row["name"] == "newest" else row for row in settings["rows"]]
    assert '{ row: newest, python: "3.15", may-fail: false }' in generate["jobs"](rows)
    assert "| newest | 3.15 | 2.21 |" in generate["table"](rows)
    for package in generate["PACKAGES"]:
        text = (ROOT / "packages" / package / "pyproject.toml").read_text(encoding="utf-8")
        assert "3.15" not in text
        assert '"Programming Language :: Python :: 3.15",' in generate["classifiers"](text, rows, package)


def test_the_rows_are_those_that_are_promised(settings):
    rows = settings["rows"]
    found = {(row["python"], row.get("tensorflow"), row.get("numpy", "").strip("=.*") or None) for row in rows}
    assert set(REQUIRED) <= found
    assert len({row["name"] for row in rows}) == len(rows)
    assert [row["name"] for row in rows if row.get("corner")] == ["oldest", "newest", "middle"]
    assert any(row.get("lowest") for row in rows)
    assert [row["name"] for row in rows if "may-fail" in row] == ["nightly"]


def test_the_rows_reach_the_limits_that_the_packages_state(settings):
    with_tensorflow = [row for row in settings["rows"] if row.get("tensorflow", "nightly") != "nightly"]
    minors = sorted(int(row["tensorflow"].split(".")[1]) for row in with_tensorflow)
    pythons = sorted(int(row["python"].split(".")[1]) for row in with_tensorflow)
    text = (ROOT / "packages/zrun-tf/pyproject.toml").read_text(encoding="utf-8")
    assert f'"tensorflow>=2.{minors[0]},<2.{minors[-1] + 1}"' in text
    assert f'requires-python = ">=3.{pythons[0]},<3.{pythons[-1] + 1}"' in text
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert f"Python 3.{pythons[0]} to 3.{pythons[-1]} with pip" in contributing


def test_what_the_corners_run_is_there(settings):
    assert [path for path in settings["corner-tests"] if not (ROOT / path).exists()] == []


def test_rows_with_tensorflow_leave_out_nothing_that_no_other_row_runs(tools, settings):
    everything = tools["row"]["everything"]
    assert everything(False, False) == ["tests/core", tools["row"]["ELSEWHERE"], "--pyargs", "zrun_core"]
    with_core, without = everything(True, True), everything(True, False)
    assert {path for path in with_core if path.startswith("tests/")} == {
        f"tests/{path.name}"
        for path in (ROOT / "tests").iterdir()
        if next(path.glob("test_*.py"), None) and path.name not in ("architecture", "benchmarks", "downstream")
    }
    assert {"zrun_core", "zrun_tf", "zrun_compat"} <= set(with_core)
    assert set(with_core) - set(without) == {"tests/core", "zrun_core"}
    rows = settings["rows"]
    alone = {row["python"] for row in rows if "tensorflow" not in row}
    assert {row["python"] for row in rows if "tensorflow" in row} <= alone
    # Which is why they may be left out: they are the same with and without TensorFlow.
    needs = re.compile(r"^\s*(import|from) (tensorflow|numpy|zrun_tf)", re.MULTILINE)
    assert [
        path for path in (ROOT / "tests/core").rglob("*.py") if needs.search(path.read_text(encoding="utf-8"))
    ] == []


def test_the_modes_are_those_that_the_tests_know(settings):
    text = (ROOT / "tests/conftest.py").read_text(encoding="utf-8")
    assert re.findall(r'^    "(\w+)": \{', text, flags=re.MULTILINE) == settings["modes"]


def test_every_session_of_the_workflow_exists():
    workflow = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    noxfile = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    named = set(re.findall(r"session: (\w+) \}", workflow))
    assert named
    assert named <= set(re.findall(r"^def (\w+)\(session", noxfile, flags=re.MULTILINE))


def test_every_action_is_pinned_by_hash_and_every_job_states_its_permissions():
    for path in (ROOT / ".github/workflows").glob("*.yml"):
        text = path.read_text(encoding="utf-8")
        uses = re.findall(r"uses: (.*)", text)
        assert [line for line in uses if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)] == []
        assert "\npermissions: {}\n" in text


@pytest.fixture
def results(tools, tmp_path):
    """Writes results as `.ci/row.py` does, and gives what the summary makes of them."""
    summary = tools["summary"]

    def write(rows, modes, *made, missing=()):
        for number, one in enumerate(made):
            base = {"source": "now", "arguments": [], "status": 0, "seconds": 1.0, "python": "3.12.1", "numpy": "2.0.2"}
            base |= {"tensorflow": "2.18.1", "failed": [], "skipped": {}, "ran": ["a"], "tests": 1}
            (tmp_path / f"{number}.json").write_text(json.dumps(base | one), encoding="utf-8")
            (tmp_path / f"{number}.json").rename(tmp_path / f"{one['row']}.{one['mode']}.json")
        found = summary["results"](tmp_path, "now")
        return summary["entries"]({"rows": rows, "modes": modes}, found, list(missing)), found

    return write


ROWS = [
    {"name": "one", "python": "3.12", "tensorflow": "2.18"},
    {"name": "two", "python": "3.14", "tensorflow": "2.21", "may-fail": "new"},
]


def test_a_row_that_was_not_run_is_never_counted_as_passed(tools, results):
    ran = {"row": "one", "mode": "default", "failed": ["b"], "status": 1, "ran": ["a", "b"], "tests": 2}
    old = {"row": "one", "mode": "eager", "source": "before"}
    made, _ = results(ROWS, ["default", "eager"], ran, old, missing=["3.14"])
    assert [one["ran"] for one in made] == [True, False, False, False]
    table = tools["summary"]["markdown"](made).splitlines()
    assert table[2] == "| one | 3.12.1 | 2.18.1 | 2.0.2 | default | 2 | 1 | 0 | 1.0 |  |"
    assert table[3] == "| one | 3.12 | 2.18 |  | eager |  |  |  |  | not run |"
    assert table[4].endswith("| not run: no Python 3.14 here; may fail |")


def test_a_test_that_is_skipped_in_every_row_is_found(tools, results):
    always = tools["summary"]["always_skipped"]
    first = {"row": "one", "mode": "default", "skipped": {"b": "no b", "c": "no c"}}
    _, found = results(ROWS, ["default"], first)
    assert always(found) == {"b": "no b", "c": "no c"}
    _, found = results(ROWS, ["default"], first, {"row": "two", "mode": "default", "ran": ["b"]})
    assert always(found) == {"c": "no c"}
    chosen = [{"row": row, "mode": "default", "arguments": ["x"]} for row in ("one", "two")]
    _, found = results(ROWS, ["default"], *chosen)
    assert always(found) is None


def test_what_was_chosen_is_told_in_few_words(tools, results):
    said = tools["summary"]["chosen"]
    assert said(["-m", "not slow", "tests/a", "tests/b"], ["tests/a", "tests/b"]) == "the tests of the corners"
    assert said(["tests/a", "-k", "x"], ["tests/a", "tests/b"]) == "chosen: `tests/a -k x`"
    assert len(said(["tests/a"] * 50, ["tests/a", "tests/b"])) < 80
    made, _ = results(ROWS, ["default"], {"row": "one", "mode": "default", "arguments": ["tests/a"]})
    assert made[0]["note"] == "chosen: `tests/a`"


def test_a_row_is_not_run_with_the_checkout(tools):
    editable = Path(zrun_core.__file__).is_relative_to(ROOT / "packages")
    assert tools["row"]["from_the_checkout"]("json", "zrun_core", "absent") == (["zrun_core"] if editable else [])


def test_a_report_of_pytest_is_counted(tools, tmp_path):
    (tmp_path / "test_all.py").write_text(
        "import pytest\n"
        "def test_passes(): pass\n"
        "def test_fails(): assert False\n"
        "@pytest.mark.skip(reason='not here')\n"
        "def test_is_skipped(): pass\n"
        "@pytest.fixture\n"
        "def broken(): raise ValueError\n"
        "def test_has_no_fixture(broken): pass\n",
        encoding="utf-8",
    )
    report = tmp_path / "report.xml"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        f"--rootdir={tmp_path}",
        f"--junitxml={report}",
    ]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 1
    counted = tools["row"]["counted"](report)
    assert counted["tests"] == 4
    assert counted["failed"] == ["test_all::test_fails", "test_all::test_has_no_fixture"]
    assert counted["skipped"] == {"test_all::test_is_skipped": "not here"}


def test_the_lowest_row_names_every_requirement_of_the_packages(tools):
    settings = {
        "project": {"dependencies": ["a>=1"], "optional-dependencies": {"x": ["zrun-tf[y]", "b>=2"], "y": ["c>=3"]}},
        "tool": {"hatch": {"metadata": {"hooks": {"custom": {"dependencies": ["d>=4"]}}}}},
    }
    assert tools["rows"]["stated_requirements"](settings) == ["a>=1", "d>=4", "b>=2", "c>=3"]
    row = {"tensorflow": "2.16", "numpy": "==1.26.*"}
    direct = ["tensorflow==2.16.*", "numpy==1.26.*"]
    assert tools["rows"]["requirements"](row, [settings]) == direct
    assert tools["rows"]["requirements"](row | {"with": ["e<5"]}, [settings]) == [*direct, "e<5"]
    assert tools["rows"]["requirements"](row | {"lowest": True}, [settings]) == [
        "a>=1",
        "d>=4",
        "b>=2",
        "c>=3",
        *direct,
    ]


def test_a_nightly_build_takes_the_place_of_tensorflow(tools, tmp_path):
    rows = tools["rows"]
    assert rows["requirements"]({"tensorflow": "nightly"}, []) == ["tf-nightly", "numpy"]
    assert rows["install_options"]({"tensorflow": "2.21"}, tmp_path) == []
    override, prerelease = rows["install_options"]({"tensorflow": "nightly"}, tmp_path)
    assert prerelease == "--prerelease=allow"
    # uv puts what stands there in place of every requirement of tensorflow: none on any Python of today.
    assert Path(override.removeprefix("--override=")).read_text(encoding="utf-8").startswith("tensorflow; ")


@pytest.mark.parametrize(
    ("row", "given", "run"),
    [
        ({"tensorflow": "2.18"}, [], ["--mode=default", "--mode=eager", "--"]),
        ({"tensorflow": "2.18"}, ["--mode=eager", "-k", "x"], ["--mode=eager", "--", "-k", "x"]),
        ({"tensorflow": "2.18"}, ["corner", "--mode=default"], ["--mode=default", "--", "-m", "not slow", "tests/x"]),
        ({"tensorflow": "2.16", "lowest": True}, ["--complete"], ["--mode=default", "--mode=eager", "--core", "--"]),
        ({}, [], ["--mode=default", "--"]),
    ],
)
def test_a_row_runs_what_it_is_asked_for(row, given, run, tools):
    matrix = {"modes": ["default", "eager"], "corner-tests": ["tests/x"]}
    assert tools["rows"]["run_arguments"]({"name": "one", **row}, matrix, given) == ["one", *run]


@pytest.mark.parametrize(
    ("paths", "chosen"),
    [
        (["README.md", "docs/site/core.md"], []),
        (["tests/tf/test_jit.py", "tests/tf/gone.py"], ["tests/tf"]),
        (["tests/core/test_cache.py"], ["tests/core/test_cache.py"]),
        (["tests/conftest.py"], ["tests/regressions"]),
        (["tests/architecture/test_matrix.py", "tests/typed/function.py"], []),
        (["packages/zrun-core/src/zrun_core/_cache.py"], ["tests/core", "tests/regressions"]),
        (["packages/zrun-compat/src/zrun_compat/_run.py"], ["tests/compat", "tests/regressions"]),
        (["packages/zrun-tf/src/zrun_tf/_xla.py"], ["tests/regressions"]),
        (["packages/zrun-tf/src/zrun_tf/_threads.py"], ["tests/regressions", "tests/tf/test_threads.py"]),
    ],
)
def test_a_change_chooses_its_tests(paths, chosen, tools):
    assert tools["machine"]["chosen_tests"](paths, ROOT, ["tests/regressions"]) == chosen


def test_modes_that_no_test_is_in_are_left_out(tools):
    modes_of = tools["machine"]["modes_of"]
    assert modes_of(["tests/core", "tests/tf/test_jit.py"], ROOT) == ["--mode=default"]
    assert modes_of(["tests/core", "tests/tf/test_evaluate.py"], ROOT) == []
    assert modes_of(["tests/tf"], ROOT) == []


@pytest.mark.parametrize(
    ("paths", "new", "said"),
    [
        (["README.md", "tests/tf/test_jit.py"], [], None),
        (["packages/zrun-tf/LICENSE"], [], "1 files under packages/ differ (packages/zrun-tf/LICENSE first)"),
        (["packages/zrun-tf/LICENSE", "changelog.d/4.misc.md"], ["changelog.d/4.misc.md"], None),
        # Changed, but not new: told of another change.
        (["packages/zrun-tf/LICENSE", "changelog.d/4.misc.md"], [], "no new file in changelog.d"),
        (["packages/zrun-core/src/zrun_core/_version.py", "CHANGELOG.md"], [], None),
        (["changelog.d/4.fix.md"], ["changelog.d/4.fix.md"], "4.fix.md in changelog.d has to be named NAME.TYPE.md"),
    ],
)
def test_a_change_of_the_packages_needs_a_line_for_the_changelog(paths, new, said, tools):
    found = tools["fragment"]["lacking"](paths, new)
    assert found == said if said is None else said in found
