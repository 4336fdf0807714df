"""Decorated functions called by many threads: one trace, no call that silently runs eagerly, no wrong result."""

from __future__ import annotations

import asyncio
import random
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import pytest

from zrun_core import RunManager
from zrun_core.errors import DoNotTrace

from .counting_backend import Cell, CountingBackend

THREADS = 16


@pytest.fixture
def run():
    return RunManager(backend=CountingBackend())


@pytest.fixture
def busy_interpreter():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def all_together(function, count=THREADS):
    """Call `function(index)` in many threads at the same time; return the results."""
    barrier = Barrier(count)

    def wait_and_call(index):
        barrier.wait(timeout=60)
        return function(index)

    with ThreadPoolExecutor(count) as pool:
        return [each.result(timeout=60) for each in [pool.submit(wait_and_call, index) for index in range(count)]]


def hold_the_first_trace(backend):
    """Have the first trace wait; returns the events that say that it began and let it go on."""
    began, go_on = Event(), Event()

    def wait():
        backend.before_trace = lambda: None
        began.set()
        assert go_on.wait(timeout=60)

    backend.before_trace = wait
    return began, go_on


def test_threads_that_call_while_another_traces_wait_for_its_graph(run):
    began, go_on = hold_the_first_trace(run.backend)
    bodies = []

    @run.function
    def f(x):
        bodies.append(isinstance(x, Cell))
        return x * 2

    waiting = threading.Semaphore(0)

    def call(index):
        if index:
            assert began.wait(timeout=60)
            waiting.release()
        return f(float(index))

    with ThreadPoolExecutor(THREADS) as pool:
        results = [pool.submit(call, index) for index in range(THREADS)]
        for _ in range(THREADS - 1):
            assert waiting.acquire(timeout=60)
        assert not any(result.done() for result in results)
        go_on.set()
        assert [result.result(timeout=60) for result in results] == [2.0 * index for index in range(THREADS)]
    assert bodies == [True]
    assert run.backend.traces == 1
    total = run.cache_info().total
    assert (total.hits, total.misses) == (THREADS - 1, 1)


def test_a_trace_does_not_hold_up_other_structures_or_other_functions(run):
    began, go_on = hold_the_first_trace(run.backend)

    @run.function
    def f(x):
        return x

    @run.function
    def g(x):
        return x

    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(f, 1.0)
        assert began.wait(timeout=60)
        assert (f([2.0]), g(3.0)) == ([2.0], 3.0)
        with run.using(graph=False):
            assert f(4.0) == 4.0
        assert not held.done()
        go_on.set()
        assert held.result(timeout=60) == 1.0
    assert run.backend.traces == 3


def test_a_trace_that_fails_is_tried_by_the_next(run):
    began, go_on = hold_the_first_trace(run.backend)
    bodies = []

    @run.function
    def f(x):
        bodies.append(threading.get_ident())
        if len(bodies) == 1:
            raise LookupError("the first")
        return x

    def call(index):
        if index:
            assert began.wait(timeout=60)
        try:
            return f(float(index))
        except LookupError:
            return "failed"

    with ThreadPoolExecutor(4) as pool:
        results = [pool.submit(call, index) for index in range(4)]
        assert began.wait(timeout=60)
        go_on.set()
        assert [result.result(timeout=60) for result in results] == ["failed", 1.0, 2.0, 3.0]
    assert len(bodies) == 2


def test_what_cannot_be_traced_is_learnt_by_all(run):
    traced = []

    @run.function
    def f(x):
        if isinstance(x, Cell):
            traced.append(1)
            raise DoNotTrace("no")
        return x

    assert all_together(lambda index: f(float(index))) == [float(index) for index in range(THREADS)]
    assert len(traced) == 1


def test_each_thread_has_its_own_policy(run, busy_interpreter):
    @run.function
    def f(x):
        return (x, isinstance(x, Cell), run.policy.chunksize)

    def call(index):
        graph, chunksize = bool(index % 2), 1 + index % 3
        for turn in range(50):
            with run.using(graph=graph, chunksize=chunksize):
                assert f(float(turn)) == (float(turn), graph, chunksize)
        return index

    assert all_together(call) == list(range(THREADS))
    # One graph for each chunksize that a thread with graph=True has.
    assert run.backend.traces == 3


def test_threads_hammering_functions(run, busy_interpreter):
    @run.function
    def double(x):
        assert isinstance(x, Cell)
        return x * 2

    @run.function(kind="loss", max_graphs=2, static="n")
    def power(x, n):
        assert isinstance(x, Cell)
        return double(x) + n

    def call(index):
        rng = random.Random(index)
        for _ in range(100):
            x = rng.random()
            choice = rng.random()
            if choice < 0.45:
                assert double(x) == 2 * x
            elif choice < 0.9:
                n = rng.randrange(4)
                assert power(x, n) == 2 * x + n
            elif choice < 0.95:
                run.clear_graph_cache()
            else:
                assert run.cache_info().total.graphs <= 3
        return True

    with run.using(retrace="allow"):
        bound = run.bind(call)
    assert all(all_together(bound))
    total = run.cache_info().total
    assert total.misses == run.backend.traces
    assert total.graphs == total.misses - total.evictions


def test_tasks_that_compute_in_threads(run):
    @run.function
    def f(x):
        return (x * 2, run.policy.chunksize)

    async def task(index):
        with run.using(chunksize=1 + index % 2):
            return await asyncio.to_thread(f, float(index))

    async def main():
        return await asyncio.gather(*(task(index) for index in range(20)))

    assert asyncio.run(main()) == [(2.0 * index, 1 + index % 2) for index in range(20)]
    assert run.backend.traces == 2
