"""`zrun info`: what it finds, and the trouble it warns of."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

import zrun_core
from zrun_core import CpuCount
from zrun_tf.cli import _info_text, _trouble


def info(*args, **env):
    clean = {n: t for n, t in os.environ.items() if not n.startswith("ZRUN_") and "THREADS" not in n}
    clean.pop("TF_CPP_MIN_LOG_LEVEL", None)
    command = [sys.executable, "-m", "zrun_tf.cli", "info", *args]
    return subprocess.run(command, env=clean | env, capture_output=True, text=True, timeout=300, check=False)


def test_json_has_everything_and_starts_nothing():
    done = info("--json", "--check", ZRUN_AUTOGRAD="false", ZRUN_CPUS="1")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["versions"]["zrun"] == zrun_core.__version__
    assert {"python", "tensorflow", "numpy"} <= set(found["versions"])
    assert "is_cuda_build" in found["build"]
    assert found["devices"]["CPU"]
    assert (found["cpus"]["count"], found["cpus"]["limited_by"], found["cpus"]["override"]) == (1, "override", 1)
    assert "limited by ZRUN_CPUS" in found["cpus"]["explanation"]
    assert (found["threads"]["intra"], found["threads"]["inter"], found["threads"]["started"]) == (1, 1, False)
    policy = {part["name"]: (part["value"], part["origin"]) for part in found["policy"]}
    assert policy["autograd"] == ("False", "ZRUN_AUTOGRAD")
    assert policy["graph"] == ("'auto'", "default")
    assert found["dispatch"] == "direct"
    assert found["symbols"]
    # The name of a module without a name in it used to end in a full stop.
    assert [name for name in found["symbols"] if not name[-1].isalnum()] == []
    assert all(found["symbols"].values())
    assert found["trouble"] == []


def test_text_names_trouble_and_what_to_do():
    done = info("--check", OMP_NUM_THREADS="64", ZRUN_CPUS="1", ZRUN_DISPATCH="public")
    assert (done.returncode, done.stderr) == (1, "")
    said = " ".join(done.stdout.split())
    assert "OMP_NUM_THREADS=64 asks for more threads than the 1 CPUs that there are" in said
    assert "graphs run by TensorFlow's public interface" in said
    assert re.search(r"private symbols all \d+ found", said)
    for heading in ("Versions", "Devices", "Machine", "Policy", "Dispatch", "Trouble"):
        assert heading in said


def test_symbols_that_are_missing_are_named():
    assert _info_text._symbols({"a.b": True, "a.c": False}) == "missing: a.c"
    assert _info_text._symbols({}) == "none are used"


def test_an_invalid_variable_is_trouble_and_no_crash():
    done = info(ZRUN_GRAPH="perhaps")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Environment variable ZRUN_GRAPH must be true, false, auto" in " ".join(done.stdout.split())


def test_a_tensorflow_that_cannot_be_imported_is_trouble_and_no_crash(tmp_path):
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow" / "__init__.py").write_text("raise ImportError('broken on purpose')")
    done = info("--json", PYTHONPATH=str(tmp_path))
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert any("TensorFlow cannot be imported: ImportError: broken on purpose" in said for said in found["trouble"])
    assert found["cpus"]["count"] >= 1
    assert found["threads"] is None


QUOTA = CpuCount(2, "quota", machine=64, affinity=64, quota=1.5, quota_directory="/sys/fs/cgroup/job")
PLENTY = CpuCount(8, "machine", machine=8, affinity=8)


@pytest.fixture
def bare(monkeypatch):
    for name in [name for name in os.environ if "THREADS" in name]:
        monkeypatch.delenv(name)
    return monkeypatch


def test_a_quota_that_blas_does_not_see_is_trouble(bare):
    (said,) = _trouble.trouble_with_cpus(QUOTA)
    assert "NumPy's BLAS does not see the quota of 1.5 CPUs" in said
    assert "a thread for each of the 64 CPUs" in said
    assert "OPENBLAS_NUM_THREADS=2" in said
    bare.setenv("OPENBLAS_NUM_THREADS", "2")
    assert _trouble.trouble_with_cpus(QUOTA) == []
    assert _trouble.trouble_with_cpus(PLENTY) == []


@pytest.mark.parametrize("text", ["many", "-1", "0", "1.5"])
def test_a_number_of_threads_that_is_none_is_trouble(text, bare):
    bare.setenv("OMP_NUM_THREADS", text)
    (said,) = _trouble.trouble_with_cpus(PLENTY)
    assert f"OMP_NUM_THREADS={text!r} is not a number of threads" in said


def test_a_list_of_numbers_is_read_as_openmp_reads_it(bare):
    bare.setenv("OMP_NUM_THREADS", "8,2")
    assert _trouble.trouble_with_cpus(PLENTY) == []
    bare.setenv("OMP_NUM_THREADS", "9,2")
    assert "OMP_NUM_THREADS=9 asks for more threads than the 8 CPUs" in _trouble.trouble_with_cpus(PLENTY)[0]


def threads(**more):
    return {"intra": 2, "inter": 2, "started": False, "started_at": "", "blas": []} | more


def test_pools_larger_than_the_count_are_trouble():
    blas = [{"library": "openblas", "file": "", "threads": 64}]
    said = _trouble.trouble_with_tensorflow(threads(intra=64, blas=blas), QUOTA, loaded=False)
    assert len(said) == 2
    assert "TensorFlow will run 64 threads within operations on 2 CPUs (limited by quota)" in said[0]
    assert "NumPy's BLAS (openblas) uses 64 threads on 2 CPUs" in said[1]
    assert all("zrun run --cpus 2" in sentence for sentence in said)
    assert _trouble.trouble_with_tensorflow(threads(), QUOTA, loaded=False) == []


def test_a_tensorflow_that_python_starts_by_itself_is_trouble():
    (said,) = _trouble.trouble_with_tensorflow(threads(started=True, started_at="at x.py:3"), PLENTY, loaded=True)
    assert "has started already (at x.py:3)" in said
    (said,) = _trouble.trouble_with_tensorflow(threads(), PLENTY, loaded=True)
    assert "sitecustomize" in said


def test_versions_that_do_not_go_together_are_trouble(monkeypatch):
    real = _trouble.metadata.version
    monkeypatch.setattr(_trouble.metadata, "version", lambda name: "1.20.0" if name == "numpy" else real(name))
    said = _trouble.trouble_with_versions()
    assert any("needs numpy" in sentence and "1.20.0 is installed" in sentence for sentence in said)
    assert all("python -m pip install" in sentence for sentence in said)
    monkeypatch.undo()
    assert _trouble.trouble_with_versions() == []
