"""Chunked objectives evaluated again: what stays is looked at once, and what changes is seen."""

from __future__ import annotations

import dataclasses
import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf

import zrun_tf as zrun
from zrun_core import listen
from zrun_core.testing import count_traces
from zrun_tf._chunked_arguments import ChunkArguments

RUN = zrun.run
X = np.random.default_rng(5).normal(1.0, 2.0, size=3001)
POLICIES = [{"graph": False}, {"graph": True, "jit": False}, {"graph": True, "jit": True}]


@dataclasses.dataclass
class Model:
    factor: float
    shift: tf.Variable = dataclasses.field(default_factory=lambda: tf.Variable(0.0, dtype=tf.float64))

    def loss(self, x, data):
        return self.factor * tf.reduce_sum((data - x[0] - self.shift) ** 2)


def new_loss():
    """A function that no graph was built for yet."""
    return lambda x, data: 2.0 * tf.reduce_sum((data - x[0]) ** 2)


def exact(factor, at, data=X):
    return pytest.approx(factor * np.sum((data - at) ** 2), rel=1e-12)


@pytest.fixture
def looks(monkeypatch):
    """The calls that took arguments apart."""
    found = []
    original = ChunkArguments._taken_apart

    def counted(self, arguments):
        found.append(arguments)
        return original(self, arguments)

    monkeypatch.setattr(ChunkArguments, "_taken_apart", counted)
    return found


@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_arguments_are_taken_apart_once(looks, policy):
    objective = zrun.objective(new_loss(), [0.0], data=X, chunksize=700)
    with RUN.using(**policy):
        for at in (0.5, 0.7, 0.9):
            assert objective.value([at]) == exact(2.0, at)
            assert objective.gradient([at])[0] == pytest.approx(-4.0 * np.sum(X - at), rel=1e-10)
    assert len(looks) == 1


@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_what_changes_between_evaluations_is_seen(policy):
    model = Model(2.0)
    objective = zrun.objective(model.loss, [0.0], data=X, chunksize="auto")
    with RUN.using(**policy):
        assert objective.value([0.5]) == exact(2.0, 0.5)
        assert objective.value([0.25]) == exact(2.0, 0.25)
        model.factor = 3.0
        assert objective.value([0.25]) == exact(3.0, 0.25)
        model.shift.assign(0.25)
        assert objective.value([0.25]) == exact(3.0, 0.5)
        other = objective.with_data(data=X[:100])
        assert other.value([0.25]) == exact(3.0, 0.5, X[:100])
        assert objective.value([0.5]) == exact(3.0, 0.75)


def test_another_policy_runs_what_it_asks_for():
    objective = zrun.objective(new_loss(), [0.0], data=X, chunksize="auto")
    events = []
    with count_traces() as traces, listen(events.append, "eager", "hit"):
        for step, policy in enumerate([POLICIES[1], POLICIES[0], POLICIES[2], POLICIES[1], POLICIES[0]]):
            with RUN.using(**policy):
                assert objective.value([0.1 * step]) == exact(2.0, 0.1 * step)
    assert traces.total == 2
    assert sum(event.name == "hit" for event in events) == 1
    assert sum(event.name == "eager" for event in events) >= 2


def test_graphs_that_were_dropped_are_built_again():
    objective = zrun.objective(new_loss(), [0.0], data=X, chunksize="auto")
    with RUN.using(graph=True), count_traces() as traces:
        objective.value([0.1])
        objective.value([0.2])
        assert traces.total == 1
        RUN.clear_graph_cache()
        assert objective.value([0.3]) == exact(2.0, 0.3)
    assert traces.total == 2


def test_data_go_with_their_objective():
    objective = zrun.objective(Model(2.0).loss, [0.0], data=X, chunksize="auto")
    other = objective.with_data(data=X[:100])
    other.value([0.1])
    other.value([0.2])
    objective.value([0.1])
    rows = weakref.ref(other._data["data"])
    del other
    gc.collect()
    assert rows() is None
