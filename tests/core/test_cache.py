"""GraphCache by itself: look-up, building, budgets, what drops entries, what is reported."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
import types
import weakref
from contextlib import contextmanager
from contextvars import Context, copy_context
from itertools import count

import pytest

from zrun_core import _fork
from zrun_core._build_once import Claim
from zrun_core._cache import CacheInfo, CacheOwner, Freed, FunctionInfo, GraphCache, Reentrant, clear_all_caches
from zrun_core._events import listen
from zrun_core._invalidates import touch
from zrun_core._reads import Recording
from zrun_core._structure import KeyRow
from zrun_core._tracked import tracked
from zrun_core.errors import ZrunWarning

LONG = 60


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Thing:
    order = tracked(3)


class Value:
    """Something built that can be referred to weakly."""

    def __init__(self, nbytes=1):
        self.nbytes = nbytes


def make(**options):
    return GraphCache(**{"max_entries": None, "sizeof": lambda value: 1, **options})


@contextmanager
def recorded(*names):
    events = []
    with listen(events.append, *names):
        yield events


def row_of(cache, name):
    return next(row for row in cache.info().rows if row.function == name)


# -- look-up ---------------------------------------------------------------------------------------------------------


def test_a_value_is_built_once_and_found_again():
    cache, owner, builds = make(), CacheOwner("loss"), []
    values = [cache.get_or_build(owner, "key", lambda: builds.append(1) or "graph") for _ in range(3)]
    assert values == ["graph"] * 3
    assert cache.get(owner, "key") == "graph"
    assert len(builds) == 1
    assert (owner.hits, owner.misses, owner.builds) == (3, 1, 1)


def test_get_finds_nothing_and_counts_nothing_before_a_build():
    cache, owner = make(), CacheOwner("loss")
    assert cache.get(owner, "key") is None
    assert (owner.hits, owner.misses) == (0, 0)


def test_equal_keys_of_two_functions_are_two_entries():
    cache, one, two = make(), CacheOwner("loss"), CacheOwner("loss")
    assert cache.get_or_build(one, "key", lambda: "first") == "first"
    assert cache.get_or_build(two, "key", lambda: "second") == "second"
    assert cache.get(one, "key") == "first"


@pytest.mark.parametrize("falsy", [0, "", (), False])
def test_falsy_values_are_values(falsy):
    cache, owner = make(), CacheOwner("loss")
    for _ in range(2):
        assert cache.get_or_build(owner, "key", lambda: falsy) is falsy
    assert owner.builds == 1


def test_a_function_belongs_to_one_cache():
    one, two, owner = make(), make(), CacheOwner("loss")
    one.get_or_build(owner, "key", lambda: "graph")
    assert two.get(owner, "key") is None
    with pytest.raises(ValueError, match="loss has its graphs in another cache already"):
        two.get_or_build(owner, "key", lambda: "graph")
    assert two.info().rows == ()


def test_a_function_may_move_on_when_its_cache_is_gone():
    # Check that values do not outlive the cache that counts them.
    cache, owner = make(), CacheOwner("loss")
    value = weakref.ref(cache.get_or_build(owner, "key", Value))
    del cache
    gc.collect()
    assert value() is None
    successor = make()
    successor.get_or_build(owner, "key", Value)
    assert row_of(successor, "loss").graphs == 1
    assert successor.clear() == Freed(1, 1)


def test_lookups_run_no_user_code_under_the_lock():
    # Check that comparing keys may take time, or use the cache, while another thread uses it.
    cache, owner, other = make(), CacheOwner("slow"), CacheOwner("other")
    entered, leave = threading.Event(), threading.Event()

    class Key:
        slow = False

        def __hash__(self):
            return 1

        def __eq__(self, that):
            if Key.slow:
                entered.set()
                assert leave.wait(LONG)
            return isinstance(that, Key)

    cache.get_or_build(owner, Key(), lambda: "graph")
    Key.slow = True
    found = []
    thread = threading.Thread(target=lambda: found.append(cache.get(owner, Key())))
    thread.start()
    assert entered.wait(LONG)
    assert cache.get_or_build(other, "key", lambda: "other") == "other"
    leave.set()
    thread.join(LONG)
    assert found == ["graph"]


# -- building --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyError("user"), KeyboardInterrupt(), SystemExit(1)])
def test_an_exception_while_building_leaves_nothing(error):
    cache, owner = make(), CacheOwner("loss")

    def fail():
        raise error

    with pytest.raises(type(error)) as raised:
        cache.get_or_build(owner, "key", fail)
    assert raised.value is error
    assert cache.get(owner, "key") is None
    assert cache.info().total.graphs == 0
    assert (owner.misses, owner.builds) == (1, 0)
    assert cache.get_or_build(owner, "key", lambda: "graph") == "graph"


def test_none_is_not_a_value():
    cache, owner = make(), CacheOwner("loss")
    with pytest.raises(TypeError, match="The build of loss returned None"):
        cache.get_or_build(owner, "key", lambda: None)
    assert cache.get_or_build(owner, "key", lambda: "graph") == "graph"


@pytest.mark.parametrize("size", [-1, float("nan"), 1.5, None, "1 kB"])
def test_a_size_that_is_no_number_of_bytes_is_refused(size):
    # NaN used to be accepted, and made the sum of all sizes NaN for good.
    cache, owner = make(sizeof=lambda value: size), CacheOwner("loss")
    with pytest.raises(ValueError, match=f"sizeof must return a number of bytes, 0 or more; got {size!r} for loss"):
        cache.get_or_build(owner, "key", lambda: "graph")
    assert cache.info().total.graphs == 0
    assert owner.claims == {}


class Index:
    def __index__(self):
        return 7


def test_a_size_may_be_anything_that_stands_for_an_integer():
    cache, owner = make(sizeof=lambda value: Index()), CacheOwner("loss")
    cache.get_or_build(owner, "key", lambda: "graph")
    assert cache.info().total.bytes == 7


@pytest.mark.parametrize("name", ["sizeof", "dispose", "clock"])
def test_what_is_called_later_must_be_a_function(name):
    with pytest.raises(TypeError, match=f"{name} must be a function; got 5 of type int"):
        make(**{name: 5})


def test_the_objects_of_a_key_may_come_one_by_one():
    # An iterator used to be exhausted before `touch` could know of its objects.
    cache, owner, thing = make(), CacheOwner("loss"), Thing()
    cache.get_or_build(owner, "key", lambda: "graph", weak=(each for each in [thing]))
    touch(thing)
    assert cache.get(owner, "key") is None


def test_a_failing_size_estimate_leaves_nothing():
    cache, owner = make(sizeof=len), CacheOwner("loss")
    with pytest.raises(TypeError):
        cache.get_or_build(owner, "key", lambda: 1)
    assert cache.get(owner, "key") is None
    assert cache.get_or_build(owner, "key", lambda: "graph") == "graph"


def test_a_weak_object_must_be_weakly_referable():
    cache, owner, builds = make(), CacheOwner("loss"), []
    with pytest.raises(TypeError, match=r"weak holds 7 of type int; Python cannot refer weakly to it"):
        cache.get_or_build(owner, "key", lambda: builds.append(1), weak=[7])
    assert builds == []
    assert cache.get_or_build(owner, "key", lambda: "graph") == "graph"


def test_rows_are_described_before_a_build_only():
    cache, owner, described = make(), CacheOwner("loss"), []

    def rows():
        described.append(1)
        return (KeyRow("x", "float64 ()", False),)

    for _ in range(3):
        cache.get_or_build(owner, "key", lambda: "graph", rows=rows)
    assert len(described) == 1


def test_a_failing_description_leaves_no_claim():
    cache, owner = make(), CacheOwner("loss")

    def fail():
        raise RuntimeError("no repr")

    with pytest.raises(RuntimeError, match="no repr"):
        cache.get_or_build(owner, "key", lambda: "graph", rows=fail)
    assert cache.get_or_build(owner, "key", lambda: "graph") == "graph"


def test_a_request_for_what_is_being_built_is_reentrant():
    cache, owner, seen = make(), CacheOwner("loss"), []

    def build():
        with pytest.raises(Reentrant, match="loss is being built for this key further up"):
            cache.get_or_build(owner, "key", build)
        seen.append(cache.get_or_build(owner, "other key", lambda: "inner"))
        return "outer"

    assert cache.get_or_build(owner, "key", build) == "outer"
    assert seen == ["inner"]
    assert owner.builds == 2


def test_a_body_in_a_fresh_context_is_known_by_its_thread():
    cache, owner = make(), CacheOwner("loss")

    def build():
        with pytest.raises(Reentrant):
            Context().run(cache.get_or_build, owner, "key", build)
        return "graph"

    assert cache.get_or_build(owner, "key", build) == "graph"


def test_a_helper_thread_with_the_context_is_part_of_the_build():
    cache, owner, raised = make(), CacheOwner("loss"), []

    def ask():
        try:
            cache.get_or_build(owner, "key", lambda: "graph")
        except Reentrant as signal:
            raised.append(signal)

    def build():
        helper = threading.Thread(target=copy_context().run, args=(ask,))
        helper.start()
        helper.join(LONG)
        return "graph"

    assert cache.get_or_build(owner, "key", build) == "graph"
    assert len(raised) == 1


def test_a_context_that_outlives_the_build_waits_like_any_other():
    # Check that a task which was started by a body, and runs later, is not taken for a part of the build.
    cache, owner, contexts = make(), CacheOwner("loss"), []
    cache.get_or_build(owner, "key", lambda: contexts.append(copy_context()) or "graph")
    cache.clear()
    assert contexts[0].run(cache.get_or_build, owner, "key", lambda: "again") == "again"


def test_a_finalizer_that_asks_for_what_is_about_to_be_built_does_not_wait_for_itself():
    # Check the worst moment: Python may run a finalizer between the decision to build and the claim.
    cache, owner, raised = make(), CacheOwner("loss"), []

    class Claims(dict):
        def setdefault(self, key, claim):
            if not raised:
                with pytest.raises(Reentrant) as signal:
                    cache.get_or_build(owner, key, lambda: "inner")
                raised.append(signal)
            return super().setdefault(key, claim)

    owner.claims = Claims()
    assert cache.get_or_build(owner, "key", lambda: "outer") == "outer"
    assert len(raised) == 1


# -- several threads, step by step -----------------------------------------------------------------------------------


class Build:
    """A build that stops in the middle until it is told to go on."""

    def __init__(self, result):
        self.result = result
        self.started = threading.Event()
        self.go_on = threading.Event()
        self.calls = 0

    def __call__(self):
        self.calls += 1
        self.started.set()
        assert self.go_on.wait(LONG)
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


class Worker(threading.Thread):
    """Runs one function and keeps its result or exception."""

    def __init__(self, function):
        super().__init__(daemon=True)
        self.function = function
        self.result = self.error = None
        self.start()

    def run(self):
        try:
            self.result = self.function()
        except Exception as error:  # noqa: BLE001
            self.error = error

    def done(self):
        self.join(LONG)
        assert not self.is_alive()
        return self.result


def wait_until(condition):
    end = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def waiting(claim):
    frames = sys._current_frames().values()
    return sum(frame.f_code is Claim.wait.__code__ and frame.f_locals["self"] is claim for frame in frames)


def test_others_wait_for_the_builder_and_share_its_value():
    cache, owner = make(), CacheOwner("loss")
    build = Build("graph")
    first = Worker(lambda: cache.get_or_build(owner, "key", build))
    assert build.started.wait(LONG)
    others = [Worker(lambda: cache.get_or_build(owner, "key", lambda: "never")) for _ in range(4)]
    wait_until(lambda: waiting(owner.claims["key"]) == 4)
    build.go_on.set()
    assert [worker.done() for worker in (first, *others)] == ["graph"] * 5
    assert (owner.builds, owner.misses, owner.hits) == (1, 1, 4)
    assert owner.claims == {}


def test_other_keys_go_on_while_one_is_built():
    cache, owner = make(), CacheOwner("loss")
    build = Build("slow")
    worker = Worker(lambda: cache.get_or_build(owner, "slow", build))
    assert build.started.wait(LONG)
    assert cache.get_or_build(owner, "quick", lambda: "quick") == "quick"
    assert cache.clear() == Freed(1, 1)
    build.go_on.set()
    assert worker.done() == "slow"
    assert cache.get(owner, "slow") == "slow"


def test_others_try_themselves_if_the_builder_raises():
    cache, owner = make(), CacheOwner("loss")
    build = Build(ValueError("user"))
    first = Worker(lambda: cache.get_or_build(owner, "key", build))
    assert build.started.wait(LONG)
    others = [Worker(lambda: cache.get_or_build(owner, "key", lambda: "graph")) for _ in range(3)]
    wait_until(lambda: waiting(owner.claims["key"]) == 3)
    build.go_on.set()
    assert [worker.done() for worker in others] == ["graph"] * 3
    first.done()
    assert str(first.error) == "user"
    assert owner.builds == 1
    assert owner.claims == {}


def test_a_thread_that_builds_does_not_wait_for_another_builder():
    # Check that two threads whose builds need each other's keys both end.
    cache, one, two = make(), CacheOwner("one"), CacheOwner("two")
    meet = threading.Barrier(2, timeout=LONG)

    def build(other, result):
        def body():
            meet.wait()
            inner = cache.get_or_build(other, "key", lambda: f"inner {other.name}")
            meet.wait()
            return f"{result} with {inner}"

        return body

    a = Worker(lambda: cache.get_or_build(one, "key", build(two, "one")))
    b = Worker(lambda: cache.get_or_build(two, "key", build(one, "two")))
    results = {a.done(), b.done()}
    # Each inner build came first and is what stayed in the cache.
    assert results == {"inner one", "inner two"}
    assert cache.info().total.graphs == 2


def test_a_thread_that_builds_for_itself_knows_its_own_recursion():
    cache, one, two = make(), CacheOwner("one"), CacheOwner("two")
    blocked = Build("two")
    worker = Worker(lambda: cache.get_or_build(two, "key", blocked))
    assert blocked.started.wait(LONG)

    def inner():
        with pytest.raises(Reentrant):
            cache.get_or_build(two, "key", inner)
        return "for itself"

    assert cache.get_or_build(one, "key", lambda: cache.get_or_build(two, "key", inner)) == "for itself"
    blocked.go_on.set()
    assert worker.done() == "for itself"


def test_the_slower_of_two_builders_gives_its_value_up():
    disposed = []
    cache, one, two = make(dispose=disposed.append), CacheOwner("one"), CacheOwner("two")
    blocked = Build("slow")
    worker = Worker(lambda: cache.get_or_build(two, "key", blocked))
    assert blocked.started.wait(LONG)
    cache.get_or_build(one, "key", lambda: cache.get_or_build(two, "key", lambda: "fast"))
    assert disposed == []
    blocked.go_on.set()
    assert worker.done() == "fast"
    assert disposed == ["slow"]
    assert row_of(cache, "two").graphs == 1


def test_a_value_that_became_outdated_while_it_was_built_is_not_shared():
    # Check that others, who may have come after the change, build anew; the builder's own result is the user's race.
    cache, owner, thing = make(), CacheOwner("loss"), Thing()
    build = Build("old")
    first = Worker(lambda: cache.get_or_build(owner, "key", lambda: (thing.order, build())[1]))
    assert build.started.wait(LONG)
    other = Worker(lambda: cache.get_or_build(owner, "key", lambda: f"new {thing.order}"))
    wait_until(lambda: waiting(owner.claims["key"]) == 1)
    thing.order = 4
    build.go_on.set()
    assert first.done() == "old"
    assert other.done() == "new 4"
    assert cache.get(owner, "key") == "new 4"


def test_a_value_that_became_outdated_before_the_call_is_not_shared():
    # Check the moment after the value was shared and before its builder is done: this used to return the old value.
    cache, owner, thing = make(), CacheOwner("loss"), Thing()
    built = Build(None)
    with listen(lambda event: built(), "build"):
        first = Worker(lambda: cache.get_or_build(owner, "key", lambda: f"graph {thing.order}"))
        assert built.started.wait(LONG)
        thing.order = 4
        second = Worker(lambda: cache.get_or_build(owner, "key", lambda: f"graph {thing.order}"))
        wait_until(lambda: waiting(owner.claims["key"]) == 1)
        built.go_on.set()
        assert (first.done(), second.done()) == ("graph 3", "graph 4")


def test_a_claim_that_ended_without_being_taken_away_is_not_shared():
    # Check what an interrupt at the worst moment leaves: the next call takes the claim away and builds.
    cache, owner, thing = make(), CacheOwner("loss"), Thing()
    cache._release = lambda owner, claim: None
    cache.get_or_build(owner, "key", lambda: thing.order)
    del cache._release
    assert not owner.claims["key"].is_open
    thing.order = 4
    assert cache.get_or_build(owner, "key", lambda: thing.order) == 4
    assert owner.claims == {}


def test_who_shares_a_value_also_depends_on_what_it_read():
    cache, owner, thing = make(), CacheOwner("loss"), Thing()
    build = Build("graph")
    first = Worker(lambda: cache.get_or_build(owner, "key", lambda: (thing.order, build())[1]))
    assert build.started.wait(LONG)

    def record():
        with Recording() as reads:
            cache.get_or_build(owner, "key", lambda: "never")
        return reads

    second = Worker(record)
    wait_until(lambda: waiting(owner.claims["key"]) == 1)
    build.go_on.set()
    first.done()
    assert [read.attribute for read in second.done().reads] == ["order"]


# -- budgets ---------------------------------------------------------------------------------------------------------


def test_the_least_recently_used_goes_first():
    cache, owner = make(max_entries=2), CacheOwner("loss")
    for key in "ab":
        cache.get_or_build(owner, key, lambda: "graph")
    cache.get(owner, "a")
    cache.get_or_build(owner, "c", lambda: "graph")
    assert [cache.get(owner, key) is not None for key in "abc"] == [True, False, True]
    assert owner.evictions == 1


def test_the_order_is_that_of_all_functions_together():
    cache, one, two = make(max_entries=2), CacheOwner("one"), CacheOwner("two")
    cache.get_or_build(one, "a", lambda: "graph")
    cache.get_or_build(two, "a", lambda: "graph")
    cache.get_or_build(two, "b", lambda: "graph")
    assert cache.get(one, "a") is None
    assert (one.evictions, two.evictions) == (1, 0)


def test_a_function_has_a_budget_of_its_own():
    cache, own, other = make(), CacheOwner("own", max_graphs=2), CacheOwner("other")
    cache.get_or_build(other, "a", lambda: "graph")
    for key in "ab":
        cache.get_or_build(own, key, lambda: "graph")
    cache.get(own, "a")
    cache.get_or_build(own, "c", lambda: "graph")
    assert [cache.get(own, key) is not None for key in "abc"] == [True, False, True]
    assert cache.get(other, "a") == "graph"


def test_bytes_are_bounded_and_the_newest_stays():
    cache, owner = make(max_bytes=10, sizeof=len), CacheOwner("loss")
    for size in (4, 5, 3):
        cache.get_or_build(owner, size, lambda size=size: "x" * size)
    assert [cache.get(owner, size) is not None for size in (4, 5, 3)] == [False, True, True]
    # Check that one that is too large by itself is still found, instead of being traced at each call.
    cache.get_or_build(owner, 20, lambda: "x" * 20)
    assert cache.get(owner, 20) == "x" * 20
    assert cache.info().total.bytes == 20
    assert cache.info().total.graphs == 1


def test_what_goes_unused_for_too_long_is_dropped():
    clock = Clock()
    cache, owner = make(max_age=10, clock=clock), CacheOwner("loss")
    cache.get_or_build(owner, "a", lambda: "graph")
    cache.get_or_build(owner, "b", lambda: "graph")
    clock.now = 8
    assert cache.get(owner, "a") == "graph"
    clock.now = 10
    assert cache.get(owner, "b") == "graph"
    clock.now = 18.5
    assert cache.get(owner, "a") is None
    assert cache.get(owner, "b") == "graph"
    clock.now = 100
    assert cache.info().total.graphs == 0
    assert owner.evictions == 2


def test_resize_drops_at_once_and_leaves_the_rest_alone():
    clock = Clock()
    cache, owner = make(max_entries=5, max_bytes=100, sizeof=len, clock=clock), CacheOwner("loss")
    for key in range(5):
        clock.now += 1
        cache.get_or_build(owner, key, lambda: "xx")
    assert cache.resize(max_entries=4) == Freed(1, 2)
    assert cache.resize(max_bytes=7) == Freed(1, 2)
    assert cache.resize(max_age=1) == Freed(1, 2)
    info = cache.info()
    assert (info.max_entries, info.max_bytes, info.max_age) == (4, 7, 1)
    assert cache.resize(None, None, None) == Freed(0, 0)
    clock.now = 1000
    assert cache.info().total.graphs == 2
    assert cache.info().budget == "no limits"


BUDGETS = [
    ("max_entries", 0),
    ("max_entries", -1),
    ("max_entries", 1.5),
    ("max_entries", True),
    ("max_bytes", 0),
    ("max_bytes", "1 GB"),
    ("max_age", 0),
    ("max_age", -1.0),
    ("max_age", float("inf")),
    ("max_age", float("nan")),
    ("max_age", True),
    ("max_age", "1 s"),
]


@pytest.mark.parametrize(("name", "value"), BUDGETS)
def test_a_wrong_budget_is_named_and_changes_nothing(name, value):
    with pytest.raises(ValueError, match=f"{name} must be a positive .* got {value!r}"):
        make(**{name: value})
    cache, owner = make(max_entries=3, max_bytes=50, max_age=10), CacheOwner("loss")
    cache.get_or_build(owner, "key", lambda: "graph")
    before = cache.info()
    with pytest.raises(ValueError, match=name):
        cache.resize(**{"max_entries": 1, "max_bytes": 1, "max_age": 1, name: value})
    assert cache.info() == before


@pytest.mark.parametrize("value", [0, -3, 2.0, "2", True])
def test_a_wrong_max_graphs_is_named(value):
    with pytest.raises(ValueError, match=f"max_graphs must be a positive whole number.* got {value!r}"):
        CacheOwner("loss", "loss", value)


# -- what drops entries ----------------------------------------------------------------------------------------------


def test_entries_die_with_a_weakly_held_object():
    cache, owner, thing = make(), CacheOwner("loss"), Thing()
    cache.get_or_build(owner, ("loss", id(thing)), lambda: "graph", weak=[thing])
    cache.get_or_build(owner, "other", lambda: "graph")
    with recorded("invalidate") as events:
        del thing
        assert cache.info().total.graphs == 1
    assert owner.invalidations == 1
    assert events[0].reason == "the Thing object it was traced for is gone"


def test_an_id_in_use_again_finds_nothing():
    # Check that a new object at the address of a dead one never gets the dead one's graph.
    cache, owner, reused = make(), CacheOwner("loss"), 0
    ids = set()
    for _ in range(200):
        thing = Thing()
        reused += id(thing) in ids
        ids.add(id(thing))
        assert cache.get(owner, id(thing)) is None
        cache.get_or_build(owner, id(thing), lambda thing=thing: str(id(thing)), weak=[thing])
    assert reused > 0
    assert cache.info().total.graphs == 1


def test_an_object_that_dies_while_it_is_built_for_leaves_no_entry():
    cache, owner, things = make(), CacheOwner("loss"), [Thing()]

    class Weak:
        """Gives its object out once, without holding it."""

        def __iter__(self):
            while things:
                yield things[0]
                return

    def build():
        things.clear()
        gc.collect()
        return "graph"

    assert cache.get_or_build(owner, "key", build, weak=Weak()) == "graph"
    assert cache.get(owner, "key") is None
    assert cache.info().total.graphs == 0


def test_objects_in_cycles_die_too():
    cache, owner, thing = make(), CacheOwner("loss"), Thing()
    thing.itself = thing
    cache.get_or_build(owner, "key", lambda: "graph", weak=[thing])
    del thing
    gc.collect()
    assert cache.get(owner, "key") is None


def test_entries_die_with_their_function():
    cache, owner = make(), CacheOwner("loss", "loss")
    values = [weakref.ref(cache.get_or_build(owner, key, Value)) for key in "ab"]
    cache.get(owner, "a")
    with recorded() as events:
        del owner
        assert [value() for value in values] == [None, None]
        info = cache.info()
    assert [(e.name, e.function, e.kind, e.reason) for e in events] == [
        ("invalidate", "loss", "loss", "the function is gone")
    ] * 2
    (row,) = info.rows
    assert row == ("(gone)", "", 0, 1, 2, 0, 2, row.trace_seconds, 0, 0)


def test_a_function_that_never_met_a_cache_dies_quietly():
    owner = weakref.ref(CacheOwner("loss"))
    assert owner() is None


def test_a_value_may_refer_to_its_own_function():
    # Check the trap: a strong reference from value to function must not keep both alive for ever.
    cache, owner = make(), CacheOwner("recursive")
    cache.get_or_build(owner, "key", lambda owner=owner: [owner])
    watched = weakref.ref(owner)
    del owner
    gc.collect()
    assert watched() is None
    assert cache.info().total.graphs == 0


def test_the_same_with_a_dispose_function():
    disposed = []
    cache, owner = make(dispose=lambda value: disposed.append(len(value))), CacheOwner("recursive")
    cache.get_or_build(owner, "key", lambda owner=owner: [owner])
    watched = weakref.ref(owner)
    del owner
    gc.collect()
    cache.info()
    gc.collect()
    assert watched() is None
    assert disposed == [1]


def test_a_value_that_holds_its_own_object_goes_by_the_budget():
    # Check the documented trap: such an entry keeps its object alive, but not longer than a budget allows.
    cache, owner, thing = make(max_entries=1), CacheOwner("loss"), Thing()
    cache.get_or_build(owner, "key", lambda thing=thing: [thing], weak=[thing])
    watched = weakref.ref(thing)
    del thing
    gc.collect()
    assert watched() is not None
    cache.get_or_build(owner, "next", lambda: "graph")
    assert watched() is None


def test_keys_values_and_owners_are_not_kept():
    cache, owner, thing = make(), CacheOwner("loss"), Thing()
    watched = [
        weakref.ref(cache.get_or_build(owner, "key", Value, weak=[thing])),
        weakref.ref(thing),
        weakref.ref(owner),
    ]
    del owner, thing
    assert [each() for each in watched] == [None] * 3


def test_a_change_of_tracked_state_drops_exactly_what_read_it():
    cache, owner, read, unread = make(), CacheOwner("loss"), Thing(), Thing()
    cache.get_or_build(owner, "reads", lambda: read.order)
    cache.get_or_build(owner, "does not", lambda: "graph", weak=[read])
    cache.get_or_build(owner, "another", lambda: unread.order)
    value = cache.get_or_build(owner, "both", lambda: Value(read.order + unread.order))
    watched = weakref.ref(value)
    del value
    with recorded("invalidate") as events:
        read.order = 4
        # Check that nothing waits for the next operation.
        assert watched() is None
        assert [event.reason for event in events] == ["Thing.order changed"] * 2
    assert [cache.get(owner, key) is not None for key in ("reads", "does not", "another", "both")] == [
        False,
        True,
        True,
        False,
    ]


def test_a_body_that_changes_what_it_reads_is_not_kept():
    cache, owner, thing = make(), CacheOwner("loss"), Thing()

    def build():
        thing.order = thing.order + 1
        return thing.order

    with recorded() as events:
        assert cache.get_or_build(owner, "key", build) == 4
    assert [event.name for event in events] == ["build", "invalidate"]
    assert cache.info().total.graphs == 0
    assert cache.get_or_build(owner, "key", lambda: 0) == 0


def test_a_hit_while_recording_notes_what_the_value_read():
    # Check that an outer graph goes when something changes that only its inner, cached graph had read.
    cache, inner, outer, thing = make(), CacheOwner("inner"), CacheOwner("outer"), Thing()
    cache.get_or_build(inner, "key", lambda: thing.order)
    cache.get_or_build(outer, "key", lambda: cache.get_or_build(inner, "key", lambda: "never"))
    thing.order = 4
    assert cache.get(outer, "key") is None


def test_a_finalizer_that_sets_tracked_state_while_the_cache_works_is_seen():
    # Check the worst moment: between the end of a build and its way into the books.
    cache, owner, thing = make(), CacheOwner("loss"), Thing()

    class Size:
        def __call__(self, value):
            thing.order = 9
            return 1

    cache._sizeof = Size()
    assert cache.get_or_build(owner, "key", lambda: thing.order) == 3
    assert cache.get(owner, "key") is None

    original = cache._enter

    def enter(owner, entry):
        thing.order += 1
        original(owner, entry)

    cache._sizeof, cache._enter = (lambda value: 1), enter
    assert cache.get_or_build(owner, "key", lambda: thing.order) == 9
    assert cache.get(owner, "key") is None


def test_a_change_after_the_cache_is_gone_disturbs_nobody():
    cache, owner, thing = make(), CacheOwner("loss"), Thing()
    entry = [cache.get_or_build(owner, "key", lambda: thing.order) and owner.table["key"]]
    del cache
    gc.collect()
    thing.order = 4
    assert entry[0].outdated == "Thing.order changed"


def test_a_function_that_dies_in_the_middle_of_evicting_costs_the_others_nothing():
    cache, owner, dying = make(max_bytes=30, sizeof=len), CacheOwner("loss"), [CacheOwner("dying")]
    cache.get_or_build(dying[0], "key", lambda: "x" * 10)
    cache.get_or_build(owner, "a", lambda: "x" * 10)
    original = cache._enter

    def enter(*args):
        dying.clear()
        original(*args)

    cache._enter = enter
    cache.get_or_build(owner, "b", lambda: "x" * 15)
    del cache._enter
    assert cache.info().total.graphs == 2
    assert cache.info().total.bytes == 25


def test_what_died_after_an_interrupt_is_taken_off_the_books():
    # Check the worst case for mending: the functions end between the interrupt and the next operation.
    cache, owners = make(sizeof=len), [CacheOwner(name) for name in ("loss", "dies", "its entry is held")]
    for owner in owners:
        cache.get_or_build(owner, "key", lambda: "x" * 10)

    def interrupted(*args, **more):
        raise KeyboardInterrupt

    cache._emit_later = interrupted
    with pytest.raises(KeyboardInterrupt):
        cache.get_or_build(owners[0], "new", lambda: "x" * 10)
    del cache._emit_later
    held = owners[2].table["key"]
    del owners[1:], owner
    gc.collect()
    assert held.owner() is None
    total = cache.info().total
    assert (total.graphs, total.bytes, total.invalidations) == (1, 10, 2)
    assert (list(cache._lru), cache._bytes) == ([owners[0].table["key"].serial], 10)


def test_what_is_dropped_when_it_is_dead_already_weighs_no_more():
    # This used to count the bytes of such an entry for ever.
    cache, owners = make(sizeof=len), [CacheOwner("dies"), CacheOwner("loss")]
    for owner in owners:
        cache.get_or_build(owner, "key", lambda: "x" * 10)
    first = owners[0].table["key"].serial
    del owner

    def drop():
        del owners[0]
        assert cache._lru[first]() is None
        cache._drop(first, "evict", "it is the oldest")
        assert cache._bytes == 10

    cache._open(drop)
    assert cache.info().total[2:] == (1, 0, 2, 0, 1, pytest.approx(0, abs=LONG), 10, 0)
    assert (len(cache._lru), cache._bytes) == (1, 10)


def test_of_two_functions_that_die_one_within_the_burial_of_the_other_both_count():
    # This used to lose the counters of one of them.
    cache, owners = make(), [CacheOwner("first"), CacheOwner("second")]
    for owner in owners:
        cache.get_or_build(owner, "key", lambda: "graph")
    del owner

    class Interrupted(FunctionInfo):
        def plus(self, other):
            if owners:
                owners.clear()
                cache.settle()
            return super().plus(other)

    cache._gone = Interrupted("(gone)", "")
    del owners[0]
    gone = row_of(cache, "(gone)")
    assert (gone.misses, gone.invalidations) == (2, 2)


def test_an_entry_without_its_function_expires_quietly():
    clock = Clock()
    cache, owner = make(max_age=1, clock=clock), CacheOwner("loss")
    cache.get_or_build(owner, "key", lambda: "graph")
    entry, inbox = owner.table["key"], cache._inbox
    del owner
    # As if the function died while the books were open: its entry lives on in somebody's hands, its note is unread.
    note = inbox.pop()
    assert entry.owner() is None
    clock.now = 5
    assert cache.clear() == Freed(0, 0)
    inbox.append(note)
    assert cache.info().total == ("total", "", 0, 0, 1, 0, 1, 0.0, 0, 0)


# -- clear, dispose ---------------------------------------------------------------------------------------------------


def test_clear_says_what_it_freed():
    cache, one, two = make(sizeof=len), CacheOwner("one"), CacheOwner("two")
    cache.get_or_build(one, "a", lambda: "xxx")
    cache.get_or_build(two, "a", lambda: "xx")
    cache.get_or_build(two, "b", lambda: "x")
    assert cache.clear(one) == Freed(graphs=1, bytes=3)
    assert cache.clear() == Freed(graphs=2, bytes=3)
    assert cache.clear() == Freed(0, 0)
    assert (one.evictions, two.evictions) == (1, 2)


def test_clearing_a_function_of_another_cache_frees_nothing():
    cache, other, owner = make(), make(), CacheOwner("loss")
    other.get_or_build(owner, "key", lambda: "graph")
    assert cache.clear(owner) == Freed(0, 0)
    assert other.get(owner, "key") == "graph"


def test_all_caches_are_cleared_together():
    clear_all_caches()
    caches, owners = [make(sizeof=len), make(sizeof=len)], [CacheOwner("one"), CacheOwner("two")]
    for cache, owner in zip(caches, owners, strict=True):
        cache.get_or_build(owner, "key", lambda: "xx")
    assert clear_all_caches() == Freed(2, 4)
    assert [cache.info().total.graphs for cache in caches] == [0, 0]


def test_a_cache_that_is_gone_is_not_registered():
    watched = weakref.ref(make())
    gc.collect()
    assert watched() is None


def test_values_are_disposed_after_the_lock_is_released():
    # Check that another thread can use the cache while a value is disposed.
    served = []

    def dispose(value):
        worker = Worker(lambda: cache.get_or_build(other, "key", lambda: "graph"))
        served.append((value, worker.done()))

    cache, owner, other = make(max_entries=2, dispose=dispose), CacheOwner("loss"), CacheOwner("other")
    cache.get_or_build(other, "key", lambda: "graph")
    for key in "ab":
        cache.get_or_build(owner, key, lambda key=key: key)
        cache.get(other, "key")
    assert served == [("a", "graph")]


def test_values_end_after_the_lock_is_released():
    # Check the same without a dispose function: the end of a value may run code of users, too.
    served = []

    class Ending:
        def __del__(self):
            worker = Worker(cache.info)
            served.append(worker.done() is not None)

    cache, owner = make(max_entries=1), CacheOwner("loss")
    cache.get_or_build(owner, "a", Ending)
    cache.get_or_build(owner, "b", lambda: "graph")
    assert served == [True]


def test_every_value_is_disposed_once_whatever_its_end():
    clock, disposed = Clock(), []
    cache = make(max_entries=3, max_age=5, dispose=disposed.append, clock=clock)
    owner, dying, thing, weak = CacheOwner("loss"), CacheOwner("dying"), Thing(), Thing()
    cache.get_or_build(dying, "key", lambda: "its function died")
    del dying
    cache.get_or_build(owner, 1, lambda: (thing.order, "changed")[1])
    thing.order = 4
    cache.get_or_build(owner, 2, lambda: "its object died", weak=[weak])
    del weak
    for key in (3, 4, 5, 6):
        cache.get_or_build(owner, key, lambda key=key: f"graph {key}")
    assert sorted(disposed) == ["changed", "graph 3", "its function died", "its object died"]
    clock.now = 6
    cache.get_or_build(owner, 7, lambda: "graph 7")
    cache.clear()
    assert sorted(disposed)[1:] == sorted(
        [*(f"graph {key}" for key in (3, 4, 5, 6, 7)), "its function died", "its object died"]
    )


def test_an_exception_of_dispose_is_a_warning_and_loses_no_other():
    disposed = []

    def dispose(value):
        disposed.append(value)
        raise OSError(f"cannot close {value}")

    cache, owner = make(dispose=dispose), CacheOwner("loss")
    for key in "abc":
        cache.get_or_build(owner, key, lambda key=key: key)
    with pytest.warns(ZrunWarning, match=r"dispose raised OSError: cannot close . for a value of loss") as warned:
        assert cache.clear() == Freed(3, 3)
    assert disposed == ["a", "b", "c"]
    assert len(warned) == 3


def test_even_where_warnings_are_errors_nothing_is_lost():
    # Check with the settings of this test run: the first warning is raised, all else has happened by then.
    disposed = []

    def dispose(value):
        disposed.append(value)
        raise OSError(value)

    cache, owner = make(dispose=dispose), CacheOwner("loss")
    for key in "abc":
        cache.get_or_build(owner, key, lambda key=key: key)
    with recorded("evict") as events, pytest.raises(ZrunWarning):
        cache.clear()
    assert disposed == ["a", "b", "c"]
    assert len(events) == 3
    assert cache.info().total.graphs == 0


def test_a_value_whose_end_uses_the_cache_is_no_trouble():
    cache, owner, seen = make(max_entries=1), CacheOwner("loss"), count()

    class Ending:
        def __del__(self):
            if next(seen) < 3:
                cache.get_or_build(owner, object(), Ending)

    cache.get_or_build(owner, "a", Ending)
    cache.get_or_build(owner, "b", lambda: "graph")
    assert cache.info().total.graphs == 1
    # The last ones end here, and not in the middle of another test.
    while cache.clear().graphs:
        pass
    assert next(seen) == 4


def test_a_build_in_the_middle_of_a_drop_is_not_lost():
    # Check that dropping an entry leaves the next one of the same key alone, which a finalizer has just built.
    cache, owner = make(), CacheOwner("loss")
    original = cache._emit_later

    def emit_later(*args, **more):
        original(*args, **more)
        if args[1] == "evict":
            cache.get_or_build(owner, "key", lambda: "new")

    cache.get_or_build(owner, "key", lambda: "old")
    cache._emit_later = emit_later
    cache.clear()
    del cache._emit_later
    assert cache.get(owner, "key") == "new"
    assert cache.info().total.graphs == 1


def test_an_operation_in_the_middle_of_another_leaves_its_effects_to_it():
    # Check that a finalizer which clears the cache while it evicts disposes nothing under the lock.
    held = []
    cache, owner = make(max_entries=2, dispose=lambda value: held.append(cache._busy)), CacheOwner("loss")
    original = cache._enter

    def enter(owner, entry):
        original(owner, entry)
        cache.clear()

    cache.get_or_build(owner, "a", lambda: "graph")
    cache._enter = enter
    cache.get_or_build(owner, "b", lambda: "graph")
    assert held == [False, False]


# -- events, explanations, info --------------------------------------------------------------------------------------


def rows(shape, order=3):
    return lambda: (KeyRow("data", f"float64 ({shape},)", False), KeyRow("self.order", str(order), True))


def test_builds_are_announced_with_reason_cost_and_rows():
    clock = Clock()
    cache, owner = make(clock=clock), CacheOwner("Model.loss", "loss")

    def build():
        clock.now += 0.5
        return "graph"

    with recorded() as events:
        cache.get_or_build(owner, 1, build, rows=rows(1000))
        cache.get_or_build(owner, 2, build, rows=rows(1001))
        cache.get_or_build(owner, 2, build, rows=rows(1001))
    first, second, hit = events
    assert (first.name, first.function, first.kind, first.seconds) == ("build", "Model.loss", "loss", 0.5)
    assert (first.reason, first.retrace) == ("first call", False)
    assert (second.reason, second.retrace) == ("data: float64 (1000,) -> (1001,)", True)
    assert second.rows == rows(1001)()
    assert hit.name == "hit"
    assert {event.owner for event in events} == {owner.token}
    assert owner.seconds == 1.0


def test_nobody_listens_to_hits_by_default():
    cache, owner = make(), CacheOwner("loss")
    with recorded("build") as events:
        for _ in range(3):
            cache.get_or_build(owner, "key", lambda: "graph")
    assert [event.name for event in events] == ["build"]


@pytest.mark.parametrize(
    ("options", "owned", "reason"),
    [
        ({"max_entries": 1}, None, "max_entries=1"),
        ({"max_bytes": 1}, None, "max_bytes=1"),
        ({}, 1, "max_graphs=1"),
    ],
)
def test_evictions_name_the_budget(options, owned, reason):
    cache, owner = make(**options), CacheOwner("loss", "loss", owned)
    with recorded("evict") as events:
        for key in "ab":
            cache.get_or_build(owner, key, lambda: "graph")
    assert [(event.function, event.reason) for event in events] == [("loss", reason)]


def test_a_retrace_after_a_drop_says_what_dropped_it():
    clock = Clock()
    cache, owner, thing = make(max_entries=1, max_age=60, clock=clock), CacheOwner("loss"), Thing()
    with recorded("build") as events:
        cache.get_or_build(owner, 1, lambda: thing.order, rows=rows(1))
        thing.order = 5
        cache.get_or_build(owner, 1, lambda: thing.order, rows=rows(1))
        cache.get_or_build(owner, 2, lambda: "graph", rows=rows(2))
        cache.get_or_build(owner, 1, lambda: thing.order, rows=rows(1))
        clock.now = 61
        cache.get_or_build(owner, 1, lambda: thing.order, rows=rows(1))
        cache.clear()
        cache.get_or_build(owner, 1, lambda: thing.order, rows=rows(1))
    assert [event.reason for event in events] == [
        "first call",
        "its graph was dropped: Thing.order changed",
        "data: float64 (1,) -> (2,)",
        "its graph was dropped: max_entries=1",
        "its graph was dropped: not used for 60 s",
        "its graph was dropped: cleared",
    ]


def test_explain_looks_without_touching():
    clock = Clock()
    cache, owner = make(max_entries=2, clock=clock), CacheOwner("loss")

    def build():
        clock.now += 0.25
        return "graph"

    assert cache.explain(owner, 1, rows(1)()).reason == "first call"
    cache.get_or_build(owner, 1, build, rows=rows(1))
    cache.get_or_build(owner, 2, build, rows=rows(1, order=4))
    before = cache.info()
    hit = cache.explain(owner, 1, rows(1)())
    assert (hit.hit, hit.reason, hit.seconds) == (True, "found", 0.25)
    miss = cache.explain(owner, 3, rows(7, order=4)())
    assert (miss.hit, miss.reason, miss.seconds, miss.seen) == (False, "data: float64 (1,) -> (7,)", 0.25, 2)
    assert cache.info() == before
    # Check that explaining did not make the first the most recently used.
    cache.get_or_build(owner, 5, build)
    assert cache.get(owner, 1) is None


def test_explain_does_not_take_a_dead_entry_for_a_hit():
    cache, owner, thing = make(), CacheOwner("loss"), Thing()
    cache.get_or_build(owner, 1, lambda: "graph", weak=[thing], rows=rows(1))
    del thing
    assert cache.explain(owner, 1, rows(1)()).dropped == "the Thing object it was traced for is gone"


def test_keys_without_description_are_not_compared():
    cache, owner = make(), CacheOwner("loss")
    with recorded("build") as events:
        cache.get_or_build(owner, 1, lambda: "graph")
        cache.get_or_build(owner, 2, lambda: "graph")
        cache.get_or_build(owner, 3, lambda: "graph", rows=rows(1))
    assert [event.reason for event in events] == [
        "first call",
        *["called before, but its keys have no description"] * 2,
    ]


def test_only_the_most_recent_keys_are_compared():
    cache, owner = make(), CacheOwner("loss")
    for key in range(50):
        cache.get_or_build(owner, key, lambda: "graph", rows=rows(key))
    assert cache.explain(owner, "new", rows(1, order=4)()).seen == 32


def test_info_has_a_row_per_function_and_prints_as_a_table():
    clock = Clock()
    cache = make(max_entries=40, max_bytes=3 * 1024**2, max_age=90, sizeof=lambda value: 1536, clock=clock)
    quick, slow, gone = CacheOwner("<locals>.quick", "model"), CacheOwner("slow", "loss"), CacheOwner("gone")

    def build(seconds):
        def body():
            clock.now += seconds
            return "graph"

        return body

    cache.get_or_build(gone, 1, build(0.0))
    del gone
    cache.get_or_build(quick, 1, build(0.125))
    cache.get_or_build(quick, 1, build(0.125))
    cache.get_or_build(slow, 1, build(2.0))
    cache.get_or_build(slow, 2, build(2.0))
    cache.clear(quick)
    info = cache.info()
    assert str(info) == (
        "function        kind   graphs  compiled  hits  misses  evicted  dropped  trace s  memory\n"
        "slow            loss        2         0     0       2        0        0    4.000  3.0 kB\n"
        "<locals>.quick  model       0         0     1       1        1        0    0.125     0 B\n"
        "(gone)                      0         0     0       1        0        1    0.000     0 B\n"
        "total                       2         0     1       4        1        1    4.125  3.0 kB\n"
        "at most 40 graphs, 3.0 MB, 90 s unused"
    )
    html = info._repr_html_()
    assert "&lt;locals&gt;.quick" in html
    assert "<locals>" not in html
    assert html.count("<tr>") == 5
    assert html.startswith("<table>")
    assert html.endswith("</table>")


class RichTable:
    """What the table of rich is told, since rich need not be installed here."""

    def __init__(self, title, caption):
        self.title, self.caption = title, caption
        self.show_footer = False
        self.columns, self.rows = [], []

    def add_column(self, name, footer, justify):
        self.columns.append((name, footer, justify))

    def add_row(self, *cells):
        self.rows.append(cells)


def test_info_is_a_table_for_rich(monkeypatch):
    monkeypatch.setitem(sys.modules, "rich", types.ModuleType("rich"))
    fake = types.ModuleType("rich.table")
    fake.Table = RichTable
    monkeypatch.setitem(sys.modules, "rich.table", fake)
    rows = FunctionInfo("loss", "loss", 2, 41, 3, bytes=2048), FunctionInfo("pdf", "model", 1, 1, 1)
    table = CacheInfo(rows, max_entries=40).__rich__()
    assert (table.title, table.caption, table.show_footer) == ("Graph cache", "at most 40 graphs", True)
    names, sums, sides = zip(*table.columns, strict=True)
    assert names[:3] == ("function", "kind", "graphs")
    assert sums == ("total", "", "3", "0", "42", "4", "0", "0", "0.000", "2.0 kB")
    assert sides == ("left",) * 2 + ("right",) * 8
    assert table.rows == [
        ("loss", "loss", "2", "0", "41", "3", "0", "0", "0.000", "2.0 kB"),
        ("pdf", "model", "1", "0", "1", "1", "0", "0", "0.000", "0 B"),
    ]


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 kB"), (1.5 * 1024**2, "1.5 MB"), (2**30, "1.0 GB"), (2**41, "2.0 TB")],
)
def test_sizes_have_units(nbytes, text):
    from zrun_core._cache_info import in_units

    assert in_units(nbytes) == text


def test_an_owner_describes_itself():
    assert repr(CacheOwner("loss")) == "<CacheOwner of loss: 0 graphs>"


# -- memory and processes --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_100_000_objects_leave_nothing_behind():
    # Check that entries are 0 at the end and that the number of allocated blocks does not grow with the objects.
    cache, owner = make(), CacheOwner("loss")

    def use(n):
        for _ in range(n):
            thing = Thing()
            key = id(thing)
            cache.get_or_build(owner, key, lambda key=key: (key,), weak=[thing])
            thing.order = 4

    use(2000)
    gc.collect()
    blocks = sys.getallocatedblocks()
    use(100_000)
    info = cache.info()
    gc.collect()
    assert info.total.graphs == 0
    assert owner.invalidations == 102_000
    assert sys.getallocatedblocks() - blocks < 500


def test_without_garbage_collection_nothing_stays_either():
    # Check that plain reference counts free all of it: a full collection can take longer than a fit.
    cache, owner = make(), CacheOwner("loss")
    gc.collect()
    gc.disable()
    try:
        things = [Thing() for _ in range(100)]
        watched = [weakref.ref(thing) for thing in things]
        for thing in things:
            value = cache.get_or_build(owner, id(thing), lambda thing=thing: Value(thing.order), weak=[thing])
            watched.append(weakref.ref(value))
        del things, thing, value
        cache.info()
        assert [each() for each in watched] == [None] * 200
    finally:
        gc.enable()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_does_not_wait_for_threads_it_does_not_have():
    cache, owner = make(), CacheOwner("loss")
    build = Build("graph")
    worker = Worker(lambda: cache.get_or_build(owner, "key", build))
    assert build.started.wait(LONG)
    locked, unlock = threading.Event(), threading.Event()

    def hold():
        with cache._lock:
            locked.set()
            assert unlock.wait(LONG)

    holder = Worker(hold)
    assert locked.wait(LONG)
    child = os.fork()
    if child == 0:
        # No assertion may travel from here into the tests of the parent.
        os._exit(0 if cache.get_or_build(owner, "key", lambda: "child") == "child" else 1)
    unlock.set()
    build.go_on.set()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    holder.done()
    assert worker.done() == "graph"


def test_a_platform_that_cannot_fork():
    program = (
        "import os\n"
        "vars(os).pop('register_at_fork', None)\n"
        "from zrun_core import _fork\n"
        "assert _fork.Guard() in _fork.renewed_in_child\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_locks_are_renewed_in_a_child():
    guard = _fork.Guard()
    before = guard.lock
    _fork._renew_all()
    assert guard.lock is not before
