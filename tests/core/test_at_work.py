"""Finalizers in the middle of zrun's own work, whose thread holds a lock of zrun: they wait for no other thread."""

from __future__ import annotations

import threading
from collections import OrderedDict

import pytest

from zrun_core import CacheOwner, GraphCache, _reads, tracked
from zrun_core._fork import Guard, is_at_work
from zrun_core._leases import CpuPool
from zrun_core._order import first, last
from zrun_core.errors import CpuError, CpuLeaseTimeoutError

from .stepping import elsewhere

LONG = 60


class Ending:
    """Does something when it ends."""

    def __init__(self, happening):
        self.happening = happening

    def __del__(self):
        self.happening()


def end_under(lock, happening):
    """Have something end, and so something happen, in a thread that holds a lock."""

    def work():
        ending = Ending(happening)
        with lock:
            del ending

    elsewhere(work)


class Thing:
    order = tracked(3)


@pytest.mark.parametrize("held", ["the cache", "the cells"])
def test_a_finalizer_under_a_lock_does_not_wait_for_the_builder_of_what_it_asks_for(held):
    # This used to wait for ever: the builder needed that lock before it could go on.
    cache, owner = GraphCache(max_entries=None, sizeof=lambda value: 1), CacheOwner("loss")
    lock = cache._lock if held == "the cache" else _reads._guard.lock
    started, finalizing, got = threading.Event(), threading.Event(), []

    def build():
        started.set()
        assert finalizing.wait(LONG)
        # A first read needs the lock of the cells; the end of a build needs that of the cache.
        return f"order {Thing().order}, built by the other thread"

    def finalizer():
        finalizing.set()
        got.append(cache.get_or_build(owner, "key", lambda: "built by the finalizer"))

    builder = threading.Thread(target=lambda: got.append(cache.get_or_build(owner, "key", build)), daemon=True)
    builder.start()
    assert started.wait(LONG)
    end_under(lock, finalizer)
    builder.join(LONG)
    assert not builder.is_alive()
    # One graph per key is enough, whichever comes second.
    assert got == ["built by the finalizer"] * 2
    assert cache.info().total.graphs == 1
    assert not owner.claims


def test_without_a_lock_a_finalizer_waits_for_the_builder_as_anybody_does():
    cache, owner = GraphCache(max_entries=None, sizeof=lambda value: 1), CacheOwner("loss")
    started, finalizing, got = threading.Event(), threading.Event(), []

    def build():
        started.set()
        assert finalizing.wait(LONG)
        return "built once"

    def finalizer():
        finalizing.set()
        got.append(cache.get_or_build(owner, "key", lambda: "built again"))

    builder = threading.Thread(target=lambda: got.append(cache.get_or_build(owner, "key", build)), daemon=True)
    builder.start()
    assert started.wait(LONG)
    end_under(threading.Lock(), finalizer)
    builder.join(LONG)
    assert got == ["built once"] * 2
    assert owner.builds == 1


@pytest.mark.parametrize(("timeout", "error"), [(None, CpuError), (LONG, CpuLeaseTimeoutError)])
def test_a_finalizer_under_a_lock_does_not_wait_for_cpus(timeout, error):
    # This used to wait for a thread that needed that lock before it could give its CPUs back.
    pool, guard = CpuPool(1), Guard()
    leased, finalizing, refused = threading.Event(), threading.Event(), []

    def holder():
        with pool.acquire():
            leased.set()
            assert finalizing.wait(LONG)
            with guard.lock:
                pass

    def finalizer():
        finalizing.set()
        with pytest.raises(error, match="own work in zrun, so it cannot wait for them") as raised:
            pool.acquire(timeout=timeout).__enter__()
        refused.append(raised.type)

    thread = threading.Thread(target=holder, daemon=True)
    thread.start()
    assert leased.wait(LONG)
    end_under(guard.lock, finalizer)
    thread.join(LONG)
    assert not thread.is_alive()
    assert refused == [error]
    assert pool.available == 1
    assert not pool._queue.requests


def test_a_finalizer_under_a_lock_gets_cpus_that_are_free():
    pool, guard, granted = CpuPool(2), Guard(), []

    def finalizer():
        with pool.acquire(2) as cpus:
            granted.append(int(cpus))

    end_under(guard.lock, finalizer)
    assert granted == [2]
    assert pool.available == 2


def test_a_finalizer_at_work_on_one_pool_does_not_wait_for_another():
    one, other, refused = CpuPool(1), CpuPool(1), []
    grant = one._queue._grant

    def finalizer_comes_first():
        if not refused:
            with pytest.raises(CpuLeaseTimeoutError, match="own work in zrun, so it cannot wait for them") as raised:
                other.acquire(timeout=LONG).__enter__()
            refused.append(raised.type)
        grant()

    def work():
        with one.acquire() as cpus:
            assert cpus == 1

    one._queue._grant = finalizer_comes_first
    with other.acquire():
        elsewhere(work)
    assert refused == [CpuLeaseTimeoutError]
    assert (one.available, other.available) == (1, 1)


def test_who_is_at_work_is_known_by_thread():
    guard = Guard()
    assert not is_at_work()
    with guard.lock:
        assert is_at_work()
        assert not elsewhere(is_at_work)
        with guard.lock:
            pass
        assert is_at_work()
    assert not is_at_work()


class Changing(OrderedDict):
    """Loses an entry in the middle of the first look at it, as to a finalizer."""

    looks = 0

    def _changed(self, look):
        self.looks += 1
        if self.looks == 1:
            del self[2]
        return look

    def __iter__(self):
        return self._changed(super().__iter__())

    def __reversed__(self):
        return self._changed(super().__reversed__())


def test_a_look_at_an_order_that_changes_meanwhile_is_taken_again():
    assert first(Changing({1: None, 2: None, 3: None})) == 1
    assert last(Changing({1: None, 2: None, 3: None}), 2) == [3, 1]
    assert first(OrderedDict()) == -1
    assert last(OrderedDict(), 2) == []
