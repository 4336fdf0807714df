"""The cases zrun exists for: a thousand toys on one trace of value and gradient each; scans that stay flat.

Each runs in a process of its own, whose memory is counted.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]

RESIDENT = """
import json, resource, sys
sys.path.insert(0, "tests/integration")
def resident():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
"""

TOYS = """
import numpy as np
import zrun_tf as zrun
from zrun_core.testing import count_traces
from toys import fit, sample

rng = np.random.default_rng(1)
values, memory = [], {}
with count_traces() as traces:
    for toy in range(1000):
        fitted = fit(sample(rng))
        assert fitted.valid, fitted
        values.append(list(fitted.values))
        if toy in (9, 999):
            memory[toy] = resident()
print(json.dumps({
    "traces": dict(traces.by_function), "growth": memory[999] - memory[9],
    "mean": np.mean(values, axis=0).tolist(), "spread": (np.std(values, axis=0) / 1000**0.5).tolist(),
}))
"""

SCAN = """
import numpy as np
import tensorflow as tf
import zrun_tf as zrun

class Opaque:
    def __init__(self, seed):
        self.constant = np.random.default_rng(seed).normal(size=131_072)

    @zrun.function
    def total(self, x):
        return tf.reduce_sum(tf.sin(self.constant * x))

x = tf.constant(1.5, tf.float64)
zrun.run.set_retrace_policy("allow")
memory = {}
for step in range(320):
    found = float(Opaque(step).total(x))
    assert abs(found - np.sin(1.5 * np.random.default_rng(step).normal(size=131_072)).sum()) < 1e-6
    if step in (19, 319):
        memory[step] = resident()
info = zrun.run.cache_info().total
print(json.dumps({"kept": (memory[319] - memory[19]) / 300, "graphs": info.graphs, "misses": info.misses}))
"""


def run(code):
    done = subprocess.run(
        [sys.executable, "-c", RESIDENT + code], cwd=ROOT, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not tell the memory of a process")
def test_a_thousand_toys_run_on_one_trace_in_flat_memory():
    found = run(TOYS)
    # One for the value, one for value and gradient, one for the Hessian.
    assert sorted(found["traces"].values()) == [1, 1, 1]
    assert found["growth"] < 10_000_000
    # Right on average: 40 % of events are signal, at 5.2 with a width of 0.8, over a slope of 1/4.
    truth = [0.4, 5.2, 0.8, 0.25]
    assert np.all(np.abs(np.array(found["mean"]) - truth) < 5 * np.array(found["spread"]) + 0.01)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not tell the memory of a process")
def test_a_scan_of_objects_with_a_large_constant_each_stays_flat():
    found = run(SCAN)
    assert found["misses"] == 320
    assert found["graphs"] <= 1
    # Of 1 MB each.
    assert found["kept"] < 50_000


def test_a_toy_ends_where_the_gradient_vanishes():
    spec = importlib.util.spec_from_file_location("toys", Path(__file__).with_name("toys.py"))
    toys = sys.modules["toys"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(toys)
    data = toys.sample(np.random.default_rng(5))
    fitted = toys.fit(data)
    assert fitted.valid
    loss = toys.objective(data)
    assert loss.names == tuple(toys.START)
    # Far less than the parameter's uncertainty away: the change of the value over one standard deviation.
    assert np.all(np.abs(loss.gradient(np.array(fitted.values)) * np.array(fitted.errors)) < 0.05)
