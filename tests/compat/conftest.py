"""Every test of the shim leaves the process as it found it."""

from __future__ import annotations

import importlib
import inspect

import pytest
import tensorflow as tf

import zrun_compat
import zrun_tf as zrun
from zrun_compat._deprecate import Notice, notice
from zrun_core import _scope
from zrun_core.errors import CpuLeaseTimeoutError

PARTS = ("graph", "autograd", "jit", "check_numerics", "chunksize", "retrace")


def free_cpus():
    """The numbers of the CPUs that nobody has leased."""
    try:
        with zrun.run.acquire_cpu(timeout=0) as lease:
            return lease.numbers
    except CpuLeaseTimeoutError:
        return ()


def state():
    """All that an old name can change: policy, process-wide switch, budgets, leases, remembered rows, tombstones."""
    info = zrun.run.cache_info()
    return {
        "default": _scope.default(),
        "here": _scope.current(),
        "tensorflow": tf.config.functions_run_eagerly(),
        "budget": (info.max_entries, info.max_bytes),
        "free": free_cpus(),
        "rows": zrun_compat.run._rows,
        "names": set(vars(zrun.run)),
    }


@pytest.fixture(autouse=True)
def leaves_no_trace():
    before = state()
    yield
    after = state()
    # Checked first and put back all the same, so that one fault does not fail every later test.
    _scope.set_default({part: getattr(before["default"], part) for part in PARTS}, "the end of a test")
    zrun.run.set_graph_cache_size(*before["budget"])
    zrun_compat.run._rows = before["rows"]
    after["names"].discard("_rows")
    before["names"].discard("_rows")
    assert after == before


@pytest.fixture
def process_state():
    return state


@pytest.fixture(scope="session")
def decorated():
    """All functions of the shim that are marked as old, by the old spelling."""
    members = [
        member
        for module in ("_run", "_mode_names", "_chunking")
        for cls in vars(importlib.import_module(f"zrun_compat.{module}")).values()
        if isinstance(cls, type) and cls.__module__.startswith("zrun_compat")
        for member in vars(cls).values()
    ]
    parts = [part for member in members for part in (getattr(member, "fget", member), getattr(member, "fset", None))]
    functions = [inspect.unwrap(part, stop=lambda f: hasattr(f, "__zrun_old__")) for part in parts if part is not None]
    return {notice(function).what: function for function in functions if hasattr(function, "__zrun_old__")}


@pytest.fixture(scope="session")
def notices(decorated):
    """All notices of the shim, by the old spelling; of those made at a call, the examples that the tests use."""
    modules = [importlib.import_module(f"zrun_compat.{name}") for name in ("_run", "_mode_names")]
    others = [value for module in modules for value in vars(module).values() if isinstance(value, Notice)]
    for call, arguments in (("set_mode", {"graph": False}), ("set_mode_default", {})):
        others.append(getattr(zrun_compat.run, call)(**arguments)._notice)
    zrun.run.set_mode_default()
    return {one.what: one for one in [*map(notice, decorated.values()), *others]}
