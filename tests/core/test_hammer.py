"""Policy, functions, tracked state and one cache together, hammered by threads and by the tasks of an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from zrun_core import RunManager, run, struct, tracked
from zrun_core._scope import default
from zrun_core.testing import count_traces

from .counting_backend import Cell, CountingBackend

WORKERS = 16
TURNS = 1500


@pytest.fixture(autouse=True)
def _retraces_are_meant():
    before = default()
    run.set_retrace_policy("allow")
    yield
    run.set_retrace_policy(before.retrace)
    assert default() == before


@pytest.fixture(autouse=True)
def busy_interpreter():
    """Switch threads as often as possible."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@struct
class Line:
    slope: float
    offset: float
    degree: int = 1


class Model:
    """Known by its identity."""

    order = tracked(0)


class World:
    """Functions of one manager, and what is to be true of each call."""

    def __init__(self):
        self.run = run = RunManager(backend=CountingBackend())

        @run.function(kind="loss")
        def value(line, x):
            return (line.slope * x + line.offset, line.degree, run.policy.chunksize, isinstance(x, Cell))

        @run.function(max_graphs=3)
        def order(model, x):
            return (x, model.order, run.policy.chunksize)

        self.value, self.order = value, order

    def ask(self, rng, chunksize, graph):
        """One call, checked."""
        line, x = Line(rng.random(), rng.random(), rng.randrange(3)), rng.random()
        assert self.value(line, x) == (line.slope * x + line.offset, line.degree, chunksize, graph)

    def ask_model(self, rng, chunksize, model):
        """A call that read tracked state; the state is the worker's own."""
        x = rng.random()
        assert self.order(model, x) == (x, model.order, chunksize)
        if rng.random() < 0.3:
            model.order += 1
            assert self.order(model, x) == (x, model.order, chunksize)

    async def work(self, index, turns, elsewhere, dropping):
        """What one thread, or one task, does."""
        rng = random.Random(index)
        model = Model()
        run = self.run
        for _ in range(turns):
            graph, chunksize = rng.random() < 0.7, 100 + index % 4
            with contextlib.suppress(LookupError), run.using(graph=graph, chunksize=chunksize) as policy:
                self.ask(rng, chunksize, graph)
                if rng.random() < 0.1:
                    await asyncio.sleep(0)
                    assert run.policy is policy
                if rng.random() < 0.3:
                    with run.using(graph=not graph) as inner:
                        self.ask(rng, chunksize, not graph)
                        assert run.policy is inner
                    assert run.policy is policy
                if rng.random() < 0.02:
                    await elsewhere(run.bind(self.ask), random.Random(rng.random()), chunksize, graph)
                if dropping:
                    self.ask_model(rng, chunksize, model)
                    if rng.random() < 0.1:
                        model = Model()
                    if rng.random() < 0.002:
                        run.clear_graph_cache()
                if rng.random() < 0.1:
                    raise LookupError
            assert run.policy == default()
        return index


async def in_this_thread(function, *args):
    function(*args)


def by_threads(world, dropping):
    barrier = Barrier(WORKERS)

    def work(index):
        barrier.wait(timeout=60)
        return asyncio.run(world.work(index, TURNS, in_this_thread, dropping))

    with ThreadPoolExecutor(WORKERS) as pool:
        futures = [pool.submit(work, index) for index in range(WORKERS)]
        assert [future.result(timeout=300) for future in futures] == list(range(WORKERS))


def by_tasks(world, dropping):
    async def main():
        works = (world.work(index, TURNS, asyncio.to_thread, dropping) for index in range(WORKERS))
        return await asyncio.gather(*works)

    assert asyncio.run(main()) == list(range(WORKERS))


WAYS = pytest.mark.parametrize("hammer", [by_threads, by_tasks])


@pytest.mark.slow
@WAYS
def test_every_graph_is_built_once_and_no_policy_is_seen_from_elsewhere(hammer):
    world = World()
    with count_traces() as traces:
        hammer(world, dropping=False)
    # Three degrees and four chunk sizes; whatever was in the way, each was built once and none was lost.
    total = world.run.cache_info().total
    assert (traces.total, world.run.backend.traces, total.misses, total.graphs) == (12, 12, 12, 12)
    assert total.evictions == total.invalidations == 0
    assert total.hits + total.misses > WORKERS * TURNS / 2


@pytest.mark.slow
@WAYS
def test_results_are_right_while_objects_change_and_die_and_graphs_are_dropped(hammer):
    world = World()
    hammer(world, dropping=True)
    gc.collect()
    total = world.run.cache_info().total
    assert total.graphs == total.misses - total.evictions - total.invalidations
    assert world.order.owner.info().graphs <= 3
    world.run.clear_graph_cache()
    total = world.run.cache_info().total
    assert (total.graphs, total.bytes) == (0, 0)
