"""What `run.explain` says of a call, in words, and that asking changes nothing."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from zrun_core import RunManager

from .counting_backend import Array, CountingBackend


@pytest.fixture
def run():
    return RunManager(backend=CountingBackend())


@pytest.fixture
def loss(run):
    def loss(data, self, n=3):
        return 0

    loss.__qualname__ = "loss"
    return run.function(loss, kind="loss")


def first_line(report):
    return str(report).splitlines()[0]


@pytest.mark.parametrize(
    ("graph", "runs", "rule"),
    [
        ("auto", "graph", "as a graph: the policy says graph='auto', and kind 'loss' builds a graph under it"),
        (True, "graph", "as a graph: the policy says graph=True"),
        (False, "eager", "eagerly: the policy says graph=False"),
        (
            {"loss": False},
            "eager",
            "eagerly: the policy says graph={'loss': False}, and kind 'loss' does not build a graph under it",
        ),
        (
            {"model": True},
            "graph",
            "as a graph: the policy says graph={'model': True}, and kind 'loss' builds a graph under it",
        ),
    ],
)
def test_graph_or_eager_and_by_which_rule(run, loss, graph, runs, rule):
    with run.using(graph=graph):
        report = run.explain(loss, 1.5, None)
    assert report.runs == runs
    assert first_line(report) == f"loss (kind 'loss') runs {rule}."
    assert (report.look_up is None) == (runs == "eager")


def test_a_model_runs_eagerly_under_auto(run):
    f = run.function(lambda x: x, kind="model")
    assert "graph='auto', and kind 'model' does not build a graph under it" in str(run.explain(f, 1.0))


def test_force_eager_is_named(run):
    f = run.function(lambda x: x, force_eager=True)
    assert str(run.explain(f, 1.0)).endswith("runs eagerly: it is decorated with force_eager=True.")


def test_the_first_call_and_a_hit(run, loss):
    assert str(run.explain(loss, 1.5, None)).splitlines()[1] == "miss: first call"
    loss(1.5, None)
    report = run.explain(loss, 2.5, None, n=3)
    assert str(report).splitlines()[1] == "hit"
    assert "tracing it took" in str(report)
    assert report.look_up.hit


@pytest.mark.parametrize(
    ("args", "difference"),
    [
        ((Array(1, 2, 3), None), "data: array (2,) -> (3,)"),
        ((1.5, None), "data: array (2,) -> float"),
        ((7, None), "data: array (2,) (an input) -> 7 (static)"),
        ((Array(1, 2), None, 4), "n: 3 -> 4, static"),
        ((Array(1, 2), SimpleNamespace(order=4)), "self: None -> namespace SimpleNamespace, static"),
    ],
)
def test_on_a_miss_the_argument_that_differs_is_named_with_its_path(run, loss, args, difference):
    loss(Array(1, 2), None)
    report = run.explain(loss, *args)
    assert report.runs == "graph"
    assert not report.look_up.hit
    assert difference in str(report)
    assert "tracing the nearest graph took" in str(report)


def test_paths_lead_into_objects(run, loss):
    loss(1.5, SimpleNamespace(model=SimpleNamespace(order=3, weights=[Array(1)])))
    other = SimpleNamespace(model=SimpleNamespace(order=4, weights=[Array(1, 2)]))
    assert [str(each) for each in run.explain(loss, 1.5, other).look_up.differences] == [
        "self.model.order: 3 -> 4, static",
        "self.model.weights[0]: array (1,) -> (2,)",
    ]


@pytest.mark.parametrize(
    ("parts", "difference"),
    [
        ({"autograd": False}, "policy.autograd: True -> False, static"),
        ({"jit": True}, "policy.jit: False -> True, static"),
        ({"check_numerics": True}, "policy.check_numerics: False -> True, static"),
        ({"chunksize": 5}, "policy.chunksize: None -> 5, static"),
    ],
)
def test_a_part_of_the_policy_that_differs_is_named(run, loss, parts, difference):
    loss(1.5, None)
    with run.using(**parts):
        assert [str(each) for each in run.explain(loss, 1.5, None).look_up.differences] == [difference]


def test_what_graphs_depend_on_besides_is_named(run, loss):
    run.backend.place = "cpu"
    loss(1.5, None)
    run.backend.place = "gpu"
    assert [str(each) for each in run.explain(loss, 1.5, None).look_up.differences] == ["context: cpu -> gpu, static"]


def test_a_graph_that_was_dropped_is_remembered(run, loss):
    loss(1.5, None)
    run.clear_graph_cache()
    assert "miss: its graph was dropped: cleared" in str(run.explain(loss, 1.5, None))


def test_asking_changes_nothing(run, loss):
    loss(1.5, None)
    before = run.cache_info()
    for args in ((2.5, None), (1, None), (Array(1), None)):
        run.explain(loss, *args)
    assert run.cache_info() == before
    assert run.backend.traces == 1


def test_inside_a_trace_a_call_becomes_part_of_it(run, loss):
    @run.function
    def caller(x):
        return str(run.explain(loss, x, None))

    assert (
        caller(1.5) == "loss (kind 'loss') runs inline: a graph is being built here, and the body becomes part of it."
    )


def test_methods_can_be_explained(run):
    class Model:
        @run.function
        def value(self, x):
            return x

    model = Model()
    model.value(1.5)
    assert run.explain(model.value, 2.5).look_up.hit
    assert run.explain(Model.value, model, 2.5).look_up.hit
    (difference,) = run.explain(Model().value, 2.5).look_up.differences
    assert str(difference).startswith("self: the object ")


@pytest.mark.parametrize("function", [len, "loss", [].append, None], ids=["builtin", "text", "method", "none"])
def test_only_decorated_functions_can_be_explained(run, function):
    with pytest.raises(
        TypeError, match=r"explain takes a function decorated with zrun's function.*run.explain\(f, x\)"
    ):
        run.explain(function, 1.5)


def test_arguments_that_do_not_fit_are_an_error(run, loss):
    with pytest.raises(TypeError, match=r"^loss: missing a required argument: 'self'"):
        run.explain(loss, 1.5)
