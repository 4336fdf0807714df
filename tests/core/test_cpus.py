"""The number of CPUs: affinity, quota and override, and the reasons given for it."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zrun_core import _cpus, _memory
from zrun_core._cpus import CpuCount, count_cpus
from zrun_core._memory import AvailableMemory, available_memory, format_bytes
from zrun_core.errors import CpuError, ZrunError


@pytest.fixture
def machine(monkeypatch):
    """A function that sets the number of CPUs, the affinity and the quota (as microseconds of 100000)."""

    def become(cpus, affinity, quota=None):
        monkeypatch.setattr(os, "cpu_count", lambda: cpus)
        if affinity is None:
            monkeypatch.delattr(os, "sched_getaffinity", raising=False)
        else:
            monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(affinity)), raising=False)
        least = None if quota is None else (quota, 100000, "/sys/fs/cgroup/job")
        monkeypatch.setattr(_cpus, "_least_quota", lambda root: least)

    return become


@pytest.mark.parametrize(
    ("cpus", "affinity", "quota", "override", "count", "limited_by"),
    [
        (8, 8, None, None, 8, "machine"),
        (8, 3, None, None, 3, "affinity"),
        (8, 8, 250000, None, 3, "quota"),
        (8, 8, 300000, None, 3, "quota"),
        (8, 8, 300001, None, 4, "quota"),
        (8, 8, 1, None, 1, "quota"),
        (8, 2, 250000, None, 2, "affinity"),
        (8, 8, None, 5, 5, "override"),
        (8, 8, None, 8, 8, "machine"),
        (8, 8, None, 9, 8, "machine"),
        (8, 4, 300000, 2, 2, "override"),
        (8, 4, 300000, 3, 3, "quota"),
        (8, None, None, None, 8, "machine"),
        (8, None, 200000, None, 2, "quota"),
        (None, None, None, None, 1, "machine"),
        (None, 4, None, None, 4, "affinity"),
    ],
)
def test_the_count_is_the_least_of_all_limits(cpus, affinity, quota, override, count, limited_by, machine):
    machine(cpus, affinity, quota)
    found = count_cpus(override)
    assert (found.count, found.limited_by) == (count, limited_by)
    assert (found.machine, found.affinity, found.override) == (cpus or 1, affinity, override)


@given(
    st.integers(1, 300),
    st.none() | st.integers(1, 300),
    st.none() | st.integers(1, 10**8),
    st.none() | st.integers(1, 10**6),
)
def test_the_count_is_at_least_one_and_at_most_every_limit(cpus, affinity, quota, override):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "cpu_count", lambda: cpus)
        patch.setattr(_cpus, "_affinity", lambda: affinity)
        patch.setattr(_cpus, "_least_quota", lambda root: None if quota is None else (quota, 100000, "/x"))
        found = count_cpus(override)
    limits = [cpus if affinity is None else affinity]
    limits += [] if quota is None else [-(-quota // 100000)]
    limits += [] if override is None else [override]
    assert found.count == min(limits) >= 1


@pytest.mark.parametrize("answer", [OSError("no such process"), set()])
def test_an_affinity_that_cannot_be_had_leaves_the_machine(answer, monkeypatch):
    def sched_getaffinity(pid):
        if isinstance(answer, OSError):
            raise answer
        return answer

    monkeypatch.setattr(os, "sched_getaffinity", sched_getaffinity, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    found = count_cpus(root="/no/such/tree")
    assert (found.count, found.affinity) == (6, None)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this platform has no CPU affinity")
def test_the_affinity_of_a_real_process_counts():
    program = (
        "import os; cpus = os.sched_getaffinity(0); os.sched_setaffinity(0, {max(cpus)})\n"
        "from zrun_core._cpus import count_cpus; count = count_cpus(); print(count.count, count.affinity)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "1"]


@pytest.mark.parametrize(
    ("override", "error", "got"),
    [
        (0, CpuError, "got 0"),
        (-1, CpuError, "got -1"),
        (1.0, TypeError, "got 1.0 of type float"),
        ("2", TypeError, "got '2' of type str"),
        (True, TypeError, "got True of type bool"),
    ],
)
def test_a_bad_override_is_refused_with_name_rule_value_and_next_step(override, error, got):
    with pytest.raises(error, match=rf"^override \(ZRUN_CPUS\) must be an integer.*{got}\. Leave it out"):
        count_cpus(override)


def test_what_stands_for_an_integer_is_taken_as_one():
    class Two:
        def __index__(self):
            return 2

    count = count_cpus(Two())
    assert type(count.override) is int
    assert count.override == 2


def test_a_cpu_error_is_a_value_error_too():
    assert issubclass(CpuError, (ZrunError, ValueError))


def test_a_count_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        count_cpus().count = 64


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (
            CpuCount(1, "machine", machine=1, affinity=1),
            "1 CPU, all of the machine. Affinity: 1 of the machine's 1 CPU. Quota: none. ZRUN_CPUS: not set.",
        ),
        (
            CpuCount(3, "affinity", machine=8, affinity=3, override=5),
            (
                "3 CPUs, limited by the affinity of the process. Affinity: 3 of the machine's 8 CPUs. Quota: none. "
                "ZRUN_CPUS: at most 5 CPUs."
            ),
        ),
        (
            CpuCount(1, "quota", machine=8, quota=0.5, quota_directory="/sys/fs/cgroup/job"),
            (
                "1 CPU, limited by the cgroup quota. Affinity: unknown on this platform; the machine's 8 CPUs. "
                "Quota: 0.5 CPUs, rounded up, in /sys/fs/cgroup/job. ZRUN_CPUS: not set."
            ),
        ),
        (
            CpuCount(1, "override", machine=8, affinity=8, override=1),
            "1 CPU, limited by ZRUN_CPUS. Affinity: 8 of the machine's 8 CPUs. Quota: none. ZRUN_CPUS: at most 1 CPU.",
        ),
    ],
)
def test_the_count_explains_itself(count, text):
    assert count.explain() == text


# -- memory -------------------------------------------------------------------------------------------------------


def test_the_memory_of_this_machine_is_more_than_nothing():
    memory = available_memory()
    assert memory.bytes is None or memory.bytes > 0


@pytest.mark.parametrize(
    ("rows", "bytes_"),
    [
        (["MemFree:  100 kB", "MemAvailable:  300 kB"], 300 * 1024),
        (["MemFree:  100 kB", "Cached: 900 kB"], 100 * 1024),
        (["MemAvailable:  300 MB", "MemFree: 7 kB"], 7 * 1024),
        (["MemAvailable:", "MemAvailable kB", "MemFree: 7 kB"], 7 * 1024),
        (["MemAvailable: 0 kB"], 0),
    ],
)
def test_free_memory_is_read_from_meminfo(rows, bytes_, tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("\n".join(rows), encoding="ascii")
    memory = available_memory(root=str(tmp_path))
    assert (memory.bytes, memory.limited_by) == (bytes_, "machine")


@pytest.mark.parametrize(
    ("known", "bytes_"),
    [
        ({"SC_AVPHYS_PAGES": 10, "SC_PHYS_PAGES": 100, "SC_PAGE_SIZE": 4096}, 40960),
        ({"SC_PHYS_PAGES": 100, "SC_PAGE_SIZE": 4096}, 204800),
        ({"SC_AVPHYS_PAGES": -1, "SC_PHYS_PAGES": 100, "SC_PAGE_SIZE": 4096}, 204800),
        ({"SC_PHYS_PAGES": 100}, None),
        ({"SC_PAGE_SIZE": 4096}, None),
        ({}, None),
        (None, None),
    ],
)
def test_without_meminfo_the_system_is_asked_as_far_as_it_answers(known, bytes_, monkeypatch):
    def sysconf(name):
        if name not in known:
            raise ValueError("unrecognized configuration name")
        return known[name]

    if known is None:
        monkeypatch.delattr(os, "sysconf", raising=False)
    else:
        monkeypatch.setattr(os, "sysconf", sysconf, raising=False)
    memory = available_memory(root="/no/such/tree")
    assert (memory.bytes, memory.limited_by) == (bytes_, "unknown" if bytes_ is None else "machine")


@pytest.mark.parametrize(
    ("machine", "limits", "bytes_", "limited_by", "text"),
    [
        (None, [], None, "unknown", "Unknown on this platform."),
        (5_000_000, [], 5_000_000, "machine", "5 MB, which is free on the machine; no cgroup limits it."),
        (
            5_000_000,
            [(9_000_000, 10_000_000, "/a"), (7_000_000, 20_000_000, "/b")],
            5_000_000,
            "machine",
            "5 MB, which is free on the machine; 7 MB are left below the limit of 20 MB in /b.",
        ),
        (
            5_000_000,
            [(3_000_000, 10_000_000, "/a")],
            3_000_000,
            "cgroup",
            "3 MB, which is left below the limit of 10 MB in /a; free on the machine: 5 MB.",
        ),
        (
            None,
            [(3_000_000, 10_000_000, "/a")],
            3_000_000,
            "cgroup",
            "3 MB, which is left below the limit of 10 MB in /a; free on the machine: unknown.",
        ),
    ],
)
def test_available_memory_is_the_least_and_explains_itself(machine, limits, bytes_, limited_by, text, monkeypatch):
    monkeypatch.setattr(_memory, "_machine", lambda root: machine)
    monkeypatch.setattr(_memory, "own_groups", lambda controller, root: limits)
    monkeypatch.setattr(_memory, "_limits", lambda group: [_memory._Limit(*group)])
    memory = available_memory()
    assert isinstance(memory, AvailableMemory)
    assert (memory.bytes, memory.limited_by, memory.explain()) == (bytes_, limited_by, text)


@pytest.mark.parametrize(
    ("n", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (999_499, "999 kB"),
        (999_600, "1 MB"),
        (16_777_216, "16.8 MB"),
        (1_500_000_000, "1.5 GB"),
        (2 * 10**12, "2 TB"),
        (10**15, "1000 TB"),
    ],
)
def test_bytes_are_written_for_people(n, text):
    assert format_bytes(n) == text
