"""Sixteen threads at one cache, with a switch interval of a microsecond: nothing lost, nothing built twice."""

from __future__ import annotations

import asyncio
import gc
import random
import sys
import threading
from collections import Counter
from contextlib import contextmanager

import pytest

from zrun_core._cache import CacheOwner, GraphCache, clear_all_caches
from zrun_core._events import listen
from zrun_core._invalidates import touch
from zrun_core._tracked import tracked

THREADS = 16
LONG = 300


@pytest.fixture(autouse=True)
def tiny_switch_interval():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


class Thing:
    order = tracked(0)

    def __init__(self, token=0):
        self.token = token


class Ledger:
    """Counts builds and disposals, and notices two builds of one key at a time."""

    def __init__(self):
        self.lock = threading.Lock()
        self.building = set()
        self.built = Counter()
        self.disposed = Counter()
        self.faults = []

    @contextmanager
    def build(self, key):
        with self.lock:
            if key in self.building:
                self.faults.append(f"{key} is built twice at a time")
            self.building.add(key)
        yield
        with self.lock:
            self.building.discard(key)
            self.built[key] += 1

    def dispose(self, value):
        with self.lock:
            self.disposed[value[0]] += 1


def hammer(work, threads=THREADS):
    """Run `work(i)` in many threads at once and raise the first exception of any."""
    start, errors = threading.Barrier(threads, timeout=LONG), []

    def run(i):
        try:
            start.wait()
            work(i)
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    workers = [threading.Thread(target=run, args=(i,), daemon=True) for i in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(LONG)
        assert not worker.is_alive()
    if errors:
        raise errors[0]


@pytest.mark.slow
def test_every_key_is_built_once_and_stays():
    ledger = Ledger()
    cache = GraphCache(max_entries=None, sizeof=lambda value: 1, dispose=ledger.dispose)
    owners = [CacheOwner(f"function {i}") for i in range(4)]
    operations = 2000

    def work(i):
        choose = random.Random(i)
        for _ in range(operations):
            owner, key = choose.choice(owners), choose.randrange(50)

            def build(owner=owner, key=key):
                with ledger.build((owner.name, key)):
                    return (owner.name, key)

            assert cache.get_or_build(owner, key, build) == (owner.name, key)

    hammer(work)
    assert ledger.faults == []
    assert set(ledger.built.values()) == {1}
    assert ledger.disposed == Counter()
    total = cache.info().total
    assert total.graphs == len(ledger.built) == 200
    # Check that not one look-up is missing from the counters.
    assert (total.hits + total.misses, total.misses) == (THREADS * operations, 200)
    assert all(owner.claims == {} for owner in owners)


@pytest.mark.slow
def test_nothing_is_lost_whatever_drops_entries():
    # Check the books against what was built and disposed, while everything that can drop an entry happens.
    # Others whose caches are in this process have nothing to drop.
    clear_all_caches()
    ledger = Ledger()
    cache = GraphCache(max_entries=30, max_bytes=100, sizeof=lambda value: 1, dispose=ledger.dispose)
    owners = [CacheOwner("free"), CacheOwner("bounded", max_graphs=5), CacheOwner("free too")]
    things = [Thing() for _ in range(6)]
    asked = Counter()
    events = Counter()
    count = threading.Lock()

    def hear(event):
        with count:
            events[event.name] += 1

    def work(i):
        choose = random.Random(i)
        for step in range(1500):
            what = choose.random()
            if what < 0.85:
                owner, n = choose.choice(owners), choose.randrange(20)
                thing = things[n % len(things)]

                def build(owner=owner, n=n, thing=thing):
                    with ledger.build((owner.name, n)):
                        return ((owner.name, n), thing.order)

                value = cache.get_or_build(owner, n, build)
                assert value[0] == (owner.name, n)
                asked[i] += 1
            elif what < 0.93:
                choose.choice(things).order = i * 10_000 + step
            elif what < 0.95:
                touch(choose.choice(things))
            elif what < 0.97:
                cache.clear(choose.choice(owners))
            elif what < 0.98:
                cache.resize(max_entries=choose.choice([10, 20, 30]))
            elif what < 0.99:
                cache.info()
            else:
                clear_all_caches()

    with listen(hear, "build", "evict", "invalidate"):
        hammer(work)
    assert ledger.faults == []
    total = cache.info().total
    found = [(owner, n) for owner in owners for n in range(20) if cache.get(owner, n) is not None]
    assert total.graphs == total.bytes == len(found) <= 30
    assert ledger.built.total() == total.misses
    assert ledger.built.total() - ledger.disposed.total() == total.graphs
    assert total.hits + total.misses == asked.total()
    assert events["build"] == ledger.built.total()
    assert events["evict"] == total.evictions
    assert events["invalidate"] == total.invalidations
    # Check that what is left is what its object says now.
    for owner, n in found:
        assert cache.get(owner, n) == ((owner.name, n), things[n % len(things)].order)


@pytest.mark.slow
def test_no_thread_gets_the_graph_of_another_object_at_the_same_address():
    cache, owner = GraphCache(max_entries=None, sizeof=lambda value: 1), CacheOwner("loss")
    reused = Counter()

    def work(i):
        seen = set()
        for step in range(1500):
            thing = Thing((i, step))
            reused[i] += id(thing) in seen
            seen.add(id(thing))
            token = cache.get_or_build(owner, id(thing), lambda thing=thing: thing.token, weak=[thing])
            assert token == (i, step)

    hammer(work)
    gc.collect()
    assert reused.total() > 0
    assert cache.info().total.graphs == 0
    assert cache.info().total.invalidations == THREADS * 1500


@pytest.mark.slow
def test_a_change_is_seen_by_every_call_that_begins_after_it():
    # Check that once a setter has returned, nobody gets a graph of the old value.
    cache, owner, thing = GraphCache(max_entries=None, sizeof=lambda value: 1), CacheOwner("loss"), Thing()
    stop = threading.Event()
    announced = [0]

    def work(i):
        if i == 0:
            try:
                for order in range(1, 400):
                    thing.order = order
                    announced[0] = order
                    value = cache.get_or_build(owner, "key", lambda: thing.order)
                    assert value == order
            finally:
                stop.set()
        else:
            while not stop.is_set():
                began = announced[0]
                assert cache.get_or_build(owner, "key", lambda: thing.order) >= began

    hammer(work, threads=6)
    assert thing.order == 399


@pytest.mark.slow
def test_functions_come_and_go():
    cache = GraphCache(max_entries=40, sizeof=lambda value: 1)

    def work(i):
        for step in range(300):
            owner = CacheOwner(f"function {i}")
            for key in range(3):
                # A value that holds its function: only the garbage collector ends it.
                found = cache.get_or_build(owner, key, lambda owner=owner, step=step: (owner, step))
                assert found == (owner, step)

    hammer(work)
    gc.collect()
    total = cache.info().total
    assert (total.graphs, total.bytes) == (0, 0)
    assert total.evictions + total.invalidations == total.misses == THREADS * 300 * 3


def test_an_event_loop_with_worker_threads():
    # Check tasks of one thread, and threads that carry the context of a task, at the same cache.
    ledger = Ledger()
    cache, owner = GraphCache(max_entries=None, sizeof=lambda value: 1), CacheOwner("loss")

    def ask(key):
        def build():
            with ledger.build(key):
                return (key,)

        assert cache.get_or_build(owner, key, build) == (key,)

    async def task(i):
        choose = random.Random(i)
        for _ in range(30):
            if choose.random() < 0.5:
                ask(choose.randrange(20))
                await asyncio.sleep(0)
            else:
                await asyncio.to_thread(ask, choose.randrange(20))

    async def main():
        await asyncio.gather(*(task(i) for i in range(40)))

    asyncio.run(main())
    assert ledger.faults == []
    assert set(ledger.built.values()) == {1}
    total = cache.info().total
    assert (total.graphs, total.hits + total.misses) == (20, 1200)
