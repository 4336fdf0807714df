"""CPU quotas and memory limits of cgroups, on recorded trees of files and, where it can be made, on a real group."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zrun_core import _cgroups
from zrun_core._cgroups import own_groups
from zrun_core._cpus import count_cpus
from zrun_core._memory import available_memory

TREES = sorted((Path(__file__).parent / "data" / "cgroups").glob("*.json"))
MOUNT = "31 24 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw"


def plant(root, files):
    """Write files, given as path -> text or lines, below `root`."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text if isinstance(text, str) else "".join(f"{line}\n" for line in text), encoding="utf-8")


@pytest.fixture
def large_machine(monkeypatch):
    """64 CPUs, all of which the process may use."""
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)


@pytest.mark.usefixtures("large_machine")
@pytest.mark.parametrize("path", TREES, ids=lambda path: path.stem)
def test_a_recorded_tree_is_read_as_its_kernel_means_it(path, tmp_path):
    tree = json.loads(path.read_text(encoding="utf-8"))
    plant(tmp_path, tree["files"])
    expected = tree["expected"]

    count = count_cpus(root=str(tmp_path))
    memory = available_memory(root=str(tmp_path))

    def below(name):
        return None if expected[name] is None else str(tmp_path / expected[name])

    assert (count.count, count.quota, count.quota_directory) == (
        expected["cpus"],
        expected["quota"],
        below("quota_directory"),
    )
    assert (memory.bytes, memory.group_directory) == (expected["memory"], below("memory_directory"))
    assert count.limited_by == ("machine" if expected["quota"] is None else "quota")
    assert memory.limited_by == ("machine" if expected["memory_directory"] is None else "cgroup")


@pytest.mark.usefixtures("large_machine")
@pytest.mark.parametrize(
    ("text", "quota", "count"),
    [
        ("max 100000", None, 64),
        ("100000 100000", 1.0, 1),
        ("100001 100000", 1.00001, 2),
        ("1 1000000", 1e-6, 1),
        ("6400000 100000", 64.0, 64),
        ("9900000 100000", 99.0, 64),
        ("", None, 64),
        ("\n", None, 64),
        ("max", None, 64),
        ("100000", None, 64),
        ("100000 0", None, 64),
        ("100000 -5", None, 64),
        ("0 100000", None, 64),
        ("-1 100000", None, 64),
        ("100000 100000 7", None, 64),
        ("1.5 1", None, 64),
        ("nan inf", None, 64),
        ("9" * 30 + " 1", None, 64),
        ("9" * 5000 + " 1", None, 64),
        ("\udcff 1", None, 64),
    ],
)
def test_every_text_of_cpu_max_is_understood_or_sets_no_limit(text, quota, count, tmp_path):
    plant(tmp_path, {"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": f"{MOUNT}\n"})
    plant(tmp_path, {"sys/fs/cgroup/cgroup.controllers": "cpu\n"})
    (tmp_path / "sys/fs/cgroup/cpu.max").write_bytes(text.encode("utf-8", errors="surrogateescape"))
    found = count_cpus(root=str(tmp_path))
    assert (found.quota, found.count) == (quota, count)


@pytest.mark.usefixtures("large_machine")
@pytest.mark.parametrize(
    ("quota", "period", "cpus"),
    [
        ("250000", "100000", 2.5),
        ("-1", "100000", None),
        ("0", "100000", None),
        ("250000", "0", None),
        ("250000", "", None),
        ("250000", None, None),
        (None, "100000", None),
        ("many", "100000", None),
    ],
)
def test_every_text_of_a_version_1_quota_is_understood_or_sets_no_limit(quota, period, cpus, tmp_path):
    plant(tmp_path, {"proc/self/cgroup": "4:cpu,cpuacct:/job\n"})
    mount = "36 30 0:32 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
    plant(tmp_path, {"proc/self/mountinfo": mount, "sys/fs/cgroup/cpu/job/tasks": "1\n"})
    files = {"cpu.cfs_quota_us": quota, "cpu.cfs_period_us": period}
    plant(tmp_path / "sys/fs/cgroup/cpu/job", {name: text for name, text in files.items() if text is not None})
    assert count_cpus(root=str(tmp_path)).quota == cpus


@pytest.mark.usefixtures("large_machine")
def test_a_file_that_cannot_be_read_sets_no_limit(tmp_path):
    # Check that an error of the operating system is as good as no file: here, a directory where a file should be.
    plant(tmp_path, {"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": f"{MOUNT}\n"})
    for name in ("cpu.max", "memory.max", "memory.current"):
        (tmp_path / "sys/fs/cgroup" / name).mkdir(parents=True)
    assert count_cpus(root=str(tmp_path)).quota is None
    assert available_memory(root=str(tmp_path)).group is None


@pytest.mark.parametrize(
    "line",
    ["", "0", "0:", "::", "cpu", "0::\0", "9:name=systemd:/x", "1:memory:/m", ":::::", "0::/x y/z", "0::relative"],
)
def test_a_malformed_line_of_proc_self_cgroup_is_skipped(line, tmp_path):
    plant(tmp_path, {"proc/self/cgroup": [line, "0::/job"], "proc/self/mountinfo": [MOUNT]})
    plant(tmp_path, {"sys/fs/cgroup/job/cpu.max": "10000 100000"})
    assert count_cpus(root=str(tmp_path)).quota == 0.1


@pytest.mark.parametrize("line", ["", " - ", "31 24 0:27 /", "31 24 0:27 / /x rw - cgroup2", "a b c d e - ext4 x y"])
def test_a_malformed_line_of_mountinfo_is_skipped(line, tmp_path):
    plant(tmp_path, {"proc/self/cgroup": ["0::/"], "proc/self/mountinfo": [line, MOUNT]})
    plant(tmp_path, {"sys/fs/cgroup/cpu.max": "10000 100000"})
    assert own_groups("cpu", str(tmp_path)) == (_cgroups.Group(2, f"{tmp_path}/sys/fs/cgroup"),)
    assert count_cpus(root=f"{tmp_path}/").quota == 0.1


@given(st.text(alphabet=st.sampled_from("0:/-. cpu,max\n\\14\0é12"), max_size=60), st.data())
def test_no_content_of_any_file_ends_in_an_error(tmp_path_factory, text, data):
    root = tmp_path_factory.getbasetemp() / "any"
    names = [
        "proc/self/cgroup",
        "proc/self/mountinfo",
        "proc/meminfo",
        *(
            f"sys/fs/cgroup/{name}"
            for name in ("cpu.max", "memory.max", "memory.high", "memory.current", "memory.stat")
        ),
    ]
    good = {
        "proc/self/cgroup": "0::/\n",
        "proc/self/mountinfo": f"{MOUNT}\n",
        "proc/meminfo": "MemAvailable: 1 kB\n",
        "sys/fs/cgroup/memory.max": "4096\n",
    }
    plant(root, {name: good.get(name, "1 2") for name in names} | {data.draw(st.sampled_from(names)): text})
    assert count_cpus(root=str(root)).count >= 1
    memory = available_memory(root=str(root))
    assert memory.bytes is None or memory.bytes >= 0


def make_groups(own, quotas, made):
    """Make nested cgroups below `own`, each with a quota in CPUs or None; append the directories to `made`."""
    directory = Path(own.directory)
    for level, quota in enumerate(quotas):
        directory = directory / f"zrun-test-{os.getpid()}-{level}"
        directory.mkdir()
        made.append(directory)
        if quota is not None and own.version == 1:
            (directory / "cpu.cfs_period_us").write_text("100000")
            (directory / "cpu.cfs_quota_us").write_text(str(int(quota * 100000)))
        elif quota is not None:
            (directory / "cpu.max").write_text(f"{int(quota * 100000)} 100000")


@pytest.fixture
def real_group(request):
    """The directory of a real cgroup with the quotas of the test's parameter, outermost first."""
    # The innermost group of each version; one that does not account CPU time here has no file with a quota.
    own = {group.version: group for group in own_groups("cpu") if Path(group.directory, "cgroup.procs").exists()}
    accounting = [group for group in own.values() if group.read_number("cpu.cfs_quota_us") or group.read("cpu.max")]
    if not accounting:
        pytest.skip("this machine has no cgroup of this process that accounts CPU time")
    made = []
    try:
        try:
            make_groups(accounting[0], request.param, made)
        except OSError as error:
            pytest.skip(f"no cgroup with a quota can be made here: {error}")
        yield made[-1]
    finally:
        for directory in reversed(made):
            directory.rmdir()


@pytest.mark.parametrize(
    ("real_group", "least", "level"),
    [((0.5,), 0.5, 0), ((0.5, None), 0.5, 0), ((None, 0.5), 0.5, 1), ((4.0, 0.25, None), 0.25, 1)],
    indirect=["real_group"],
)
def test_a_process_in_a_real_group_counts_by_its_quota(real_group, least, level):
    program = """
import os, sys
with open(os.path.join(sys.argv[1], "cgroup.procs"), "w") as file:
    file.write(str(os.getpid()))
from zrun_core._cpus import count_cpus
count = count_cpus()
print(count.count, count.quota, os.path.basename(count.quota_directory))
"""
    command = [sys.executable, "-W", "error", "-c", program, str(real_group)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.split() == ["1", str(least), f"zrun-test-{os.getpid()}-{level}"]


def test_the_kernel_lists_this_process_in_the_groups_found():
    innermost = {group.version: Path(group.directory, "cgroup.procs") for group in own_groups("cpu")}
    lists = [path.read_text(encoding="ascii").split() for path in innermost.values() if path.is_file()]
    if not lists:
        pytest.skip("this machine has no cgroup tree for CPUs")
    assert all(str(os.getpid()) in pids for pids in lists)


def test_a_process_in_a_real_group_has_what_its_memory_limit_leaves():
    own = [group for group in own_groups("memory") if Path(group.directory, "cgroup.procs").exists()]
    if not own:
        pytest.skip("this machine has no cgroup of this process that accounts memory")
    group = Path(own[0].directory, f"zrun-test-memory-{os.getpid()}")
    name = "memory.limit_in_bytes" if own[0].version == 1 else "memory.max"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup can be made here: {error}")
    try:
        try:
            (group / name).write_text(str(300 * 2**20))
        except OSError as error:
            pytest.skip(f"no cgroup with a limit can be made here: {error}")
        program = """
import os, sys
with open(os.path.join(sys.argv[1], "cgroup.procs"), "w") as file:
    file.write(str(os.getpid()))
from zrun_core import available_memory
before = available_memory()
taken = bytearray(b"x" * 2**20) * 100
after = available_memory()
print(before.limited_by, before.group_limit // 2**20, os.path.basename(before.group_directory))
print(round((before.bytes - after.bytes) / len(taken)))
"""
        command = [sys.executable, "-W", "error", "-c", program, str(group)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.stderr == ""
        assert done.stdout.split() == ["cgroup", "300", group.name, "1"]
    finally:
        group.rmdir()
