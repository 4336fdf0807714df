"""How many threads there are, counted by the kernel, in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from zrun_tf._blas import BlasPool

CPUS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
TASKS = Path("/proc/self/task")
QUOTAS = Path("/sys/fs/cgroup/cpu")

counts_threads = pytest.mark.skipif(not TASKS.is_dir(), reason="this platform does not list threads")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")

# Keras imports pandas where it is installed, and that pyarrow, whose allocator has a thread of its own.
PRELUDE = """
import json, os, sys
sys.modules["pyarrow"] = None
def threads():
    return len(os.listdir("/proc/self/task"))
def say(**what):
    print(json.dumps(what))
"""
FIRST_OPERATION = """
import tensorflow as tf
before = threads()
tf.constant(1.0) + 1.0
from zrun_tf._threads import thread_report
report = thread_report()
say(before=before, after=threads(), now=report.now, said=report.before, text=run.cpu_report(), n_cpu=run.n_cpu,
    intra=report.intra, inter=report.inter, blas=[pool.threads for pool in report.blas])
"""


def program(*parts, env=None, prefix=(), file=None):
    """Run a program and return what it said last, from JSON."""
    source = textwrap.dedent("\n".join([PRELUDE, *map(textwrap.dedent, parts)]))
    clean = {name: text for name, text in os.environ.items() if not name.startswith("ZRUN_") and "THREADS" not in name}
    clean |= env or {}
    command = [*prefix, sys.executable, *(["-c", source] if file is None else [str(file)])]
    if file is not None:
        file.write_text(source)
    folder = None if file is None else file.parent
    done = subprocess.run(command, env=clean, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def stated(cpus, blas=None, libraries=1):
    """What the documentation states: main, BLAS without the caller, two pools of TensorFlow, and its helper."""
    return 1 + libraries * ((cpus if blas is None else blas) - 1) + 2 * cpus + 1


def of_each(seen, threads):
    """Whether NumPy's BLAS, and SciPy's where TensorFlow imports it (up to 2.17), has this many threads."""
    return len(seen) in (1, 2) and seen == [threads] * len(seen)


@counts_threads
def test_a_number_from_the_environment_is_the_number_of_threads():
    seen = program("from zrun_tf import run", FIRST_OPERATION, env={"ZRUN_CPUS": "1"})
    assert (seen["n_cpu"], seen["intra"], seen["inter"]) == (1, 1, 1)
    assert of_each(seen["blas"], 1)
    assert seen["after"] == stated(1) == 4
    assert sum(seen["now"].values()) == seen["after"]
    assert seen["said"] == seen["before"] == 1
    assert f"Threads of this process: 1 before TensorFlow started, {seen['after']} now" in seen["text"]


@counts_threads
@pytest.mark.parametrize("cpus", [1, 2, 5])
def test_a_number_set_in_time_is_the_number_of_threads(cpus):
    seen = program(f"from zrun_tf import run\nrun.set_n_cpu({cpus})", FIRST_OPERATION)
    # NumPy is there before the number is: its BLAS has a thread per CPU, and is told to use fewer.
    assert of_each(seen["blas"], min(cpus, CPUS))
    assert seen["after"] == stated(cpus, CPUS, len(seen["blas"]))
    pools = seen["now"]
    assert pools["TensorFlow, between operations"] == pools["TensorFlow, within operations"] == cpus
    assert pools["Python"] == 1


@counts_threads
def test_two_counts_are_set_one_by_one():
    pools = program("from zrun_tf import run\nrun.set_cpus_explicit(intra=3, inter=2)", FIRST_OPERATION)["now"]
    assert (pools["TensorFlow, within operations"], pools["TensorFlow, between operations"]) == (3, 2)


@counts_threads
def test_strict_means_one_thread_within_operations():
    pools = program("from zrun_tf import run\nrun.set_n_cpu(3, strict=True)", FIRST_OPERATION)["now"]
    assert (pools["TensorFlow, within operations"], pools["TensorFlow, between operations"]) == (1, 3)


@counts_threads
def test_the_command_limits_what_zrun_comes_too_late_for(tmp_path):
    # Check that NumPy and TensorFlow may be imported first, and zrun not at all.
    source = "import numpy, tensorflow as tf\nbefore = threads()\ntf.constant(1.0) + 1.0\n"
    source += "say(before=before, after=threads())"
    prefix = (sys.executable, "-m", "zrun_tf.cli", "run", "-q", "--cpus", "1")
    (tmp_path / "program.py").write_text(PRELUDE + source)
    done = subprocess.run(
        [*prefix, "program.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert json.loads(done.stdout) == {"before": 1, "after": stated(1)}


FAKED_QUOTA = """
import zrun_core._cpus as cpus
cpus._least_quota = lambda root: (50_000, 100_000, "/sys/fs/cgroup/job")
"""


@counts_threads
def test_a_quota_is_the_number_of_threads_without_being_asked():
    seen = program(FAKED_QUOTA, "from zrun_tf import run", FIRST_OPERATION)
    assert (seen["n_cpu"], seen["after"]) == (1, stated(1))
    assert of_each(seen["blas"], 1)
    assert "1 CPU, limited by the cgroup quota" in seen["text"]


@counts_threads
@pytest.mark.parametrize(
    ("first", "env"),
    [
        ("import tensorflow as tf\ntf.config.threading.set_intra_op_parallelism_threads(3)", {}),
        ("", {"TF_NUM_INTRAOP_THREADS": "3"}),
    ],
)
def test_a_quota_does_not_overrule_what_the_user_has_set(first, env):
    pools = program(FAKED_QUOTA, first, "from zrun_tf import run", FIRST_OPERATION, env=env)["now"]
    assert pools["TensorFlow, within operations"] == 3


@pytest.fixture
def quota():
    """A cgroup of its own that allows one CPU; skipped where this process may not make one."""
    group = QUOTAS / f"zrun-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        pytest.skip("no cgroup can be made here")
    try:
        (group / "cpu.cfs_quota_us").write_text("100000")
    except OSError:
        group.rmdir()
        pytest.skip("no quota can be set here")
    yield group
    group.rmdir()


@counts_threads
def test_a_real_quota_is_the_number_of_threads(quota):
    enter = ("sh", "-c", f'echo $$ > {quota}/cgroup.procs && exec "$@"', "sh")
    seen = program("from zrun_tf import run", FIRST_OPERATION, prefix=enter)
    assert (seen["n_cpu"], seen["after"], seen["intra"], seen["inter"]) == (1, stated(1), 1, 1)
    assert str(quota) in seen["text"]


TOO_LATE = """
from zrun_core.errors import RuntimeStartedError
def attempt(act):
    try:
        act()
        return ""
    except RuntimeStartedError as error:
        return str(error)
"""


def test_too_late_says_where_tensorflow_started_and_what_to_do(tmp_path):
    seen = program(
        TOO_LATE,
        """
        from zrun_tf import run
        run.set_n_cpu(1)
        import tensorflow as tf
        x = tf.constant(1.0)  # here
        say(same=attempt(lambda: run.set_n_cpu(1)), other=attempt(lambda: run.set_n_cpu(2)), n_cpu=run.n_cpu,
            one_by_one=attempt(lambda: run.set_cpus_explicit(1, 4)), repeated=attempt(lambda: run.set_n_cpu("auto")),
            line=[i for i, line in enumerate(open(__file__), 1) if line.rstrip().endswith("# here")][0])
        """,
        file=tmp_path / "program.py",
    )
    assert seen["same"] == ""
    assert f"had started already (at program.py:{seen['line']}) with 1 thread within operations and 1" in seen["other"]
    for way in ("'zrun run --cpus 2 ...'", "ZRUN_CPUS=2", "run.set_n_cpu(2) before the first TensorFlow operation"):
        assert way in seen["other"]
    assert "cannot change to 1 and 4" in seen["one_by_one"]
    assert seen["n_cpu"] == 1


def test_too_late_before_zrun_was_there(tmp_path):
    seen = program(
        TOO_LATE,
        f"""
        import tensorflow as tf
        x = tf.constant(1.0)
        from zrun_tf import run
        say(own=attempt(lambda: run.set_n_cpu({CPUS})), other=attempt(lambda: run.set_n_cpu({CPUS + 1})),
            text=run.cpu_report(), auto=attempt(lambda: run.set_n_cpu("auto")))
        """,
        file=tmp_path / "program.py",
    )
    # TensorFlow's own choice is the number of CPUs, so that number is the same value.
    assert (seen["own"], seen["auto"]) == ("", "")
    assert "had started already (before zrun_tf was imported (program.py:" in seen["other"]
    assert "before zrun_tf was imported" in seen["text"]


def test_it_works_where_no_private_symbol_is_there():
    seen = program(
        TOO_LATE,
        """
        import tensorflow as tf, zrun_tf._dispatch as dispatch
        dispatch._found["context"] = None
        from zrun_tf import run
        from zrun_tf._threads import started, effective_threads
        before = started()
        run.set_n_cpu(3)
        asked = effective_threads()
        tf.constant(1.0)
        say(before=before, after=started(), asked=asked, other=attempt(lambda: run.set_n_cpu(2)),
            same=attempt(lambda: run.set_n_cpu(3)), text=run.cpu_report())
        """,
    )
    assert (seen["before"], seen["after"], seen["asked"], seen["same"]) == (False, True, [3, 3], "")
    assert "had started already (after zrun_tf was imported) with 3 threads" in seen["other"]
    assert "has started, after zrun_tf was imported, with 3 threads" in seen["text"]


def test_asking_changes_nothing_and_starts_nothing():
    seen = program("""
        import tensorflow as tf
        from zrun_tf import run
        first = [run.cpu_report() for _ in range(3)]
        config = tf.config.threading
        config.set_intra_op_parallelism_threads(7)
        config.set_inter_op_parallelism_threads(6)
        say(same=len(set(first)), text=run.cpu_report(),
            now=[config.get_intra_op_parallelism_threads(), config.get_inter_op_parallelism_threads()])
    """)
    assert seen["same"] == 1
    assert seen["now"] == [7, 6]
    assert "has not started; it is set with 7 threads within operations and 6 between them" in seen["text"]


def test_blas_is_told_once_and_not_around_each_call():
    seen = program("""
        import threadpoolctl
        asked = []
        real = threadpoolctl.ThreadpoolController.__init__
        def counted(self):
            asked.append(1)
            real(self)
        threadpoolctl.ThreadpoolController.__init__ = counted
        import zrun_tf as zrun
        imported = len(asked)
        zrun.run.set_n_cpu(1)
        told = len(asked)
        double = zrun.function(lambda x: 2 * x)
        for _ in range(20):
            double(1.0)
        say(imported=imported, told=told, after=len(asked))
    """)
    assert seen == {"imported": 0, "told": 1, "after": 1}


def test_blas_goes_back_up_but_not_over_what_the_user_set():
    seen = program(
        """
        from zrun_tf import run
        from zrun_tf._blas import blas_pools
        told = []
        for n in (1, 2, 8):
            run.set_n_cpu(n)
            told.append([pool.threads for pool in blas_pools()])
        say(told=told)
        """,
        env={"OPENBLAS_NUM_THREADS": str(min(2, CPUS))},
    )
    most = min(2, CPUS)
    assert all(of_each(told, threads) for told, threads in zip(seen["told"], [1, most, most], strict=True))


def test_a_library_is_named_after_the_package_that_brought_it():
    folder = "/lib/python3.10/site-packages"
    files = [f"{folder}/numpy.libs/libscipy_openblas64_-6bb31eeb.so", f"{folder}/scipy.libs/libopenblasp-r0-0f46a.so"]
    files.append(f"{folder}/scipy/.dylibs/libscipy_openblas.dylib")
    assert [BlasPool("openblas", file, 1).owner for file in files] == ["NumPy", "SciPy", "SciPy"]


def test_without_threadpoolctl_it_says_what_it_does_not_know():
    seen = program("""
        sys.modules["threadpoolctl"] = None
        from zrun_tf import run
        run.set_n_cpu(1)
        say(text=run.cpu_report())
    """)
    assert "NumPy's BLAS: not known; install threadpoolctl" in seen["text"]


@needs_fork
def test_a_fork_after_tensorflow_has_started_is_refused_instead_of_hanging():
    seen = program("""
        import signal
        import tensorflow as tf
        import zrun_tf as zrun
        from zrun_tf import errors

        @zrun.function
        def double(x):
            return 2 * x

        loss = zrun.objective(lambda x: tf.reduce_sum(x * x), [1.0, 2.0])

        def in_child(act):
            # What the act raises in a forked child.
            reading, writing = os.pipe()
            child = os.fork()
            if child == 0:
                signal.alarm(60)
                try:
                    act()
                    said = "nothing"
                except errors.RuntimeStartedError as error:
                    said = str(error)
                os.write(writing, said.encode())
                os._exit(0)
            os.close(writing)
            said = b""
            while part := os.read(reading, 4096):
                said += part
            os.waitpid(child, 0)
            return said.decode()

        def eager():
            with zrun.run.using(graph=False):
                double(1.0)

        def grandchild():
            if in_child(known) != "nothing":
                known()

        def known():
            double(1.0)

        early = in_child(known)
        double(1.0), loss.value([1.0, 2.0])
        acts = {
            "known": known, "new": lambda: double(tf.constant([1.0])), "eager": eager, "grandchild": grandchild,
            "gradient": lambda: zrun.gradient(lambda x: x * x, 1.0), "objective": lambda: loss.value([3.0, 4.0]),
            "numerical": lambda: zrun.gradient(lambda x: x * x, 1.0, autograd=False),
            "elsewhere": lambda: zrun.run.n_cpu,
        }
        say(early=early, after=float(double(2.0)), **{name: in_child(act) for name, act in acts.items()})
    """)
    # A fork before the start is fine, and so is what needs no TensorFlow. The parent goes on.
    assert (seen.pop("early"), seen.pop("elsewhere"), seen.pop("after")) == ("nothing", "nothing", 4.0)
    for said in seen.values():
        assert "forked after TensorFlow had started" in said
        assert "multiprocessing.get_context('spawn')" in said


@needs_fork
def test_a_forked_pool_hands_the_error_to_its_parent(tmp_path):
    seen = program(
        """
        import multiprocessing as mp, warnings
        import zrun_tf as zrun
        warnings.simplefilter("ignore")

        @zrun.function
        def double(x):
            return 2 * x

        def work(x):
            return float(double(x))

        double(1.0)
        with mp.get_context("fork").Pool(1) as pool:
            try:
                pool.map_async(work, [1.0]).get(timeout=100)
                said = "nothing"
            except zrun.errors.RuntimeStartedError as error:
                said = str(error)
        say(said=said)
        """,
        file=tmp_path / "program.py",
    )
    assert "forked after TensorFlow had started" in seen["said"]


def test_threads_that_lease_never_hold_more_than_there_are():
    seen = program("""
        import threading, time
        from concurrent.futures import ThreadPoolExecutor
        import zrun_tf as zrun
        zrun.run.set_n_cpu(3)
        held, most, guard = 0, 0, threading.Lock()

        @zrun.function
        def work(x):
            return x * x

        def toy(seed):
            global held, most
            with zrun.run.acquire_cpu(max_cpu=1 + seed % 2) as cpus:
                with guard:
                    held += cpus
                    most = max(most, held)
                result = float(work(float(seed)))
                time.sleep(0.002)
                with guard:
                    held -= cpus
            return result

        with ThreadPoolExecutor(max_workers=12) as pool:
            results = list(pool.map(zrun.run.bind(toy), range(60)))
        say(most=most, results=results, left=held, text=zrun.run.cpu_report())
    """)
    assert seen["most"] == 3
    assert seen["left"] == 0
    assert seen["results"] == [float(seed * seed) for seed in range(60)]
    assert "3 of 3 CPUs are free" in seen["text"]


@counts_threads
def test_spawned_workers_have_no_more_threads_together_than_were_leased(tmp_path):
    seen = program(
        """
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context
        import time
        import zrun_tf as zrun

        def start(cpus):
            zrun.run.set_n_cpu(cpus)

        def work(x):
            import tensorflow as tf
            from zrun_tf._threads import thread_report
            value = float(tf.constant(x) * 2.0)
            time.sleep(0.5)  # so that each worker gets something
            report = thread_report()
            return os.getpid(), value, report.now, report.started_at

        if __name__ == "__main__":
            zrun.run.set_n_cpu(4)
            with zrun.run.acquire_cpu() as cpus:
                workers = 2
                with ProcessPoolExecutor(
                    workers, mp_context=get_context("spawn"), initializer=start, initargs=(cpus // workers,)
                ) as pool:
                    done = list(pool.map(work, [1.0, 2.0, 3.0, 4.0]))
            say(cpus=cpus, done=done)
        """,
        file=tmp_path / "program.py",
    )
    assert seen["cpus"] == 4
    assert [value for _, value, _, _ in seen["done"]] == [2.0, 4.0, 6.0, 8.0]
    by_process = {pid: pools for pid, _, pools, _ in seen["done"]}
    for pool in ("TensorFlow, within operations", "TensorFlow, between operations"):
        assert sum(pools[pool] for pools in by_process.values()) <= 4
        assert all(pools[pool] == 2 for pools in by_process.values())


def test_threads_may_race_to_the_first_call():
    # This used to crash: a tensor was made while another thread was still starting TensorFlow.
    seen = program("""
        import threading
        import zrun_tf as zrun

        @zrun.function
        def work(x):
            return x * x

        start, results = threading.Barrier(8), []

        def call(x):
            start.wait()
            results.append(float(work(x)))

        workers = [threading.Thread(target=call, args=(float(x),)) for x in range(8)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        say(results=sorted(results))
    """)
    assert seen["results"] == [float(x * x) for x in range(8)]
