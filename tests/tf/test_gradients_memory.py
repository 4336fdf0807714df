"""Memory of automatic Hessians: Linux tells the resident memory at its peak."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells the peak"),
]

# A likelihood each of whose parameters has a few tensors of the size of the data.
PROGRAM = """
import sys
from pathlib import Path

import tensorflow as tf
import zrun_tf as zrun


def resident(what):
    text = Path("/proc/self/status").read_text()
    return int(text.split(what + ":")[1].split()[0]) * 1024


size, way = int(sys.argv[1]), sys.argv[2]
data = tf.random.stateless_uniform([100_000], seed=[1, 2], dtype=tf.float64)
x = tf.linspace(tf.constant(0.5, tf.float64), 1.5, size)


def loss(x):
    density = tf.add_n([tf.exp(-rate * data) * rate for rate in tf.unstack(x)])
    return -tf.reduce_sum(tf.math.log(density))


ways = {
    "gradient": lambda x: zrun.gradient(loss, x),
    "one by one": lambda x: zrun.hessian(loss, x, low_memory=True),
}
graph = tf.function(ways[way], autograph=False).get_concrete_function(tf.TensorSpec([size], tf.float64))
before = resident("VmRSS")
Path("/proc/self/clear_refs").write_text("5")
found = graph(x)
print(resident("VmHWM") - before, bool(tf.reduce_all(tf.math.is_finite(found))), *found.shape)
"""


@functools.cache
def peak(size, way):
    """Bytes above what was there before the first call."""
    program = [sys.executable, "-c", PROGRAM, str(size), way]
    done = subprocess.run(program, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    taken, finite, *shape = done.stdout.split()[-3 if way == "gradient" else -4 :]
    assert finite == "True"
    assert shape == [str(size)] * len(shape)
    return float(taken)


def test_the_memory_of_a_hessian_grows_with_the_parameters_when_asked_for():
    # The gradient alone holds some tensors of the size of the data per parameter. A Hessian one row at a time holds a
    # multiple of that, whatever the number of rows.
    assert peak(24, "one by one") <= 1.5 * (24 / 4) * peak(4, "one by one")
    assert peak(24, "one by one") <= 8.0 * peak(24, "gradient")
