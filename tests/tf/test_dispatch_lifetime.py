"""What changes between two calls of one function: policies, caches, budgets, objects that die, TensorFlow itself."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref

import numpy as np
import pytest
import tensorflow as tf

import zrun_tf as zrun
from zrun_core.testing import count_traces
from zrun_tf import _dispatch
from zrun_tf._graph import Graph

pytestmark = pytest.mark.usefixtures("path")

RUN = zrun.run
X = tf.constant([1.0, 2.0, 3.0])


@pytest.fixture
def counted():
    """A function and a list that says of each run of its body whether it was eager."""
    eager = []

    @zrun.function(kind="loss")
    def function(x):
        eager.append(tf.executing_eagerly())
        return x * 2

    function(X), function(X)
    assert eager == [False]
    return function, eager


def test_each_path_is_the_one_it_says(path, counted):
    function, _ = counted
    graphs = [entry.value for entry in function.owner.table.values()]
    expected = Graph if path == "public" else _dispatch.DirectGraph
    assert [type(graph) for graph in graphs] == [expected]
    assert function._ruling.memo.keys() == (set() if path == "public" else {(1, (3,))})


def test_the_policy_may_change_between_calls(counted):
    function, eager = counted
    for graph in (False, True, False):
        with RUN.using(graph=graph):
            np.testing.assert_array_equal(function(X), [2, 4, 6])
    function(X)
    with RUN.using(graph={"loss": False}):
        function(X)
    assert eager == [False, True, True, True]


def test_a_policy_that_is_part_of_the_key_has_graphs_of_its_own(counted):
    function, eager = counted
    for _ in range(2):
        with RUN.using(check_numerics=True), pytest.raises(tf.errors.InvalidArgumentError, match="check_numerics"):
            function(X / 0.0)
        assert np.isinf(function(X / 0.0)).all()
        with RUN.using(autograd=False):
            function(X)
    assert eager == [False] * 3


def test_the_default_may_change_between_calls(counted):
    function, eager = counted
    try:
        RUN.set_mode(graph=False)
        function(X)
        RUN.set_mode(graph=True)
        function(X)
    finally:
        RUN.set_mode_default()
    function(X)
    assert eager == [False, True]


def test_clearing_the_cache_between_calls(counted):
    function, eager = counted
    # Held as a thread would that is calling it: what was dropped must not be found again.
    held = list(function.owner.table.values())
    assert RUN.clear_graph_cache().graphs >= 1
    for _ in range(3):
        np.testing.assert_array_equal(function(X), [2, 4, 6])
    assert eager == [False, False]
    assert [entry.value for entry in held] != [entry.value for entry in function.owner.table.values()]


def test_a_budget_between_calls():
    traced = []

    @zrun.function(max_graphs=2)
    def function(x):
        traced.append(x.shape[0])
        return x + 1

    for n in (1, 2, 1, 2, 1, 3, 1, 2, 3):
        np.testing.assert_array_equal(function(np.zeros(n)), np.ones(n))
    # The least recently used goes: 2 when 3 comes, 3 when 2 comes back, then 1.
    assert traced == [1, 2, 3, 2, 3]


def test_the_short_way_counts_as_use(counted):
    function, _ = counted
    row = next(row for row in RUN.cache_info().rows if row.function == function.owner.name and row.graphs)
    for _ in range(5):
        function(X)
    again = next(row for row in RUN.cache_info().rows if row.function == function.owner.name and row.graphs)
    assert (again.hits - row.hits, again.misses - row.misses) == (5, 0)


def test_very_many_structures():
    with RUN.using(retrace="allow"):
        many = zrun.function(lambda n, x: x * float(n))
        for n in [*range(300), *range(300)]:
            if n % 10 == 0:
                np.testing.assert_array_equal(many(n, X), X * n)
        for shape in range(1, 20):
            np.testing.assert_array_equal(many(2, tf.ones(shape)), np.full(shape, 2.0))


def test_a_tracked_change_between_calls():
    class Scale:
        factor = zrun.tracked(2.0)

    scale = Scale()
    function = zrun.function(lambda x: scale.factor * x)
    with count_traces() as traces:
        assert [function(1.0).numpy() for _ in range(3)] == [2.0] * 3
        scale.factor = 5.0
        assert [function(1.0).numpy() for _ in range(3)] == [5.0] * 3
    assert traces.total == 2


class Opaque:
    def __init__(self, factor):
        self.factor = factor


def test_an_opaque_argument_dies_between_calls():
    function = zrun.function(lambda model, x: model.factor * x)
    first, second = Opaque(2.0), Opaque(3.0)
    for _ in range(3):
        assert [function(first, 1.0).numpy(), function(second, 1.0).numpy()] == [2.0, 3.0]
    gone = weakref.ref(first)
    del first
    gc.collect()
    assert gone() is None
    assert function(second, 1.0).numpy() == 3.0
    # A new object may get the address of the old one.
    others = [Opaque(float(i)) for i in range(2)]
    assert [function(other, 1.0).numpy() for other in others] == [0.0, 1.0]


def test_the_function_dies_between_calls_of_another():
    def make():
        inner = zrun.function(lambda x: x * 2)
        return zrun.function(lambda x: inner(x) + 1), weakref.ref(inner)

    outer, _ = make()
    gc.collect()
    assert [outer(1.0).numpy() for _ in range(3)] == [3.0] * 3


def test_a_dropped_function_takes_its_graphs_along():
    function = zrun.function(lambda x: x * 2)
    function(X), function(X)
    graph, gone = weakref.ref(next(iter(function.owner.table.values())).value), weakref.ref(function)
    del function
    gc.collect()
    assert (gone(), graph()) == (None, None)


def test_a_variable_that_only_the_graph_still_refers_to():
    held = [tf.Variable(4.0)]
    function, reference = zrun.function(lambda x: held[0] * x), tf.function(lambda x: held[0] * x)
    function(X), function(X), reference(X)
    held.clear()
    gc.collect()
    np.testing.assert_array_equal(function(X), reference(X))


def test_variables_made_while_tracing_are_made_once():
    made = []

    def body(x):
        if not made:
            made.append(tf.Variable(2.0))
        return made[0] * x

    function = zrun.function(body)
    for _ in range(3):
        np.testing.assert_array_equal(function(X), [2, 4, 6])
    made[0].assign(3.0)
    np.testing.assert_array_equal(function(X), [3, 6, 9])


def test_hiding_and_showing_the_symbols_between_calls(counted):
    function, eager = counted
    for _ in range(2):
        with _dispatch.hidden():
            np.testing.assert_array_equal(function(X), [2, 4, 6])
        np.testing.assert_array_equal(function(X), [2, 4, 6])
    assert eager == [False]


def test_explaining_changes_nothing(counted):
    function, eager = counted
    assert "hit" in str(RUN.explain(function, X))
    assert "miss" in str(RUN.explain(function, tf.ones(7)))
    function(X)
    assert eager == [False]


FIRST = """
import sys
import zrun_tf as zrun
import numpy as np
from zrun_tf import _dispatch
function = zrun.function(lambda x: x * 2)
with _dispatch.hidden() if sys.argv[1] == "public" else zrun.run.using(graph=True):
    for argument in (1.5, np.ones(2)):
        assert "first call" in str(zrun.run.explain(function, argument)) or "miss" in str(
            zrun.run.explain(function, argument)
        )
    zrun.run.set_cpus_explicit(2, 2)
    print([function(1.5).numpy(), function(1.5).numpy(), function(np.ones(2)).numpy().tolist()])
"""


def test_the_first_thing_tensorflow_is_asked_to_do(path):
    # A call after explain, before TensorFlow had started, used to end the process.
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", FIRST, path], env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().replace("np.float64(3.0)", "3.0") == "[3.0, 3.0, [2.0, 2.0]]"


def test_the_environment_chooses_the_path(monkeypatch):
    for value, expected in (("public", False), ("direct", True)):
        monkeypatch.setenv("ZRUN_DISPATCH", value)
        assert (_dispatch._Direct().symbols is not None) is expected
    monkeypatch.setenv("ZRUN_DISPATCH", "fast")
    with pytest.raises(zrun.errors.EnvironmentVariableError, match="ZRUN_DISPATCH must be 'direct'"):
        _dispatch._Direct()


@pytest.mark.parametrize("name", _dispatch._PLACES)
def test_where_one_symbol_is_missing_none_is_used(monkeypatch, name):
    monkeypatch.setitem(_dispatch._found, name, None)
    assert _dispatch._symbols() is None
    assert [place for place, found in _dispatch.probe().items() if not found] == [
        _dispatch._PLACES[name].replace(":", ".").rstrip(".")
    ]


def test_a_symbol_that_lacks_what_is_asked_of_it_counts_as_missing(monkeypatch):
    monkeypatch.setitem(_dispatch._found, "EagerTensor", object())
    assert _dispatch._symbols() is None
