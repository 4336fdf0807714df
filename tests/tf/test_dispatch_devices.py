"""On several devices and under distribution strategies a function does what a `tf.function` does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("device_cases.py")

EXPECTED = {
    "device_scopes": ["CPU:1"] * 3 + ["CPU:0"] * 3 + ["CPU:1"] * 3,
    "several_devices_in_one_graph": [42.0, 42.0, 72.0],
    "variables_in_and_out_of_the_scope": [6.0, 6.0, [6.0, 6.0]] * 2 + [15.0, [15.0, 15.0]],
    "what_a_graph_knows_of_its_strategy": [6.0, 3.0, 3.0, -3.0, [-3.0, -3.0]] * 2,
    "each_replica_knows_its_number": [[3.0, 6.0]] * 3,
    "each_replica_has_its_gradient": [[36.0, 36.0]] * 2,
    "a_step_of_training": [0.5, 0.5],
    "a_distributed_variable_as_an_argument": [6.0, 6.0],
    "distributed_data": [[2.0, 10.0], [18.0, 26.0]],
    "merging_inside_a_graph_is_refused": True,
    "one_device": [[6.0, "CPU:0"], [6.0, "CPU:0"], [6.0, "CPU:1"]] * 2,
    "an_objective_in_a_scope": [1.0, 6.25, 4.0, 12.25],
    "traces_under_a_strategy": 4,
}


@pytest.fixture(scope="module")
def results():
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, str(PROGRAM)], env=environment, capture_output=True, text=True, check=False, timeout=500
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_every_case_is_expected(results):
    assert sorted(results) == sorted(EXPECTED)


@pytest.mark.parametrize("path", ["tf.function", "direct", "public"])
@pytest.mark.parametrize("case", EXPECTED)
def test_as_a_tf_function_does(results, case, path):
    assert results[case][path] == EXPECTED[case]
