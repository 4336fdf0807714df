"""`zrun demo`, from its arguments to its exit code."""

from __future__ import annotations

import dataclasses
import errno
import io
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

import zrun_core
from zrun_tf.cli import _demo, _fit, _nist, main
from zrun_tf.cli._picture import draw

MODULES = ("tensorflow", "scipy", "matplotlib", "numpy")


def run(capsys, *args):
    """Run the command in this process; return its exit code, its output and what it wrote to stderr."""
    with pytest.raises(SystemExit) as ended:
        main(args)
    said = capsys.readouterr()
    return ended.value.code or 0, said.out, said.err


@pytest.fixture
def quick(monkeypatch):
    """One fit per way, for tests that ask nothing about times."""
    monkeypatch.setattr(_demo, "_MOST_REPEATS", 0)


@pytest.mark.parametrize("args", [["--help"], ["demo", "--help"], ["--version"], ["demo", "--problem", "nonsense"]])
def test_help_and_wrong_usage_import_nothing_heavy(args):
    # Check in a process of its own, as this one has imported everything.
    script = (
        "import sys\n"
        "from zrun_tf.cli import main\n"
        f"try: main({args!r})\n"
        f"finally: sys.stderr.write('imported: ' + ' '.join(m for m in {MODULES!r} if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr.endswith("imported: ")
    assert done.returncode == (2 if "nonsense" in args else 0)


def test_version(capsys):
    assert run(capsys, "--version") == (0, f"zrun {zrun_core.__version__}\n", "")


def test_help_names_every_shipped_problem(capsys):
    code, out, _ = run(capsys, "demo", "--help")
    assert code == 0
    assert set(_nist.SHIPPED) <= set(re.findall(r"\w+", out))


@pytest.mark.parametrize(
    ("name", "hint"),
    [("thurbor", "Did you mean Thurber?"), ("ENS0", "Did you mean ENSO?"), ("qqq", "There are Chwirut1")],
)
def test_an_unknown_problem_is_refused_with_the_nearest_names(name, hint, capsys, tmp_path):
    code, out, err = run(capsys, "demo", "--problem", name, "--out", str(tmp_path / "new"))
    assert (code, out) == (2, "")
    assert f"{name!r} is not a problem" in err
    assert hint in " ".join(err.split())
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("folder", "reason"),
    [
        ("file", "that is a file"),
        ("file/folder", "Not a directory"),
        ("taken", "a folder has the name zrun-demo.png there"),
        ("locked", "permission denied"),
    ],
)
def test_an_unwritable_folder_is_refused_before_any_fit(folder, reason, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(_demo, "measure_all", lambda *_: pytest.fail("a fit was begun"))
    # The superuser may write to every folder, so the system is asked in another way.
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: "locked" not in str(path) and access(path, mode))
    (tmp_path / "file").write_text("")
    (tmp_path / "taken" / "zrun-demo.png").mkdir(parents=True)
    code, out, err = run(capsys, "demo", "--out", str(tmp_path / folder))
    assert (code, out) == (2, "")
    told = " ".join(err.split())
    assert f"cannot be saved in {str(tmp_path / folder)!r}: {reason}. Name a folder that you can write to" in told


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("json_or_not", [[], ["--json"]])
def test_a_picture_that_cannot_be_saved_costs_the_picture_only(json_or_not, capsys, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", full)
    code, out, err = run(capsys, "demo", "--problem", "Chwirut1", "--out", str(tmp_path), *json_or_not)
    assert code == 1
    assert err == f"zrun: the picture could not be saved as {tmp_path / 'zrun-demo.png'}: No space left on device.\n"
    if json_or_not:
        assert json.loads(out)["picture"] is None
    else:
        assert "All parameters agree" in out
        assert "Picture" not in out


@pytest.mark.usefixtures("quick")
def test_the_path_of_the_picture_is_whole(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, out, _ = run(capsys, "demo", "--problem", "Chwirut1", "--out", "pictures")
    assert f"Picture: {tmp_path / 'pictures' / 'zrun-demo.png'}" in out


@pytest.mark.parametrize("module", ["scipy", "matplotlib", "rich", "click"])
def test_a_missing_extra_is_named(module, capsys, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, module, None)
    code, out, err = run(capsys, "demo", "--out", str(tmp_path / "new"))
    assert (code, out) == (2, "")
    assert f"needs {module}" in err
    assert "python -m pip install 'zrun-tf[demo]'" in err
    assert not list(tmp_path.iterdir())


def test_the_other_commands_need_the_smaller_extra(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "click", None)
    assert run(capsys, "--version")[2].endswith("python -m pip install 'zrun-tf[cli]'\n")


def test_the_report(capsys, tmp_path, monkeypatch):
    # A busy machine may take so long for an eager fit that there would be no second one.
    monkeypatch.setattr(_demo, "_TOO_LONG_TO_REPEAT", float("inf"))
    code, out, err = run(capsys, "demo", "--problem", "rat43", "--out", str(tmp_path / "a" / "b"))
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80 + len(str(tmp_path))
    rows = re.findall(r"^(b\d) +(\S+) ± (\S+) +(\S+) ± (\S+) +([\d.]+) +([\d.]+) *$", out, re.MULTILINE)
    problem = _nist.load("Rat43")
    assert tuple(row[0] for row in rows) == problem.parameters
    for row, certified, error in zip(rows, problem.certified, problem.certified_errors, strict=True):
        assert [float(cell) for cell in row[1:5]] == pytest.approx([certified, error] * 2, rel=5e-3)
        assert min(float(row[5]), float(row[6])) >= 7
    ways = re.findall(r"^(graph|eager), (autograd|numerical) +((?:[\d.]+ +){7})([\d.]+) *$", out, re.MULTILINE)
    assert len({way[:2] for way in ways}) == 4
    for kind, derivatives, numbers, digits in ways:
        *_, traces, later_traces, values, jacobians, evaluations = (float(number) for number in numbers.split())
        assert (traces > 0) == (kind == "graph")
        assert later_traces == 0
        assert min(values, jacobians) > 0
        # A value at the point of the last Jacobian is known. A numerical Jacobian takes 2 n + 3 points where steps are
        # remembered, and at most 1 + 36 n.
        least, most = (1, 4) if derivatives == "autograd" else (2 * 4 + 3, 1 + 36 * 4)
        assert least * jacobians <= evaluations <= values + most * jacobians
        assert float(digits) >= 5
    assert f"Picture: {tmp_path / 'a' / 'b' / 'zrun-demo.png'}" in out
    assert (tmp_path / "a" / "b" / "zrun-demo.png").read_bytes().startswith(b"\x89PNG")


NUMBERS = np.array([-1.2345678901e-10] * 9)


@pytest.mark.parametrize("columns", ["40", "80", "200"])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_no_name_and_no_digit_is_left_out_of_the_tables(columns, encoding, capsys, monkeypatch):
    # Names used to become "…" where a parameter was negative, and digits on narrow terminals; ± ended the program where
    # the terminal did not have it.
    problem = dataclasses.replace(_nist.load("ENSO"), certified=NUMBERS, certified_errors=NUMBERS**2)
    counts = dict.fromkeys(("value_calls", "jacobian_calls", "evaluations", "traces"), 99_999)
    fit = _fit.Fit(NUMBERS, NUMBERS**2, 1.0, np.full(9, 11.0), np.full(9, 11.0), **counts, seconds=99.0)
    outcomes = [_demo.Outcome(problem, way, fit, (fit,)) for way in _fit.WAYS]
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr(_demo, "measure_all", lambda *_: outcomes)
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    assert run(capsys, "demo", "--no-picture")[0] == 0
    assert stream.errors == "strict"
    stream.flush()
    out = stream.buffer.getvalue().decode(encoding)
    cell = r"-1.2345678901e-10 [±?] 1.52e-20"
    rows = re.findall(rf"^(b\d)[ |]+{cell}[ |]+{cell}[ |]+11.0[ |]+11.0 *$", out, re.MULTILINE)
    assert tuple(rows) == problem.parameters
    assert len(re.findall(r"^\w+, \w+ +[ |]+99000[ |]+99000(?:[ |]+99999){5}[ |]+11.0 *$", out, re.MULTILINE)) == 4
    assert "…" not in out
    if columns != "200":
        assert max(map(len, out.splitlines())) <= 80


@pytest.mark.usefixtures("quick")
def test_json_is_all_there_is_on_stdout(capsys, tmp_path):
    args = ["demo", "--json", "--problem", "Chwirut1", "--problem", "ECKERLE4", "--problem", "chwirut1"]
    code, out, err = run(capsys, *args, "--out", str(tmp_path))
    report = json.loads(out)
    assert (code, err, report["passed"]) == (0, "", True)
    assert report["picture"] == str(tmp_path / "zrun-demo.png")
    assert report["versions"]["zrun"] == zrun_core.__version__
    assert set(report["versions"]) == {"zrun", "python", "tensorflow", "numpy", "scipy"}
    fits = {(fit["problem"], fit["graph"], fit["autograd"]): fit for fit in report["fits"]}
    # The first problem is fitted in all four ways, the others as graphs.
    assert len(fits) == len(report["fits"]) == 6
    assert {(name, graph) for name, graph, _ in fits} == {("Chwirut1", True), ("Chwirut1", False), ("Eckerle4", True)}
    for fit in fits.values():
        assert all(entry["digits"] >= fit["target_digits"] for entry in fit["parameters"].values())


@pytest.mark.usefixtures("quick")
def test_no_picture_needs_no_matplotlib(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, out, _ = run(capsys, "demo", "--no-picture", "--problem", "Chwirut1", "--out", str(tmp_path / "new"))
    assert code == 0
    assert "Picture" not in out
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("quick")
def test_a_fit_that_falls_short_is_named_and_fails(capsys, tmp_path, monkeypatch):
    real = _demo.fit

    def spoilt(problem, way, **kwargs):
        found = real(problem, way, **kwargs)
        wrong = found.digits.copy()
        wrong[0] = 4.9
        return found if way.autograd else dataclasses.replace(found, digits=wrong)

    monkeypatch.setattr(_demo, "fit", spoilt)
    code, out, _ = run(capsys, "demo", "--no-picture", "--problem", "Chwirut1")
    assert code == 1
    told = " ".join(out.split())
    assert "Fell short: Chwirut1 (graph, numerical) agrees to 4.9 digits; 5 are expected." in told
    assert "Fell short: Chwirut1 (graph, autograd)" not in told
    assert "All parameters agree" not in told


def test_an_error_is_one_sentence_unless_debug(capsys, monkeypatch):
    def broken(*_):
        msg = "no such luck"
        raise ArithmeticError(msg)

    monkeypatch.setattr(_demo, "measure_all", broken)
    code, out, err = run(capsys, "demo", "--no-picture")
    assert (code, out) == (1, "")
    assert "ArithmeticError: no such luck" in err
    assert "Traceback" not in err
    with pytest.raises(ArithmeticError, match="no such luck"):
        main(["demo", "--no-picture", "--debug"])


@pytest.mark.parametrize("problems", [1, 2, 3, 4, 5, 8])
def test_the_picture_has_a_panel_per_problem(problems, tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda figure, path, **_: saved.append(figure))
    chosen = [_nist.load(name) for name in _nist.SHIPPED[:problems]]
    draw([(problem, problem.certified) for problem in chosen], tmp_path / "picture.png")
    (figure,) = saved
    # Each panel has two axes: the data with the curve, and the residuals.
    uppers = [axes for axes in figure.axes if axes.get_title(loc="left")]
    assert len(figure.axes) == 2 * len(uppers) == 2 * problems
    for axes, problem in zip(uppers, chosen, strict=True):
        data, curve = axes.lines
        np.testing.assert_array_equal(data.get_ydata(), problem.y)
        assert len(curve.get_xdata()) > len(problem.x)
        assert problem.name in axes.get_title(loc="left")


def test_the_command_is_quiet(tmp_path):
    # Check in a process of its own: TensorFlow speaks when it is imported, and at its first operation.
    args = [sys.executable, "-m", "zrun_tf.cli", "demo", "--problem", "Chwirut1", "--json", "--out", str(tmp_path)]
    env = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(args, capture_output=True, text=True, check=False, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["passed"]


def test_digits():
    certified = np.array([2.0, 2.0, -4.0, 5.0])
    np.testing.assert_allclose(
        _fit.agreeing_digits(np.array([2.0002, 2.0, -4.0, np.inf]), certified), [4.0, 11.0, 11.0, 0.0], atol=1e-6
    )


def test_standard_errors_of_a_straight_line():
    # Check against the textbook: y = a + b*x has var(b) = s^2 / sum((x - mean)^2) and var(a) = var(b) * mean(x^2).
    x = np.array([0.0, 1.0, 2.0, 4.0])
    residuals = np.array([0.1, -0.3, 0.1, 0.2])
    spread = np.sum((x - x.mean()) ** 2)
    expected = np.sqrt(residuals @ residuals / 2 / spread * np.array([np.mean(x**2), 1.0]))
    slopes = np.stack([np.ones_like(x), x], axis=1)
    np.testing.assert_allclose(_fit.standard_errors(residuals, slopes), expected, rtol=1e-12)
