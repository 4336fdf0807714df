"""Dropped graphs come back without help, and what XLA keeps for good is made sparingly and said."""

from __future__ import annotations

import gc
import warnings
import weakref

import numpy as np
import pytest
import tensorflow as tf

import zrun_tf as zrun
from zrun_core.errors import ZrunWarning
from zrun_tf import _release
from zrun_tf._graph import CALLS_UNTIL_COMPILED
from zrun_tf._release import MOST_WAITING, Release

RUN = zrun.run
X = tf.constant(1.5, tf.float64)


@pytest.fixture
def graphs():
    """TensorFlow's graphs of the functions that `opaque` makes, weakly."""
    return weakref.WeakSet()


@pytest.fixture
def opaque(graphs):
    """A class nobody can take apart, each object of which has a graph with a constant of its own."""

    class Opaque:
        def __init__(self, size=1000):
            self.constant = np.ones(size)

        @zrun.function
        def total(self, x):
            graphs.add(tf.compat.v1.get_default_graph())
            return tf.reduce_sum(self.constant) * x

    with RUN.using(retrace="allow"):
        yield Opaque


def compiled(opaque):
    assert opaque.total.__qualname__ in str(RUN.cache_info())
    return opaque.total.owner.info().compiled


def test_dropped_graphs_do_not_pile_up_where_collection_is_switched_off(opaque, graphs):
    # This used to keep every graph: a graph of TensorFlow is a cycle, which only a collection frees.
    gc.collect()
    gc.disable()
    try:
        most = 0
        for _ in range(4 * MOST_WAITING):
            assert float(opaque().total(X)) == 1500.0
            most = max(most, len(graphs))
    finally:
        gc.enable()
    assert most <= MOST_WAITING + 1


def test_large_graphs_are_collected_before_many_wait(monkeypatch):
    class Held:
        pass

    release = Release()
    monkeypatch.setattr(_release, "MOST_BYTES_WAITING", 1000)
    collected = []
    monkeypatch.setattr(gc, "collect", lambda: collected.append(len(collected)))
    waits = Held()

    def drop(nbytes):
        class FakeGraph:
            name = "loss"

            class status:
                compiled = False

        graph = FakeGraph()
        graph.nbytes = nbytes
        release.watch(graph, waits)

    drop(400)
    release.settle()
    assert collected == []
    drop(700)
    release.settle()
    assert collected == [0]


def test_a_graph_in_use_is_not_waited_for(opaque, graphs):
    kept = [opaque() for _ in range(3)]
    for one in kept:
        one.total(X)
    gc.collect()
    assert len(graphs) == 3
    assert float(kept[0].total(X)) == 1500.0


@pytest.mark.parametrize("calls", [CALLS_UNTIL_COMPILED - 1, CALLS_UNTIL_COMPILED, CALLS_UNTIL_COMPILED + 3])
def test_the_graph_of_a_single_object_is_compiled_once_it_is_used_often(opaque, graphs, calls):
    one = opaque()
    with RUN.using(jit=True):
        assert [float(one.total(X)) for _ in range(calls)] == [1500.0] * calls
    assert compiled(opaque) == (calls >= CALLS_UNTIL_COMPILED)
    # The Python body ran once, compiled or not.
    assert len(graphs) == 1


def test_a_graph_that_objects_share_is_compiled_at_once():
    @zrun.function
    def shared(x):
        return x * 2

    with RUN.using(jit=True):
        shared(X)
    assert shared.owner.info().compiled == 1


def test_a_function_that_asks_for_it_is_compiled_at_once(opaque):
    class Asking(opaque):
        @zrun.function(jit_compile=True)
        def total(self, x):
            return tf.reduce_sum(self.constant) * x

    assert float(Asking().total(X)) == 1500.0
    one = Asking()
    one.total(X)
    assert compiled(Asking) == 1


def test_gradients_of_what_was_compiled_later_are_right(opaque):
    class Owner:
        @zrun.function
        def square(self, v, x):
            return v * v * x

    owner = Owner()
    v = tf.Variable(3.0, dtype=tf.float64)
    with RUN.using(jit=True):
        for _ in range(CALLS_UNTIL_COMPILED + 2):
            with tf.GradientTape() as tape:
                value = owner.square(v, X)
            assert float(value) == 13.5
            assert float(tape.gradient(value, v)) == 9.0


def test_many_dropped_compiled_graphs_are_said_once(opaque, monkeypatch):
    monkeypatch.setattr(_release, "_MOST_COMPILED_DROPPED", 2)
    monkeypatch.setattr(RUN.backend, "_release", Release())

    class Asking(opaque):
        @zrun.function(jit_compile=True)
        def total(self, x):
            return tf.reduce_sum(self.constant) * x

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(5):
            Asking().total(X)
    told = [each for each in said if issubclass(each.category, ZrunWarning) and "XLA" in str(each.message)]
    assert len(told) == 1
    assert "Asking.total" in str(told[0].message)
    assert "jit=False" in str(told[0].message)


def test_released_memory_is_reported(opaque):
    # Large enough to be given back, and one graph each.
    kept = [opaque(1_000_000) for _ in range(6)]
    for one in kept:
        one.total(X)
    del one
    kept.clear()
    freed = RUN.clear_graph_cache(release_memory=True)
    assert freed.bytes > 20_000_000
