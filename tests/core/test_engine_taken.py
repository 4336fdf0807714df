"""Calls of which the arguments were taken apart before: the same rules, graphs and events as of any other call."""

from __future__ import annotations

import pytest

from zrun_core import RunManager
from zrun_core._flattening import Flattening
from zrun_core.errors import DoNotTrace

from .counting_backend import Cell, CountingBackend


@pytest.fixture
def run():
    return RunManager(backend=CountingBackend())


@pytest.fixture
def heard(run):
    """The events of calls, as names and reasons."""
    events = []
    with run.listen(lambda event: events.append((event.name, event.reason)), "build", "hit", "eager", "inline"):
        yield events


def call(function, *args):
    """Take the arguments apart, and call the function with what came out."""
    into = Flattening()
    parts = [into.visit(arg) for arg in args]
    return function.run_taken(args, parts, into)


def test_it_finds_the_graph_of_a_call_and_a_call_finds_its_graph(run, heard):
    @run.function
    def f(x, y):
        return x * 2 + y

    assert call(f, 1.0, 3.0) == 5.0
    assert f(2.0, 3.0) == 7.0
    assert call(f, 4.0, 3.0) == 11.0
    assert run.backend.traces == 1
    assert heard == [("build", "first call"), ("hit", ""), ("hit", "")]


def test_nobody_needs_to_listen(run):
    @run.function
    def f(x):
        return x + 1

    assert [call(f, 1.0), call(f, 2.0)] == [2.0, 3.0]
    with run.using(graph=False):
        assert call(f, 3.0) == 4.0
    assert run.backend.traces == 1


def test_what_graphs_depend_on_besides_is_part_of_its_key(run):
    @run.function
    def f(x):
        return x + 1

    assert call(f, 1.0) == 2.0
    run.backend.place = "a strategy"
    assert call(f, 1.0) == 2.0
    assert run.backend.traces == 2


def test_it_runs_eagerly_where_the_policy_says_so(run, heard):
    @run.function
    def f(x):
        return x + 1

    with run.using(graph=False):
        assert call(f, 1.0) == 2.0
    assert run.backend.traces == 0
    assert heard == [("eager", "the policy says graph=False")]


def test_it_becomes_part_of_the_graph_that_is_being_built(run, heard):
    @run.function
    def inner(x):
        return x + 1

    @run.function
    def outer(x):
        # What a trace hands on is a symbol, which the body takes as it is.
        return inner.run_taken((x,), [], Flattening()) * 2

    assert [outer(1.0), outer(2.0)] == [4.0, 6.0]
    assert run.backend.traced == [outer.owner.name]
    assert heard == [("inline", "called while a graph is being built"), ("build", "first call"), ("hit", "")]


def test_what_cannot_be_traced_is_learnt_once(run, heard):
    @run.function
    def f(x):
        if isinstance(x, Cell):
            raise DoNotTrace("why not")
        return x + 1

    assert [call(f, 1.0), call(f, 2.0)] == [2.0, 3.0]
    assert run.backend.traces == 1
    assert heard == [("build", "first call"), ("eager", "why not"), ("eager", "why not")]
