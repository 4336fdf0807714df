"""Memory of a pass over a mapped file: Linux tells the resident memory at its peak."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# A hundred million rows take 800 MB on disk; set fewer where there is no room.
ROWS = int(float(os.environ.get("MEMORY_TEST_ROWS", "1e8")))

PROGRAM = """
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
import zrun_tf as zrun


def resident(what):
    text = Path("/proc/self/status").read_text()
    return int(text.split(what + ":")[1].split()[0]) * 1024


def nll(mu, sigma, data):
    return tf.reduce_sum(((data - mu) / sigma) ** 2 / 2 + tf.math.log(sigma))


path, rows, jit = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "True"
data = np.lib.format.open_memmap(path, mode="w+", dtype="f8", shape=(rows,))
for start in range(0, rows, 1_000_000):
    part = data[start : start + 1_000_000]
    part[:] = np.random.default_rng(start).normal(size=len(part))
data.flush()
del data, part
tf.constant(1.0) + 1.0
data = np.load(path, mmap_mode="r")
before = resident("VmRSS")
Path("/proc/self/clear_refs").write_text("5")
with zrun.run.using(jit=jit):
    obj = zrun.objective(nll, {"mu": 0.1, "sigma": 1.1}, data=data, chunksize="auto")
    value, gradient = obj.value_and_gradient([0.1, 1.1])
print(resident("VmHWM") - before, value / rows, gradient[0] / rows)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells the peak")
@pytest.mark.parametrize("jit", [True, False])
def test_a_large_mapped_file_takes_less_than_a_gigabyte(tmp_path, jit):
    path = tmp_path / "rows.npy"
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(path), str(ROWS), str(jit)],
            capture_output=True,
            text=True,
            timeout=1200,
            check=False,
        )
    finally:
        path.unlink(missing_ok=True)
    assert done.returncode == 0, done.stderr
    peak, value, gradient = map(float, done.stdout.split()[-3:])
    assert peak < 10**9
    # The expectation, to the spread of the mean of so many rows.
    assert value == pytest.approx(0.5 * 1.01 / 1.21 + 0.0953101798, abs=1e-3)
    assert gradient == pytest.approx(0.1 / 1.21, abs=1e-3)
    print(f"peak {peak / 1e6:.0f} MB above the start for {ROWS} rows, jit={jit}")
