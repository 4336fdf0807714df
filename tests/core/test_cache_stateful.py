"""Random programs on a GraphCache, compared step by step with a model that is a plain dictionary."""

from __future__ import annotations

import gc
from collections import OrderedDict

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from zrun_core._cache import CacheOwner, Freed, GraphCache
from zrun_core._invalidates import touch
from zrun_core._tracked import tracked

KEYS = st.integers(0, 5)
BUDGETS = {
    "max_entries": st.none() | st.integers(1, 6),
    "max_bytes": st.none() | st.integers(1, 30),
    "max_age": st.none() | st.integers(5, 20),
}


pytestmark = pytest.mark.slow


class Thing:
    a = tracked(0)
    b = tracked(0)


class Entry:
    """What the model knows of an entry."""

    def __init__(self, value, size, used, reads, weak):
        self.value, self.size, self.used, self.reads, self.weak = value, size, used, reads, weak


class CacheMachine(RuleBasedStateMachine):
    owners = Bundle("owners")
    things = Bundle("things")

    def __init__(self):
        super().__init__()
        self.now = 0
        self.alive_owners = {}
        self.alive_things = {}
        self.serial = 0
        # From (function, key) to entry, the least recently used first.
        self.model = OrderedDict()
        self.counts = {}
        self.gone = [0, 0, 0, 0]
        self.disposed = []
        self.expected_disposed = []

    @initialize(target=owners, **BUDGETS)
    def start(self, max_entries, max_bytes, max_age):
        self.budget = {"max_entries": max_entries, "max_bytes": max_bytes, "max_age": max_age}
        self.cache = GraphCache(
            **self.budget, sizeof=lambda value: value[1], dispose=self.disposed.append, clock=lambda: self.now
        )
        return multiple(self.new_function(None), self.new_function(2))

    # -- the model ---------------------------------------------------------------------------------------------------

    def next_serial(self):
        self.serial += 1
        return self.serial

    def drop(self, where, column):
        self.expected_disposed.append(self.model.pop(where).value)
        self.counts[where[0]][column] += 1

    def expire(self):
        if self.budget["max_age"] is not None:
            for where, entry in list(self.model.items()):
                if entry.used + self.budget["max_age"] < self.now:
                    self.drop(where, "evictions")

    def trim(self, owner=None):
        limit = self.alive_owners[owner].max_graphs if owner is not None else None
        own = [where for where in self.model if where[0] == owner]
        if limit is not None:
            for where in own[: max(0, len(own) - limit)]:
                self.drop(where, "evictions")
        while self.budget["max_entries"] is not None and len(self.model) > self.budget["max_entries"]:
            self.drop(next(iter(self.model)), "evictions")
        while self.budget["max_bytes"] is not None and len(self.model) > 1 and self.size() > self.budget["max_bytes"]:
            self.drop(next(iter(self.model)), "evictions")

    def size(self):
        return sum(entry.size for entry in self.model.values())

    def invalidate(self, condition):
        for where, entry in list(self.model.items()):
            if condition(entry):
                self.drop(where, "invalidations")

    def use(self, where):
        self.model.move_to_end(where)
        self.model[where].used = self.now
        self.counts[where[0]]["hits"] += 1

    # -- what can happen ---------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.alive_owners) < 3)
    @rule(target=owners, max_graphs=st.none() | st.integers(1, 3))
    def another_function(self, max_graphs):
        return self.new_function(max_graphs)

    def new_function(self, max_graphs):
        name = self.next_serial()
        self.alive_owners[name] = CacheOwner(f"function {name}", "loss", max_graphs)
        self.counts[name] = {"hits": 0, "misses": 0, "evictions": 0, "invalidations": 0}
        return name

    @precondition(lambda self: len(self.alive_things) < 5)
    @rule(target=things, n=st.integers(1, 3))
    def new_objects(self, n):
        names = [self.next_serial() for _ in range(n)]
        self.alive_things.update((name, Thing()) for name in names)
        return multiple(*names)

    @rule(name=consumes(owners))
    def function_dies(self, name):
        if any(where[0] == name for where in self.model) or any(self.counts[name].values()):
            self.expire()
        dropped = [where for where in self.model if where[0] == name]
        for where in dropped:
            self.drop(where, "invalidations")
        counts = self.counts.pop(name)
        self.gone = [a + b for a, b in zip(self.gone, counts.values(), strict=True)]
        # The books are settled first, so that what is too old by now counts as evicted in both.
        self.cache.info()
        del self.alive_owners[name]

    @rule(name=consumes(things), cycle=st.booleans())
    def object_dies(self, name, cycle):
        self.cache.info()
        self.expire()
        if cycle:
            self.alive_things[name].itself = self.alive_things[name]
        del self.alive_things[name]
        if cycle:
            gc.collect()
        self.invalidate(lambda entry: name in entry.weak)

    @rule(name=owners, keys=st.lists(KEYS, min_size=1, max_size=4))
    def get(self, name, keys):
        self.expire()
        for key in keys:
            found = self.cache.get(self.alive_owners[name], key)
            if (name, key) in self.model:
                assert found == self.model[name, key].value
                self.use((name, key))
            else:
                assert found is None

    @rule(calls=st.lists(st.tuples(owners, KEYS, st.integers(0, 12)), min_size=1, max_size=8), data=st.data())
    def get_or_build(self, calls, data):
        names = st.sampled_from(sorted(self.alive_things)) if self.alive_things else st.nothing()
        reads = data.draw(st.sets(st.tuples(names, st.sampled_from("ab")), max_size=3)) if self.alive_things else set()
        weak = data.draw(st.sets(names, max_size=2)) if self.alive_things else set()
        self.expire()
        for name, key, size in calls:
            self.get_or_build_one(name, key, size, reads, weak)

    def get_or_build_one(self, name, key, size, reads, weak):
        value = (self.next_serial(), size)

        def build():
            for thing, attribute in reads:
                getattr(self.alive_things[thing], attribute)
            return value

        found = self.cache.get_or_build(
            self.alive_owners[name], key, build, weak=[self.alive_things[each] for each in weak]
        )
        if (name, key) in self.model:
            assert found == self.model[name, key].value
            self.use((name, key))
        else:
            assert found == value
            self.counts[name]["misses"] += 1
            self.model[name, key] = Entry(value, size, self.now, reads, weak)
            self.trim(name)

    @rule(name=owners, key=KEYS)
    def fail_to_build(self, name, key):
        self.expire()

        def build():
            raise KeyError(key)

        if (name, key) in self.model:
            self.cache.get_or_build(self.alive_owners[name], key, build)
            self.use((name, key))
        else:
            with pytest.raises(KeyError):
                self.cache.get_or_build(self.alive_owners[name], key, build)
            self.counts[name]["misses"] += 1

    @rule(changes=st.lists(st.tuples(things, st.sampled_from("ab"), st.integers(0, 1)), min_size=1, max_size=4))
    def set_attributes(self, changes):
        self.cache.info()
        self.expire()
        for name, attribute, value in changes:
            same = getattr(self.alive_things[name], attribute) == value
            setattr(self.alive_things[name], attribute, value)
            if not same:
                self.invalidate(lambda entry, read=(name, attribute): read in entry.reads)

    @rule(name=things)
    def touch_object(self, name):
        self.cache.info()
        self.expire()
        touch(self.alive_things[name])
        self.invalidate(lambda entry: name in entry.weak or any(read[0] == name for read in entry.reads))

    @rule(name=st.none() | owners)
    def clear(self, name):
        self.expire()
        dropped = [where for where in self.model if name is None or where[0] == name]
        freed = Freed(len(dropped), sum(self.model[where].size for where in dropped))
        assert self.cache.clear(None if name is None else self.alive_owners[name]) == freed
        for where in dropped:
            self.drop(where, "evictions")

    @rule(changes=st.fixed_dictionaries({}, optional=BUDGETS))
    def resize(self, changes):
        self.expire()
        self.budget.update(changes)
        before = len(self.model), self.size()
        freed = self.cache.resize(**changes)
        self.expire()
        self.trim()
        assert freed == Freed(before[0] - len(self.model), before[1] - self.size())

    @rule(seconds=st.integers(1, 6))
    def time_passes(self, seconds):
        self.now += seconds

    # -- what must be true after each step ---------------------------------------------------------------------------

    @invariant()
    def the_books_agree_with_the_model(self):
        self.expire()
        info = self.cache.info()
        found = {(name, key) for name, owner in self.alive_owners.items() for key in owner.table}
        assert found == set(self.model)
        rows = {row.function: row for row in info.rows}
        for name, counts in self.counts.items():
            graphs = [entry for where, entry in self.model.items() if where[0] == name]
            row = rows.pop(f"function {name}", None)
            if row is None:
                assert not any(counts.values())
            else:
                assert (row.graphs, row.bytes) == (len(graphs), sum(entry.size for entry in graphs))
                assert (row.hits, row.misses, row.evictions, row.invalidations) == tuple(counts.values())
        gone = rows.pop("(gone)", None)
        assert list(gone[3:7] if gone is not None else (0, 0, 0, 0)) == self.gone
        assert rows == {}
        assert sorted(self.disposed) == sorted(self.expected_disposed)

    def teardown(self):
        # Check that in the end nothing stays: no entry, no byte, and every value disposed once.
        self.alive_owners.clear()
        gc.collect()
        total = self.cache.info().total
        assert (total.graphs, total.bytes) == (0, 0)
        assert len(self.disposed) == len(set(self.disposed))
        assert total.misses >= len(self.disposed) == total.evictions + total.invalidations


class TestCacheMachine(CacheMachine.TestCase):
    """Collected here, because pytest leaves classes out that were made in another module."""

    settings = settings(max_examples=60, stateful_step_count=40)
