"""Fault 11: a setting that is stated and not applied; here what the pool of CPUs itself promises."""

from __future__ import annotations

import pytest

from zrun_core._cpus import count_cpus
from zrun_core._leases import CpuPool
from zrun_core.errors import CpuError


def test_a_size_that_was_set_is_the_size_that_is_used():
    # Setting 3 CPUs used to leave the limits that were in force before.
    pool = CpuPool(8)
    pool.resize(3)
    assert (pool.n_cpu, pool.available) == (3, 3)
    with pool.acquire() as cpus:
        assert cpus == 3


@pytest.mark.parametrize("n_cpu", [2.0, None, "auto", 0, True])
def test_a_size_that_cannot_be_applied_is_an_error_and_changes_nothing(n_cpu):
    # A float or None used to end in an UnboundLocalError.
    pool = CpuPool(8)
    with pytest.raises((TypeError, CpuError), match="n_cpu must be an integer"):
        pool.resize(n_cpu)
    assert (pool.n_cpu, pool.available) == (8, 8)


def test_a_quota_of_the_container_is_counted(tmp_path):
    # "auto" used to mean the affinity alone, so that a container with a quota got as many threads as the host has CPUs.
    files = {
        "proc/self/cgroup": "0::/\n",
        "proc/self/mountinfo": "31 24 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
        "sys/fs/cgroup/cpu.max": "50000 100000\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="ascii")
    count = count_cpus(root=str(tmp_path))
    assert (count.count, count.quota) == (1, 0.5)


def test_the_number_of_cpus_is_an_int_and_not_the_length_of_a_list():
    assert type(CpuPool(3).n_cpu) is int
    assert type(count_cpus().count) is int
