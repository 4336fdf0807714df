"""Leases of CPUs between the processes of one user."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from zrun_core import _leases, _locks
from zrun_core._leases import CpuPool
from zrun_core._locks import lock_directory
from zrun_core.errors import CpuError, CpuLeaseTimeoutError

fcntl = pytest.importorskip("fcntl", reason="shared leases need the file locks of POSIX")

LONG = 60

HOLDER = """
import sys
from zrun_core._leases import CpuPool

with CpuPool(int(sys.argv[2]), lock_directory=sys.argv[1]).acquire(int(sys.argv[3]), shared=True) as cpus:
    print(*cpus.numbers, flush=True)
    sys.stdin.read()
print("left", flush=True)
"""


class Other:
    """Another process that holds a shared lease until it is told to leave, or killed."""

    def __init__(self, directory, n_cpu, max_cpu, program=HOLDER):
        command = [sys.executable, "-W", "error", "-c", program, str(directory), str(n_cpu), str(max_cpu)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.numbers = tuple(map(int, self.process.stdout.readline().split()))
        self.pid = self.process.pid

    def leave(self):
        out, _ = self.process.communicate(timeout=LONG)
        assert (self.process.returncode, out) == (0, "left\n")

    def kill(self):
        self.process.kill()
        self.process.communicate(timeout=LONG)
        assert self.process.returncode != 0

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def locks(tmp_path):
    """A directory for lock files that does not exist yet."""
    return tmp_path / "locks"


# -- between processes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["leave", "kill"])
def test_what_one_process_holds_another_gets_when_it_leaves_or_dies(end, locks):
    pool = CpuPool(2, lock_directory=locks)
    with Other(locks, 2, -1) as other:
        assert other.numbers == (0, 1)
        message = (
            f"acquire: no CPU became free within 0 s. 2 of 2 CPUs are free in this process; "
            f"locked: CPU 0 by process {other.pid}, CPU 1 by process {other.pid}. "
            "Give a longer timeout, or end another lease first."
        )
        with pytest.raises(CpuLeaseTimeoutError) as caught, pool.acquire(timeout=0, shared=True):
            pass
        assert str(caught.value) == message
        getattr(other, end)()
        with pool.acquire(timeout=LONG, shared=True) as cpus:
            assert (cpus, cpus.numbers, cpus.shared) == (2, (0, 1), True)
    assert pool.available == 2


def test_a_process_gets_what_the_others_left(locks):
    with Other(locks, 3, 1) as one, Other(locks, 3, 1) as two:
        assert (one.numbers, two.numbers) == ((0,), (1,))
        with CpuPool(3, lock_directory=locks).acquire(shared=True) as cpus:
            assert cpus.numbers == (2,)


def test_a_waiting_process_gets_what_another_gives_back(locks):
    with Other(locks, 1, 1) as other, CpuPool(1, lock_directory=locks).acquire(1) as mine:
        # Check that a lease within this process is not seen by the others, nor theirs by it.
        assert mine == 1
        pool = CpuPool(1, lock_directory=locks)
        killer = threading.Timer(0.05, other.kill)
        killer.start()
        with pool.acquire(shared=True) as cpus:
            assert cpus == 1
        killer.join(LONG)


def test_a_process_that_waits_for_another_does_not_hold_up_its_own_threads(locks):
    pool = CpuPool(1, lock_directory=locks)
    with Other(locks, 1, 1) as other:
        got = []

        def waits():
            with pool.acquire(timeout=LONG, shared=True) as cpus:
                got.append(cpus.numbers)

        thread = threading.Thread(target=waits)
        thread.start()
        while not pool._queue.requests:
            time.sleep(0.001)
        with pool.acquire(timeout=LONG) as cpus:
            assert (cpus, cpus.shared) == (1, False)
        assert not got
        other.leave()
        thread.join(LONG)
        assert not thread.is_alive()
    assert got == [(0,)]
    assert pool.available == 1


def test_two_pools_of_one_process_exclude_each_other(locks):
    one, two = (CpuPool(2, lock_directory=locks) for _ in range(2))
    with one.acquire(1, shared=True) as a, two.acquire(shared=True) as b:
        assert (a.numbers, b.numbers) == ((0,), (1,))
        pid = os.getpid()
        with pytest.raises(CpuLeaseTimeoutError, match=rf"CPU 0 by process {pid} \(this one, through another pool\)"):
            two.acquire(timeout=0.01, shared=True).__enter__()
    assert one.available == two.available == 2
    with two.acquire(timeout=0, shared=True) as cpus:
        assert cpus == 2


def test_shared_leases_take_from_the_pool_of_the_process_too(locks):
    pool = CpuPool(3, lock_directory=locks)
    with pool.acquire(1) as a, pool.acquire(1, shared=True) as b, pool.acquire() as c:
        assert [cpus.numbers for cpus in (a, b, c)] == [(0,), (1,), (2,)]
        assert pool.available == 0
    assert pool.available == 3


def test_after_shrinking_a_shared_lease_has_no_more_than_what_is_free(locks):
    pool = CpuPool(4, lock_directory=locks)
    with pool.acquire(3, shared=True) as low, pool.acquire(1, shared=True) as high:
        pool.resize(2)
        low.release()
        with pool.acquire(shared=True) as cpus:
            assert (high.numbers, cpus.numbers, pool.available) == ((3,), (0,), 0)


def test_an_exception_releases_the_locks(locks):
    pool = CpuPool(2, lock_directory=locks)
    with pytest.raises(ZeroDivisionError), pool.acquire(shared=True):
        raise ZeroDivisionError
    with CpuPool(2, lock_directory=locks).acquire(timeout=0, shared=True) as cpus:
        assert cpus == 2


def test_many_processes_and_threads_never_hold_one_cpu_twice(locks, tmp_path):
    # Check with files that only the holder of a CPU may create: a second holder would find it there.
    program = """
import os, sys, threading
from zrun_core._leases import CpuPool
pool = CpuPool(3, lock_directory=sys.argv[1])
faults = []
def hammer():
    for _ in range(40):
        with pool.acquire(2, timeout=60, shared=True) as cpus:
            for number in cpus.numbers:
                try:
                    os.close(os.open(f"{sys.argv[2]}/{number}", os.O_CREAT | os.O_EXCL))
                except FileExistsError:
                    faults.append(number)
            for number in cpus.numbers:
                os.unlink(f"{sys.argv[2]}/{number}")
threads = [threading.Thread(target=hammer) for _ in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
sys.exit(f"held twice: {faults}" if faults or pool.available != 3 else 0)
"""
    held = tmp_path / "held"
    held.mkdir()
    command = [sys.executable, "-W", "error", "-c", program, str(locks), str(held)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    assert [(p.communicate(timeout=LONG)[1], p.returncode) for p in processes] == [("", 0)] * 3


# -- forked processes -----------------------------------------------------------------------------------------------

FORK = """
import os, sys, time
from zrun_core._leases import CpuPool

def grabbed():
    try:
        with CpuPool(1, lock_directory=sys.argv[1]).acquire(timeout=0, shared=True):
            return True
    except TimeoutError:
        return False

pool = CpuPool(1, lock_directory=sys.argv[1])
acquisition = pool.acquire(shared=True)
cpus = acquisition.__enter__()
child = os.fork()
if child == 0:
    # Leaving the parent's lease in the child must not take it from the parent.
    cpus.release()
    acquisition.__exit__(None, None, None)
    assert pool.available == 1
    assert not grabbed()
    print(0, flush=True)
    sys.stdin.read()
    os._exit(0)
"""


def test_a_forked_process_does_not_release_the_lease_of_its_parent(locks):
    program = f"{FORK}\nassert not grabbed()\nsys.stdin.read()\nos.waitpid(child, 0)\nacquisition.__exit__()\n"
    program = program.replace("__exit__()", "__exit__(None, None, None)\nassert grabbed()\nprint('left')")
    with Other(locks, 1, 1, program) as parent:
        parent.leave()


def test_a_forked_process_does_not_keep_the_lease_of_a_parent_that_died(locks):
    # Check that the child has let go of the lock files: it is still alive when the parent is killed.
    with Other(locks, 1, 1, f"{FORK}\ntime.sleep(600)") as parent:
        parent.process.kill()
        with CpuPool(1, lock_directory=locks).acquire(timeout=LONG, shared=True) as cpus:
            assert cpus == 1


def test_forgetting_locks_leaves_them_to_whoever_else_has_the_file(locks):
    # Check in this process, where coverage sees it, what happens in a forked one.
    directory = lock_directory(str(locks))
    mine, others = _locks.CpuLocks(directory), _locks.CpuLocks(directory)
    assert mine.take([0, 1], 2) == (0, 1)
    copies = [os.dup(file) for file in mine._files]
    mine.forget()
    mine.release()
    assert others.take([0, 1], 2) == ()
    for file in copies:
        os.close(file)
    assert others.take([0, 1], 1) == (0,)
    others.release()


def test_releasing_locks_releases_them_for_good(locks):
    # Check that a copy of the file, such as a program started in the meantime may have, does not keep the lock.
    directory = lock_directory(str(locks))
    mine, others = _locks.CpuLocks(directory), _locks.CpuLocks(directory)
    assert mine.take([0], 1) == (0,)
    (copy,) = map(os.dup, mine._files)
    mine.release()
    assert others.take([0], 1) == (0,)
    others.release()
    os.close(copy)


def test_a_renewed_pool_lets_go_of_the_files(locks):
    pool = CpuPool(1, lock_directory=locks)
    with pool.acquire(shared=True):
        (request,) = pool._queue.requests
        pool._queue.renew()
        assert not request.locks._files
    assert pool.available == 1


# -- the files ------------------------------------------------------------------------------------------------------


def test_the_directory_is_made_for_this_user_alone(locks):
    before = os.umask(0)
    try:
        with CpuPool(2, lock_directory=locks).acquire(1, shared=True):
            assert locks.stat().st_mode & 0o777 == 0o700
            (file,) = locks.iterdir()
            assert file.stat().st_mode & 0o777 == 0o600
            assert int(file.read_text(encoding="ascii")) == os.getpid()
    finally:
        os.umask(before)


def test_nothing_is_made_before_a_shared_lease_is_wanted(locks):
    pool = CpuPool(2, lock_directory=locks)
    with pool.acquire():
        pool.acquire(shared=True)
    assert not locks.exists()


def test_a_dead_lock_file_says_nothing(locks):
    locks.mkdir(mode=0o700)
    (locks / "cpu-0.lock").write_text("99999999999\n", encoding="ascii")
    with CpuPool(1, lock_directory=locks).acquire(timeout=0, shared=True) as cpus:
        assert cpus == 1


@pytest.mark.parametrize("text", ["", "not a number", "\xff"])
def test_a_lock_file_without_a_process_still_names_another_process(text, locks):
    locks.mkdir(mode=0o700)
    path = locks / "cpu-0.lock"
    path.write_text(text, encoding="latin-1")
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(CpuLeaseTimeoutError, match="locked: CPU 0 by another process"):
            CpuPool(1, lock_directory=locks).acquire(timeout=0, shared=True).__enter__()


def test_a_directory_open_to_others_is_refused(locks):
    locks.mkdir()
    locks.chmod(0o755)
    pool = CpuPool(1, lock_directory=locks)
    message = rf"{locks}, is open to other users \(mode 0755; needed: 0700\)\. Set XDG_RUNTIME_DIR or pass lock_dir"
    with pytest.raises(CpuError, match=message):
        pool.acquire(shared=True).__enter__()
    assert pool.available == 1
    assert not list(locks.iterdir())


def test_a_directory_of_somebody_else_is_refused(locks, monkeypatch):
    locks.mkdir(mode=0o700)
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(CpuError, match=rf"belongs to user {owner}, not to user {owner + 1} who asks\. Set XDG"):
        lock_directory(str(locks))


def test_a_link_is_refused(locks, tmp_path):
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    locks.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CpuError, match=r"is not a directory\. Set XDG"):
        lock_directory(str(locks))


def test_a_directory_that_cannot_be_made_is_refused(tmp_path):
    with pytest.raises(CpuError, match=r"cannot be used: .*No such file or directory.*Set XDG") as caught:
        lock_directory(str(tmp_path / "missing" / "locks"))
    assert isinstance(caught.value.__cause__, OSError)


def test_a_lock_file_that_cannot_be_opened_is_an_error_and_leaves_no_lock(locks):
    locks.mkdir(mode=0o700)
    (locks / "cpu-1.lock").mkdir()
    pool = CpuPool(2, lock_directory=locks)
    with pytest.raises(CpuError, match=r"cannot be locked for this process: .*cpu-1\.lock.*use shared=False"):
        pool.acquire(shared=True).__enter__()
    assert pool.available == 2
    with pool.acquire(1, timeout=0, shared=True) as cpus:
        assert cpus.numbers == (0,)


def test_a_link_in_place_of_a_lock_file_is_not_followed(locks, tmp_path):
    locks.mkdir(mode=0o700)
    (locks / "cpu-0.lock").symlink_to(tmp_path / "victim")
    with pytest.raises(CpuError, match="cannot be locked"):
        CpuPool(1, lock_directory=locks).acquire(shared=True).__enter__()
    assert not (tmp_path / "victim").exists()


def test_an_error_of_the_files_is_raised_in_the_thread_that_wants_them(locks):
    pool = CpuPool(1, lock_directory=locks)
    errors = []

    def waits():
        try:
            with pool.acquire(shared=True):
                pass
        except CpuError as error:
            errors.append(error)

    with pool.acquire() as cpus:
        thread = threading.Thread(target=waits)
        thread.start()
        while len(pool._queue.requests) < 2:
            time.sleep(0.001)
        (locks / "cpu-0.lock").mkdir()
        cpus.release()
    thread.join(LONG)
    assert [type(error) for error in errors] == [CpuError]
    assert pool.available == 1


def test_locks_left_by_an_interrupted_attempt_are_taken_again(locks):
    held = _locks.CpuLocks(lock_directory(str(locks)))
    assert held.take([0, 1], 2) == (0, 1)
    assert held.take([0, 1], 2) == (0, 1)
    held.release()
    held.release()
    assert held._files == []


# -- where they are -------------------------------------------------------------------------------------------------


def test_the_runtime_directory_of_the_user_is_used(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert lock_directory() == f"{tmp_path}/zrun"
    assert (tmp_path / "zrun").is_dir()


@pytest.mark.parametrize("runtime", ["", "relative", "/no/such/directory", None])
def test_without_a_runtime_directory_it_is_among_the_temporary_files(runtime, tmp_path, monkeypatch):
    if runtime is None:
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    else:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert lock_directory() == f"{tmp_path}/zrun-{os.geteuid()}"


def test_the_runtime_directory_of_another_user_is_not_used(tmp_path, monkeypatch):
    # As left in the environment by a program that changes the user.
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    assert _locks._default_directory() == f"{tmp_path}/zrun-{owner + 1}"


def test_the_directory_may_be_a_path(tmp_path):
    with CpuPool(1, lock_directory=Path(tmp_path) / "x").acquire(shared=True) as cpus:
        assert cpus == 1
    assert (tmp_path / "x" / "cpu-0.lock").is_file()


def load_again(module):
    """Execute the source of a module once more, beside the one that is imported."""
    spec = importlib.util.spec_from_file_location(f"{module.__name__}_again", module.__file__)
    again = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(again)
    return again


def test_a_platform_without_file_locks_says_so_at_once(monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setattr(_leases, "check_supported", load_again(_locks).check_supported)
    pool = CpuPool(1)
    with pytest.raises(CpuError, match=r"shared=True needs the file locks of POSIX.*Use shared=False"):
        pool.acquire(shared=True)
    with pool.acquire() as cpus:
        assert cpus == 1
