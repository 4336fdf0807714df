"""The policy in threads, tasks, pools and processes: seen where it belongs, and nowhere else."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import multiprocessing
import os
import random
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from threading import Barrier, Event, Thread

import pytest

from zrun_core import _scope, run
from zrun_core._scope import current, default

POLICIES = [{"graph": False}, {"graph": True}, {"graph": {"model": True}}, {"autograd": False}, {"chunksize": 5}]


@pytest.fixture(autouse=True)
def _policy_is_left_as_it_was():
    before = default(), current()
    yield
    assert (default(), current()) == before


@pytest.fixture
def busy_interpreter():
    """Switch threads as often as possible."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def in_thread(function, *args):
    """Call a function in a new thread and return what it returns."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *args).result(timeout=60)


def all_together(count, function):
    """Call `function(index)` in many threads at the same time; return the results."""
    barrier = Barrier(count)

    def wait_and_call(index):
        barrier.wait(timeout=60)
        return function(index)

    with ThreadPoolExecutor(count) as pool:
        return [each.result(timeout=60) for each in [pool.submit(wait_and_call, index) for index in range(count)]]


def test_a_block_is_not_seen_by_another_thread():
    with run.using(graph=False):
        assert in_thread(run.current_policy_graph) == "auto"


def test_a_block_in_another_thread_is_not_seen_here():
    entered, leave = Event(), Event()

    def hold():
        with run.using(graph=False):
            entered.set()
            leave.wait(timeout=60)
            return run.current_policy_graph()

    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(hold)
        assert entered.wait(timeout=60)
        assert run.current_policy_graph() == "auto"
        leave.set()
        assert held.result(timeout=60) is False


def test_the_default_is_seen_by_every_thread():
    run.set_mode(graph=False)
    try:
        assert all_together(4, lambda index: run.current_policy_graph()) == [False] * 4
    finally:
        run.set_mode_default()


def test_another_thread_may_set_the_default_while_a_block_is_open_here():
    with run.using(graph=False) as policy:
        in_thread(lambda: run.set_mode(autograd=False))
        # The block holds a whole policy, and goes on holding it.
        assert run.policy is policy
        assert in_thread(run.current_policy_autograd) is False
    assert run.current_policy_autograd() is False
    run.set_mode_default()


def test_threads_that_set_different_parts_do_not_undo_each_other(busy_interpreter):
    # Check that reading the old default and writing the new one is one step.
    def toggle(index):
        for turn in range(300):
            if index:
                run.set_mode(autograd=bool(turn % 2))
                assert default().autograd is bool(turn % 2)
            else:
                run.set_mode(graph=bool(turn % 2))
                assert default().graph is bool(turn % 2)

    try:
        all_together(2, toggle)
        assert dict(run.mode) == {"graph": True, "autograd": True}
    finally:
        run.set_mode_default()


def test_the_first_default_is_made_once(busy_interpreter):
    for _ in range(20):
        process = _scope._Process()
        found = all_together(8, lambda index, process=process: process.first())
        assert all(policy is found[0] for policy in found)


def test_a_pool_of_threads_sees_the_policy_through_bind():
    with run.using(graph={"model": True}, chunksize=3), ThreadPoolExecutor(4) as pool:
        here = run.policy
        bound = [each.result(timeout=60) for each in [pool.submit(run.bind(current)) for _ in range(8)]]
        plain = [each.result(timeout=60) for each in [pool.submit(current) for _ in range(8)]]
        mapped = list(pool.map(run.bind(lambda x: (x, run.chunksize)), range(4)))
    assert bound == [here] * 8
    assert plain == [default()] * 8
    assert mapped == [(x, 3) for x in range(4)]


def test_a_bound_function_leaves_no_policy_in_the_threads_of_a_pool():
    with ThreadPoolExecutor(1) as pool:
        with run.using(graph=False):
            bound = run.bind(current)
        assert pool.submit(bound).result(timeout=60).graph is False
        assert pool.submit(current).result(timeout=60) == default()


def test_a_copied_context_carries_the_policy_but_not_back():
    def change():
        seen = run.current_policy_graph()
        run.using(graph=True).__enter__()
        return seen, run.current_policy_graph()

    with run.using(graph=False):
        copied = contextvars.copy_context()
        assert in_thread(copied.run, change) == (False, True)
        assert run.current_policy_graph() is False


@pytest.mark.parametrize("method", [m for m in ("spawn", "forkserver") if m in multiprocessing.get_all_start_methods()])
def test_a_pool_of_processes_sees_the_policy_through_bind(method):
    with run.using(graph={"model": True, "loss.*": False}, autograd=False):
        here = run.policy
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
            assert pool.submit(run.bind(current)).result(timeout=120) == here
            assert pool.submit(current).result(timeout=120) == default()


FORK = """
import os, threading
from zrun_core import run, _scope, _kinds

run.policy
locked = threading.Event()
def hold():
    with _scope._process.guard.lock, _kinds.KINDS._guard.lock:
        locked.set()
        threading.Event().wait()
threading.Thread(target=hold, daemon=True).start()
locked.wait()
with run.using(graph=False):
    child = os.fork()
    if child == 0:
        inherited = run.current_policy_graph()
if child == 0:
    run.set_mode(autograd=False)
    run.define_kind("profile")
    os._exit(0 if (inherited, run.current_policy_autograd()) == (False, False) else 1)
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_child_can_set_the_default_though_a_thread_held_the_lock():
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FORK], env=environ, timeout=60, check=False)
    assert done.returncode == 0


def test_tasks_have_policies_of_their_own():
    async def task(index, rounds):
        parts = POLICIES[index % len(POLICIES)]
        for _ in range(rounds):
            with run.using(**parts) as policy:
                await asyncio.sleep(0)
                assert run.policy is policy
                with run.using(retrace="error") as inner:
                    await asyncio.sleep(0)
                    assert run.policy is inner
                assert run.policy is policy
            await asyncio.sleep(0)
            assert run.policy == default()

    async def main():
        await asyncio.gather(*(task(index, 20) for index in range(25)))

    asyncio.run(main())


def test_a_task_starts_with_the_policy_it_was_made_under_and_keeps_its_own_changes():
    async def child():
        seen = run.current_policy_graph()
        run.using(graph=True).__enter__()
        await asyncio.sleep(0)
        return seen, run.current_policy_graph()

    async def main():
        with run.using(graph=False):
            task = asyncio.create_task(child())
        outside = run.current_policy_graph()
        return await task, outside, run.current_policy_graph()

    assert asyncio.run(main()) == ((False, True), "auto", "auto")


def test_a_thread_that_a_task_waits_for_has_the_policy_of_the_task():
    async def main():
        with run.using(graph=False):
            loop = asyncio.get_running_loop()
            return await asyncio.to_thread(current), await loop.run_in_executor(None, current)

    with_context, without = asyncio.run(main())
    assert (with_context.graph, without.graph) == (False, "auto")


def test_a_bound_coroutine_function_runs_under_its_policy_in_any_task():
    async def probe():
        await asyncio.sleep(0)
        return run.current_policy_graph()

    with run.using(graph=False):
        bound = run.bind(probe)

    async def main():
        with run.using(graph=True):
            return await asyncio.gather(bound(), asyncio.create_task(bound()), probe())

    assert asyncio.run(main()) == [False, False, True]


def test_a_cancelled_task_leaves_its_blocks():
    left = []

    @run.using(graph=False)
    async def wait():
        try:
            await asyncio.sleep(3600)
        finally:
            left.append(run.current_policy_graph())

    async def main():
        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        # Awaited in this very task, so that what it leaves behind would be seen here.
        with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
            await asyncio.wait_for(wait(), 0.001)
        return run.policy

    assert asyncio.run(main()) == default()
    assert left == [False, False]


def test_one_block_shared_by_threads(busy_interpreter):
    # Check that a block that many threads are in keeps their policies apart, whatever each was under before.
    block = run.using(autograd=False)

    @block
    def down(n, expected):
        assert (run.policy.graph, run.policy.autograd) == (expected, False)
        if n:
            down(n - 1, expected)

    def work(index):
        graph = (True, False, "auto")[index % 3]
        outer = run.using(graph=graph)
        for _ in range(100):
            with outer as policy:
                with block as inner:
                    assert inner == policy.changed(autograd=False)
                    assert run.policy is inner
                    with block:
                        assert run.policy == inner
                    assert run.policy is inner
                assert run.policy is policy
                down(2, graph)
                assert run.policy is policy
            assert run.policy == default()

    all_together(16, work)


def test_one_block_shared_by_tasks():
    block = run.using(graph=False)

    @block
    async def down(n):
        await asyncio.sleep(0)
        assert run.current_policy_graph() is False
        if n:
            await asyncio.gather(down(n - 1), down(n - 1))
        assert run.current_policy_graph() is False

    async def main():
        await asyncio.gather(*(down(3) for _ in range(5)))
        assert run.current_policy_graph() == "auto"

    asyncio.run(main())


def test_threads_hammering_the_policy(busy_interpreter):
    # Check that no thread ever sees a policy that is neither its own nor the default.
    stop = Event()

    def set_defaults():
        while not stop.is_set():
            run.set_mode(graph=False)
            run.set_mode(graph=True)

    setter = Thread(target=set_defaults)
    setter.start()

    def nest(rng, depth):
        parts = rng.choice(POLICIES)
        with contextlib.suppress(LookupError), run.using(**parts) as policy:
            assert all(getattr(run.policy, name) == value for name, value in parts.items())
            if depth and rng.random() < 0.7:
                nest(rng, depth - 1)
            assert run.policy is policy
            if rng.random() < 0.3:
                raise LookupError

    def work(index):
        rng = random.Random(index)
        for _ in range(250):
            nest(rng, 4)
            assert run.policy.graph in (True, False, "auto")
            assert run.policy.changed(graph="auto") == type(run.policy)()

    try:
        all_together(16, work)
    finally:
        stop.set()
        setter.join(timeout=60)
        run.set_mode_default()
    assert not setter.is_alive()
