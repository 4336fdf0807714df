"""`zrun run --zfit`: a program that knows nothing of zrun, run on it as it is."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow
pytest.importorskip("zfit", exc_type=ImportError)

STUDY = """
import sys, warnings
warnings.simplefilter("ignore")
import numpy as np
import zfit

space = zfit.Space("x", limits=(0.0, 10.0))
mu = zfit.Parameter("mu", 5.0, 2.0, 8.0)
sigma = zfit.Parameter("sigma", 1.0, 0.2, 3.0)
model = zfit.pdf.Gauss(mu=mu, sigma=sigma, obs=space)
random = np.random.default_rng(4)
print(sys.argv[1:], __name__, zfit.run.get_graph_mode(), zfit.run.get_autograd_mode())
for _ in range(5):
    zfit.param.set_values([mu, sigma], [5.0, 1.0])
    array = random.normal(5.2, 0.8, 200).clip(0.1, 9.9)
    loss = zfit.loss.UnbinnedNLL(model, zfit.Data.from_numpy(obs=space, array=array))
    result = zfit.minimize.Minuit().minimize(loss)
    print(*(f"{float(result.params[each]['value']):.8f}" for each in (mu, sigma)))
"""
RUN = ("-m", "zrun_tf.cli", "run")


@pytest.fixture
def study(tmp_path):
    script = tmp_path / "study.py"
    script.write_text(STUDY)

    def run(*options, arguments=(), **variables):
        command = [sys.executable, *options, str(script), *arguments]
        environment = {**os.environ, "ZFIT_DISABLE_TF_WARNINGS": "1", **variables}
        return subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment, timeout=300
        )

    return run


def traces(stderr):
    """The number of traces in the summary, by function."""
    rows = [line.split() for line in stderr.splitlines() if line.startswith(" BaseLoss.")]
    return {row[0]: int(row[1]) for row in rows}


def test_the_same_program_with_the_same_numbers_and_a_report(study, tmp_path):
    released = study(arguments=["--toys", "5"])
    assert released.returncode == 0, released.stderr
    page = tmp_path / "page.html"
    on_zrun = study(*RUN, "--zfit", "--report", str(page), arguments=["--toys", "5"])
    assert on_zrun.returncode == 0, on_zrun.stderr
    assert on_zrun.stdout == released.stdout
    assert on_zrun.stdout.startswith("['--toys', '5'] __main__ auto True\n")
    # Each loss is asked for value and gradient in two or three ways; five losses run the graphs of the first.
    assert 0 < traces(on_zrun.stderr)["BaseLoss._call_value"] < 5, on_zrun.stderr
    assert "BaseLoss._call_value" in page.read_text()


def test_the_policy_of_the_command_line_counts_in_zfit(study):
    eager = study(*RUN, "--zfit", "--graph", "false", "--autograd", "false")
    assert eager.returncode == 0, eager.stderr
    assert eager.stdout.startswith("[] __main__ False False\n")
    assert traces(eager.stderr) == {}


def test_a_version_of_zfit_that_is_not_supported_is_said_before_the_program_starts(study, tmp_path):
    other = tmp_path / "site" / "zfit-0.27.3.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: zfit\nVersion: 0.27.3\n")
    found = study(*RUN, "--zfit", PYTHONPATH=str(other.parent))
    assert (found.returncode, found.stdout) == (2, "")
    assert "zfit 0.27.3 is installed" in found.stderr
    assert "pip install 'zfit==0.28.*'" in " ".join(found.stderr.split())
