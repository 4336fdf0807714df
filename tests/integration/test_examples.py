"""The scripts of docs/examples run as they stand, and find what is to be found."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
TESTED = {"fit_csv.py", "fit_mass_peak.py", "toys_in_processes.py", "toys_in_threads.py"}


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """Run a script in an empty folder; return what it printed."""
    monkeypatch.chdir(tmp_path)

    def run_script(path, *args):
        monkeypatch.setattr(sys, "argv", [str(path), *map(str, args)])
        runpy.run_path(str(path), run_name="__main__")
        return capsys.readouterr().out

    yield run_script
    import matplotlib.pyplot as plt

    plt.close("all")


def results(printed):
    """The parameters in a script's output, as name -> (value, error)."""
    found = re.findall(r"^ *(\w+) = (\S+) ± (\S+)", printed, re.MULTILINE)
    return {name: (float(value), float(error)) for name, value, error in found}


def is_png(path):
    return path.read_bytes().startswith(b"\x89PNG")


def test_every_script_is_tested():
    assert {path.name for path in EXAMPLES.glob("*.py")} == TESTED


def test_fit_csv(run, tmp_path):
    found = results(run(EXAMPLES / "fit_csv.py"))
    # NIST certifies these values and standard deviations for Eckerle4; the script prints two digits of the latter.
    assert found["area"] == pytest.approx((1.5543827178, 1.5408051163e-2), rel=4e-2)
    assert found["width"] == pytest.approx((4.0888321754, 4.6803020753e-2), rel=4e-2)
    assert found["centre"] == pytest.approx((451.54121844, 4.6800518816e-2), rel=4e-2)
    assert is_png(tmp_path / "fit_csv.png")


def test_fit_csv_of_another_file(run, tmp_path):
    x = np.linspace(420.0, 480.0, 25)
    y = 2.0 / 5.0 * np.exp(-0.5 * ((x - 455.0) / 5.0) ** 2) + 1e-4 * np.cos(x)
    table = np.stack([x, y], axis=1)
    np.savetxt(tmp_path / "mine.csv", table, delimiter=",", header="wavelength,transmittance", comments="")
    found = results(run(EXAMPLES / "fit_csv.py", tmp_path / "mine.csv"))
    assert {name: value for name, (value, _) in found.items()} == pytest.approx(
        {"area": 2.0, "width": 5.0, "centre": 455.0}, rel=1e-3
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, r"mine.csv is not there: name a CSV file"),
        ("time,signal\n1,2\n3,4\n", "no columns wavelength and transmittance, but time, signal: change X and Y"),
        ("wavelength,transmittance\n400,1\n410,2\n420,3\n", "has 3 points, and 3 parameters need at least 4"),
        ("wavelength,transmittance\n400,1\n", "has 1 points"),
    ],
)
def test_fit_csv_says_what_is_wrong_with_a_file(text, said, run, tmp_path):
    if text is not None:
        (tmp_path / "mine.csv").write_text(text)
    with pytest.raises(SystemExit, match=said):
        run(EXAMPLES / "fit_csv.py", tmp_path / "mine.csv")


def test_fit_csv_leaves_out_rows_without_numbers_and_says_so(run, tmp_path):
    text = (EXAMPLES / "transmittance.csv").read_text()
    (tmp_path / "mine.csv").write_text(text + "510,\n,0.2\nabc,1\n")
    printed = run(EXAMPLES / "fit_csv.py", tmp_path / "mine.csv")
    assert "3 of 38 rows have no number in one of the two columns" in printed
    assert results(printed) == results(run(EXAMPLES / "fit_csv.py"))


def test_the_csv_is_nists_data():
    rows = np.genfromtxt(EXAMPLES / "transmittance.csv", delimiter=",", names=True)
    text = (ROOT / "tests" / "data" / "nist" / "Eckerle4.dat").read_text()
    observed = np.array([line.split() for line in text.rpartition("Data:")[2].splitlines()[1:] if line.strip()], float)
    np.testing.assert_array_equal(np.stack([rows["transmittance"], rows["wavelength"]], axis=1), observed)


def test_fit_mass_peak_of_a_toy_sample(run, tmp_path):
    # It used to take a file of masses that happened to lie beside the checkout, in place of the toy sample.
    script = tmp_path / "checkout" / "docs" / "examples" / "fit_mass_peak.py"
    script.parent.mkdir(parents=True)
    shutil.copy(EXAMPLES / "fit_mass_peak.py", script)
    (tmp_path / "shared" / "data").mkdir(parents=True)
    (tmp_path / "shared" / "data" / "zmumu_mass.csv").write_text("mass_GeV\n" + "80.0\n" * 60)
    printed = run(script)
    assert "a toy sample, generated with seed" in printed
    assert "2000 masses between 70 and 110 GeV" in printed
    true = {"m_z": 91.19, "width": 2.5, "resolution": 1.5, "signal": 0.9, "slope": 0.03}
    found = results(printed)
    assert set(found) == set(true)
    for name, (value, error) in found.items():
        assert abs(value - true[name]) < 4 * error, name
    assert found["m_z"][1] < 0.1
    assert is_png(tmp_path / "fit_mass_peak.png")


def test_fit_mass_peak_of_a_part_of_the_toy_sample(run):
    # The option used to be passed over without a file.
    assert "1000 masses between 70 and 110 GeV" in run(EXAMPLES / "fit_mass_peak.py", "--every", "2")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "masses.csv cannot be read as one mass per line under a header line: .*not found"),
        ("mass\n91.2\nabc\n", "cannot be read as one mass per line under a header line: could not convert .*abc"),
        ("mass\n91.2\n91.3\n10.0\n", "2 masses lie between 70 and 110 GeV; a fit needs 50 or more"),
    ],
)
def test_fit_mass_peak_says_what_is_wrong_with_a_file(text, said, run, tmp_path):
    if text is not None:
        (tmp_path / "masses.csv").write_text(text)
    with pytest.raises(SystemExit, match=said):
        run(EXAMPLES / "fit_mass_peak.py", tmp_path / "masses.csv")


def test_fit_mass_peak_of_a_file_with_repeated_events(run, tmp_path):
    random = np.random.default_rng(5)
    events = np.concatenate(
        [91.0 + 1.25 * random.standard_cauchy(400) + random.normal(0.0, 1.5, 400), np.arange(70, 110)]
    )
    lines = np.repeat(random.permutation(events), 4) + random.normal(0.0, 0.05, 1760)
    np.savetxt(tmp_path / "masses.csv", lines, header="mass_GeV", comments="")
    repeated = run(EXAMPLES / "fit_mass_peak.py", tmp_path / "masses.csv")
    single = run(EXAMPLES / "fit_mass_peak.py", tmp_path / "masses.csv", "--every", "4")
    assert "Neighbouring masses are correlated (0.7" in repeated
    assert re.search(r"several times \(here about (3\.[5-9]|4\.[0-4])\), use --every N", repeated)
    assert "correlated" not in single
    # A quarter of the masses, all of the information.
    assert results(single)["m_z"][1] == pytest.approx(2 * results(repeated)["m_z"][1], rel=0.1)


def test_fit_mass_peak_of_a_file(run, tmp_path):
    random = np.random.default_rng(7)
    peak = 91.0 + 1.25 * random.standard_cauchy(3000) + random.normal(0.0, 1.2, 3000)
    masses = np.concatenate([peak, random.uniform(40.0, 140.0, 500)])
    # A second column is passed over.
    table = np.stack([random.permutation(masses), np.arange(len(masses))], axis=1)
    np.savetxt(tmp_path / "masses.csv", table, delimiter=",", header="mass_GeV,event", comments="")
    printed = run(EXAMPLES / "fit_mass_peak.py", tmp_path / "masses.csv")
    inside = np.count_nonzero((masses > 70) & (masses < 110))
    assert f"{inside} masses between 70 and 110 GeV" in printed
    found = results(printed)
    for name, true in {"m_z": 91.0, "width": 2.5, "resolution": 1.2}.items():
        assert abs(found[name][0] - true) < 4 * found[name][1], name


@pytest.mark.parametrize("script", ["toys_in_threads.py", "toys_in_processes.py"])
def test_toys_on_a_pool_of_workers(script, tmp_path):
    # In a process of its own: workers that are spawned import the script anew.
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / script)], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    found = re.search(r"^24 toys .*on (\d+) CPUs: mean = (\S+), width = (\S+)$", done.stdout, re.MULTILINE)
    # The mean of 24 toys of 2000 events each.
    assert float(found[2]) == pytest.approx(3.0, abs=0.05)
    assert float(found[3]) == pytest.approx(2.0, abs=0.05)
