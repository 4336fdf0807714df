"""The environment variables: what they may hold, when they are read, and what an invalid one does."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from zrun_core._environment import (
    apply_log_setting,
    cpus_from_environment,
    log_from_environment,
    policy_from_environment,
)
from zrun_core._policy import Policy
from zrun_core.errors import EnvironmentVariableError


def run_python(code, **variables):
    """Run code in a fresh interpreter with these environment variables."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ZRUN_")}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**environ, **variables}, capture_output=True, text=True, check=False
    )
    return done.stdout.strip(), done.stderr.strip()


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, Policy()),
        ({"ZRUN_GRAPH": ""}, Policy()),
        ({"ZRUN_GRAPH": "  "}, Policy()),
        ({"ZRUN_GRAPH": "auto"}, Policy()),
        ({"ZRUN_GRAPH": "AUTO"}, Policy()),
        ({"ZRUN_GRAPH": "true"}, Policy(graph=True)),
        ({"ZRUN_GRAPH": " 1 "}, Policy(graph=True)),
        ({"ZRUN_GRAPH": "Yes"}, Policy(graph=True)),
        ({"ZRUN_GRAPH": "on"}, Policy(graph=True)),
        ({"ZRUN_GRAPH": "false"}, Policy(graph=False)),
        ({"ZRUN_GRAPH": "0"}, Policy(graph=False)),
        ({"ZRUN_GRAPH": "no"}, Policy(graph=False)),
        ({"ZRUN_GRAPH": "OFF"}, Policy(graph=False)),
        ({"ZRUN_GRAPH": "loss=true, model.*=0"}, Policy(graph={"loss": True, "model.*": False})),
        ({"ZRUN_AUTOGRAD": "false"}, Policy(autograd=False)),
        ({"ZRUN_AUTOGRAD": "1"}, Policy(autograd=True)),
        ({"ZRUN_CHUNKSIZE": "5000"}, Policy(chunksize=5000)),
        ({"ZRUN_CHUNKSIZE": "Auto"}, Policy(chunksize="auto")),
        ({"ZRUN_CHUNKSIZE": "none"}, Policy()),
        (
            {"ZRUN_GRAPH": "false", "ZRUN_AUTOGRAD": "no", "ZRUN_CHUNKSIZE": "1"},
            Policy(graph=False, autograd=False, chunksize=1),
        ),
    ],
    ids=str,
)
def test_the_policy_from_the_environment(variables, expected):
    assert policy_from_environment(variables) == expected


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("ZRUN_GRAPH", "nonsense"),
        ("ZRUN_GRAPH", "2"),
        ("ZRUN_GRAPH", "loss"),
        ("ZRUN_GRAPH", "loss=maybe"),
        ("ZRUN_GRAPH", "loss=true,"),
        ("ZRUN_GRAPH", "loss=true,model"),
        ("ZRUN_GRAPH", "loss=true,loss=false"),
        ("ZRUN_GRAPH", "los=true"),
        ("ZRUN_GRAPH", "=true"),
        ("ZRUN_GRAPH", "loss=auto"),
        ("ZRUN_AUTOGRAD", "auto"),
        ("ZRUN_AUTOGRAD", "numerical"),
        ("ZRUN_CHUNKSIZE", "0"),
        ("ZRUN_CHUNKSIZE", "-5"),
        ("ZRUN_CHUNKSIZE", "1e6"),
        ("ZRUN_CHUNKSIZE", "1_000"),
        ("ZRUN_CHUNKSIZE", "²"),
        ("ZRUN_CHUNKSIZE", "9" * 5000),
    ],
)
def test_an_invalid_value_is_an_error_that_names_variable_and_value(variable, text):
    with pytest.raises(EnvironmentVariableError, match=f"Environment variable {variable}") as raised:
        policy_from_environment({variable: text})
    assert repr(text) in str(raised.value)


def test_a_misspelt_kind_is_named_with_the_nearest_one():
    with pytest.raises(EnvironmentVariableError, match=r"ZRUN_GRAPH='los=true': .*Did you mean 'loss'\?"):
        policy_from_environment({"ZRUN_GRAPH": "los=true"})


@pytest.mark.parametrize(("text", "expected"), [("", None), ("auto", None), (" AUTO ", None), ("1", 1), ("16", 16)])
def test_the_limit_of_cpus(text, expected):
    assert cpus_from_environment({"ZRUN_CPUS": text}) == expected
    assert cpus_from_environment({}) is None


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", "all", "9" * 5000])
def test_an_invalid_limit_of_cpus_is_an_error(text):
    with pytest.raises(EnvironmentVariableError, match="ZRUN_CPUS must be a positive number of CPUs or 'auto'"):
        cpus_from_environment({"ZRUN_CPUS": text})


def test_what_is_to_be_logged():
    assert log_from_environment({}) is None
    assert log_from_environment({"ZRUN_LOG": " Retrace "}) == "retrace"


def test_nothing_asked_for_in_the_log_setting_does_nothing():
    apply_log_setting({})


def test_an_invalid_log_setting_is_an_error():
    with pytest.raises(EnvironmentVariableError, match=r"Environment variable ZRUN_LOG: .*got 'everything'"):
        apply_log_setting({"ZRUN_LOG": "everything"})


POLICY_CODE = """
import os
from zrun_core import RunManager, run
first = run.policy
os.environ["ZRUN_GRAPH"] = "true"
os.environ["ZRUN_CPUS"] = "1"
print(first.graph, run.policy is first, RunManager().policy is first)
"""


def test_the_policy_is_read_once():
    out, err = run_python(POLICY_CODE, ZRUN_GRAPH="false")
    assert (out, err) == ("False True True", "")


def test_the_environment_counts_until_the_policy_is_first_needed():
    code = (
        "import os; from zrun_core import run; os.environ['ZRUN_AUTOGRAD'] = 'no'; print(run.current_policy_autograd())"
    )
    assert run_python(code) == ("False", "")


def test_the_limit_of_cpus_is_read_once():
    code = """
import os
from zrun_core import run
first = run.n_cpu
del os.environ["ZRUN_CPUS"]
run.set_n_cpu("auto")
print(first, run.n_cpu)
"""
    assert run_python(code, ZRUN_CPUS="1") == ("1 1", "")


@pytest.mark.parametrize(
    ("variable", "code"),
    [
        ("ZRUN_GRAPH", "run.policy"),
        ("ZRUN_GRAPH", "run.set_mode(graph=True)"),
        ("ZRUN_GRAPH", "run.using(graph=True).__enter__()"),
        ("ZRUN_AUTOGRAD", "run.mode"),
        ("ZRUN_CHUNKSIZE", "run.chunksize"),
        ("ZRUN_CPUS", "run.n_cpu"),
        ("ZRUN_CPUS", "run.set_n_cpu(2)"),
    ],
)
def test_an_invalid_variable_raises_each_time_it_is_needed(variable, code):
    # Check that the first error does not leave a policy behind that nobody asked for.
    program = f"""
from zrun_core import run
from zrun_core.errors import EnvironmentVariableError
for _ in range(2):
    try:
        {code}
    except EnvironmentVariableError as error:
        print(str(error).partition(" must be")[0])
"""
    out, err = run_python(program, **{variable: "nonsense"})
    assert out.splitlines() == [f"Environment variable {variable}"] * 2
    assert err == ""


def test_importing_reads_no_policy():
    code = "from zrun_core import run; run.set_graph_cache_size(10); print(run.cache_info().max_entries)"
    assert run_python(code, ZRUN_GRAPH="nonsense") == ("10", "")


def test_an_invalid_log_setting_stops_the_import():
    out, err = run_python("import zrun_core", ZRUN_LOG="nonsense")
    assert out == ""
    assert "EnvironmentVariableError: Environment variable ZRUN_LOG" in err
