"""What comes in between the steps of the cache: Ctrl-C, and finalizers that use the cache themselves."""

from __future__ import annotations

import contextlib
import sys

import pytest

from zrun_core import (
    CacheOwner,
    GraphCache,
    RunManager,
    _books,
    _build_once,
    _builder,
    _cache,
    _events,
    _fork,
    _function,
    _invalidates,
    _order,
    _owner,
    _reads,
    _tracked,
    invalidates,
    listen,
    testing,
    touch,
    tracked,
)
from zrun_core._events import Event, emit

from .counting_backend import CountingBackend
from .stepping import at_every_step, elsewhere, happens_at, interrupted_at

CACHE = (_books, _build_once, _builder, _cache, _fork, _order, _owner)
MODULES = (*CACHE, _events, _function, _invalidates, _reads, _tracked, testing)
FILES = frozenset(module.__file__ for module in (*MODULES, contextlib))


class Thing:
    order = tracked(3)
    knots = tracked(default_factory=list)

    @invalidates
    def add(self):
        self.knots.append(1.0)


class Case:
    """A cache with an operation on it."""

    def __init__(self, operation, entries=3):
        self.disposed = []
        self.cache = GraphCache(
            max_entries=entries, max_bytes=10 * entries, sizeof=lambda value: 10, dispose=self.disposed.append
        )
        self.owner = CacheOwner("loss", max_graphs=entries)
        self.thing = Thing()
        self.thing.order = 4
        for key in range(entries):
            self.ask(key)
        self.operation = getattr(self, operation)

    def ask(self, key):
        return self.cache.get_or_build(self.owner, key, lambda: self.made(key), weak=[self.thing])

    def made(self, key):
        return key, self.thing.order, len(self.thing.knots)

    def build(self):
        self.ask("new")

    def change(self):
        self.thing.order += 1

    def delete(self):
        del self.thing.order

    def mutate(self):
        self.thing.add()

    def touch(self):
        touch(self.thing)

    def clear(self):
        self.cache.clear()

    def shrink(self):
        self.cache.resize(max_entries=1)

    def end(self):
        self.owner = None

    def check(self):
        """The books are right, and everybody can go on."""
        self.owner = self.owner or CacheOwner("another")
        keys = (0, 1, 2, "new", "other")
        assert elsewhere(lambda: [self.ask(key) for key in keys]) == [self.made(key) for key in keys]
        total = self.cache.info().total
        assert (total.graphs, total.bytes) == (len(self.owner.table), 10 * len(self.owner.table))
        assert list(self.owner.order) == list(self.cache._lru)
        assert self.cache._bytes == self.owner.nbytes == total.bytes
        heard = []
        with listen(heard.append, "evict"):
            self.cache.clear()
        assert len(heard) == total.graphs
        assert (self.cache._lru, self.cache._bytes, self.owner.table, self.owner.nbytes) == ({}, 0, {}, 0)
        assert not self.cache._after
        values = list(map(id, self.disposed))
        assert len(values) == len(set(values)), "a value was disposed of twice"


# Python reports an interrupt that hits a finalizer, and goes on.
interrupts_are_reported = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

OPERATIONS = ["build", "change", "delete", "mutate", "touch", "clear", "shrink"]


@interrupts_are_reported
@pytest.mark.parametrize("kept", [False, True], ids=["", "kept"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_interrupt_at_any_step_leaves_the_books_right_and_others_going_on(operation, kept):
    # This used to leave sizes and orders that fitted no entry, so that a function with max_graphs went round for ever;
    # and the lock in the hands of the interrupted thread, for as long as somebody kept the traceback (notebooks do).
    tracebacks = []

    def try_step(step):
        case = Case(operation)
        error = interrupted_at(step, FILES, case.operation)
        if kept:
            tracebacks[:] = [error]
        case.check()
        return error is not None

    at_every_step(30, try_step)


@pytest.mark.parametrize("operation", [*OPERATIONS, "end"])
@pytest.mark.parametrize("other", ["build", "change", "mutate", "clear", "shrink"])
def test_a_finalizer_at_any_step_leaves_the_books_right(operation, other):
    # This used to lose what a function left behind, and to go round for ever where max_graphs was full.
    def try_step(step):
        case = Case(operation)
        # It must not keep the function alive.
        ask = case.ask
        twins = [CacheOwner("twin", max_graphs=1)]

        def finalizer():
            if other == "build":
                case.cache.get_or_build(twins[0], step, lambda: (step,))
                if case.owner is not None:
                    ask("other")
            else:
                getattr(case, other)()

        came = elsewhere(lambda: happens_at(step, FILES, finalizer, case.operation))
        twins.clear()
        case.check()
        return came

    at_every_step(5, try_step)


@interrupts_are_reported
def test_an_interrupt_at_any_step_of_a_call_leaves_the_function_usable():
    run = RunManager(backend=CountingBackend())
    tracebacks = []

    def try_step(step):
        @run.function
        def double(x):
            return x + x

        tracebacks[:] = [interrupted_at(step, FILES, lambda: double(1.5))]
        assert elsewhere(lambda: double(3.0)) == 6.0
        return tracebacks[0] is not None

    at_every_step(30, try_step)


def test_a_finalizer_that_asks_for_what_has_just_been_built_waits_for_nobody():
    # This used to wait for ever where the finalizer ran while those who wait were being told.
    files = FILES | {sys.modules["threading"].__file__}

    def try_step(step):
        cache, owner = GraphCache(max_entries=None, sizeof=lambda value: 1), CacheOwner("loss")

        def ask():
            with contextlib.suppress(_cache.Reentrant):
                assert cache.get_or_build(owner, "key", lambda: "graph") == "graph"

        came = elsewhere(lambda: happens_at(step, files, ask, ask))
        ask()
        assert cache.info().total.graphs == 1
        return came

    at_every_step(30, try_step)


@interrupts_are_reported
def test_an_interrupt_while_entering_leaves_no_listener():
    heard = []
    listener = listen(heard.append, "build")

    def enter():
        listener.__enter__()
        listener.__exit__(None, None, None)

    def try_step(step):
        interrupted = interrupted_at(step, FILES, enter) is not None
        # Python itself can be interrupted as __exit__ begins, before a line of it has run.
        left = _events._audience.listeners.count(listener)
        for _ in range(left):
            listener.__exit__(None, None, None)
        del heard[:]
        with listener:
            emit(Event("build", "loss", "loss"))
        assert len(heard) == 1
        lefts.append(left)
        return interrupted

    lefts = []
    at_every_step(8, try_step)
    assert max(lefts) == 1
    assert sum(lefts) <= 2


def test_a_finalizer_that_ends_a_block_while_another_begins_is_not_undone():
    def try_step(step):
        first, second = (listen(print, "hit") for _ in range(2))
        first.__enter__()

        def begin():
            with second:
                pass

        came = happens_at(step, FILES, lambda: first.__exit__(None, None, None), begin)
        if not came:
            first.__exit__(None, None, None)
        assert not {first, second} & set(_events._audience.listeners)
        return came

    at_every_step(8, try_step)


def test_a_finalizer_that_traces_while_traces_are_counted_waits_for_nobody():
    # This used to wait for ever for a lock of the counter.
    def try_step(step):
        traces = testing.count_traces("loss")

        def trace():
            emit(Event("build", "loss", "loss"))

        def work():
            with traces:
                trace()
                traces.reset()
                trace()
                assert traces.total in (1, 2)

        return elsewhere(lambda: happens_at(step, FILES, trace, work))

    at_every_step(10, try_step)
