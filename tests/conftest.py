"""Settings that every test shares; imports neither TensorFlow nor NumPy, so that tests/core runs without them."""

from __future__ import annotations

import gc
import os
import signal
import sys

import pytest
from hypothesis import settings

# Programs that run tests of others.
collect_ignore = ["downstream"]

# The tests state each policy themselves, so nothing may come in from the developer's shell.
for _name in [name for name in os.environ if name.startswith("ZRUN_")]:
    del os.environ[_name]
# `nox -s matrix` runs the tests that hold under any policy once more under each of these.
MODES = {
    "default": {},
    "graph": {"ZRUN_GRAPH": "true"},
    "eager": {"ZRUN_GRAPH": "false"},
    "public": {"ZRUN_DISPATCH": "public"},
}
MODE = os.environ.get("TESTS_MODE", "default")
os.environ.update(MODES[MODE])
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "Agg")

# A shell starts what runs in the background with interrupts ignored, and programs that tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Examples that trace a graph take long on a busy machine, so no example has a deadline; CI repeats the same ones.
settings.register_profile("default", deadline=None, print_blob=True)
settings.register_profile("ci", parent=settings.get_profile("default"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.fixture(autouse=True)
def _compiled_graphs_of_this_test_only():
    """Dropping many compiled graphs is warned of once in a process, which would be in whichever test is the last."""
    manager = sys.modules.get("zrun_tf._run")
    if manager is not None:
        manager.run.backend._release.compiled_dropped = 0


def pytest_collection_modifyitems(config, items):
    if MODE == "default":
        return
    taken = [item for item in items if item.get_closest_marker("any_policy") and _can_be_in(MODE, item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in taken])
    items[:] = taken


def _can_be_in(mode, item):
    """Whether a test asks for nothing that this mode takes away; see the fixture `path` in tests/tf."""
    if mode == "eager":
        return not item.get_closest_marker("needs_graph")
    callspec = getattr(item, "callspec", None)
    return mode != "public" or callspec is None or callspec.params.get("path") != "direct"


def pytest_collection_finish(session):
    # Many tests collect garbage, some at every step of what they watch. Before the first test there is TensorFlow,
    # where it was imported, and walking through that takes a third of a second each time.
    gc.collect()
    gc.freeze()
