"""Decorated functions on a backend that counts: what is traced, what is found again, what runs eagerly."""

from __future__ import annotations

import gc
import linecache
import traceback
import warnings
import weakref
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from zrun_core import PythonBackend, RunManager, Static, invalidates, listen, struct, tracked
from zrun_core._kinds import KINDS
from zrun_core._scope import current, default
from zrun_core.errors import DoNotTrace, RetraceError, RetraceWarning, StructureError

from .counting_backend import Array, Cell, CountingBackend


@pytest.fixture(autouse=True)
def _policy_is_left_as_it_was():
    before = default(), current()
    yield
    assert (default(), current()) == before


@pytest.fixture
def run():
    return RunManager(backend=CountingBackend())


@pytest.fixture
def traces(run):
    """How often anything was traced."""
    return lambda: run.backend.traces


@dataclass
class Gauss:
    mu: float
    sigma: float = 1.0
    order: int = 1


class Opaque:
    """Nobody can take this apart."""

    factor = 2


# -- keys by structure ----------------------------------------------------------------------------------------------


def test_a_new_value_does_not_retrace(run, traces):
    @run.function
    def f(x, y):
        return x * 2 + y

    assert [f(float(n), n * 0.5) for n in range(10)] == [2.5 * n for n in range(10)]
    assert traces() == 1
    assert run.cache_info().total.hits == 9


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (1.5, 2.5, 1),
        (1.5, 2, 2),
        (1, 2, 2),
        (1, 1, 1),
        (1, True, 2),
        ("a", "b", 2),
        (None, None, 1),
        (1.5, 2j, 2),
        ([1.5], [2.5], 1),
        ([1.5], [2.5, 3.5], 2),
        ([1.5], (2.5,), 2),
        ({"a": 1.5}, {"a": 2.5}, 1),
        ({"a": 1.5}, {"b": 2.5}, 2),
        (Gauss(1.5), Gauss(2.5, 3.5), 1),
        (Gauss(1.5), Gauss(1.5, order=2), 2),
        (Array(1, 2), Array(3, 4), 1),
        (Array(1, 2), Array(1, 2, 3), 2),
        (Static(1.5), Static(2.5), 2),
        (Static(1.5), Static(1.5), 1),
    ],
)
def test_a_graph_belongs_to_the_structure_of_the_arguments(run, traces, first, second, expected):
    @run.function
    def f(x):
        return 0

    for value in (first, second, first, second):
        f(value)
    assert traces() == expected


def test_a_thousand_new_objects_of_one_structure_make_one_trace(run, traces):
    @run.function
    def f(model, data):
        return model.mu * data[0] + model.sigma

    assert [f(Gauss(float(n), 0.5), [2.0]) for n in range(1000)] == [2.0 * n + 0.5 for n in range(1000)]
    assert traces() == 1


def test_inputs_that_are_arguments_twice_stay_apart_or_shared(run, traces):
    @run.function
    def f(x, y):
        y.mu = y.mu * 10
        return x.mu + y.mu

    model = Gauss(1.0)
    assert f(model, Gauss(2.0)) == 21.0
    assert f(model, model) == 20.0
    assert traces() == 2
    # The objects of the caller are not those of the trace.
    assert model.mu == 1.0


def test_names_in_static_are_compared_by_value(run, traces):
    @run.function(static=("n", "cut"))
    def f(x, n, cut=1.5):
        return sum(x for _ in range(n)) * cut

    assert [f(1.0, 2), f(2.0, 2), f(1.0, 3), f(1.0, 2, 2.5), f(1.0, 2, cut=1.5)] == [3.0, 6.0, 4.5, 5.0, 3.0]
    assert traces() == 3


def test_a_single_name_may_be_given_to_static(run, traces):
    @run.function(static="cut")
    def f(x, cut):
        return x * cut

    assert [f(1.0, 2.0), f(1.0, 3.0)] == [2.0, 3.0]
    assert traces() == 2


def test_an_unknown_static_name_is_an_error_with_the_nearest_parameter(run):
    with pytest.raises(ValueError, match=r"f has no parameter 'ordre'. Did you mean 'order'\? .* are x, order"):

        @run.function(static=("ordre",))
        def f(x, order):
            return x

    with pytest.raises(ValueError, match="Its parameters are none"):
        run.function(lambda: 0, static="x")


def test_a_static_argument_that_is_an_input_names_the_argument(run):
    @run.function(static="data")
    def f(x, data):
        return x

    with pytest.raises(
        StructureError, match=r"f: data\.weights\[0\] is static but holds a value that changes \(Array\)"
    ):
        f(1.0, SimpleNamespace(weights=[Array(1)]))
    with pytest.raises(StructureError, match=r"f: x is of type object, which zrun cannot take apart"):
        f(object(), 1)
    assert f(1.0, 2) == 1.0


def test_objects_nobody_can_take_apart_are_known_by_identity(run, traces):
    @run.function
    def f(x, thing):
        return x * thing.factor

    one, other = Opaque(), Opaque()
    other.factor = 3
    assert [f(1.0, one), f(2.0, one), f(1.0, other)] == [2.0, 4.0, 3.0]
    assert traces() == 2


def test_the_graphs_of_an_object_go_when_it_goes(run, traces):
    # Check that neither the cache nor what the backend keeps of the build holds the argument.
    @run.function
    def f(x, thing, more):
        return x * thing.factor

    one, other = Opaque(), Opaque()
    died = weakref.ref(one)
    f(1.0, one, [one, other])
    f(1.0, other, [])
    assert run.cache_info().total.graphs == 2
    del one
    gc.collect()
    assert died() is None
    assert run.cache_info().total.graphs == 1
    with run.using(retrace="allow"):
        for _ in range(50):
            f(1.0, Opaque(), [])
    assert traces() == 52
    assert run.cache_info().total.graphs == 1


def test_what_graphs_depend_on_besides_is_part_of_the_key(run, traces):
    @run.function
    def f(x):
        return x

    for place in (None, "gpu", None, "gpu"):
        run.backend.place = place
        f(1.0)
    assert traces() == 2


def test_a_result_may_be_a_structure(run):
    @run.function
    def f(x):
        return (x, [x * 2, "a"], 3)

    assert f(1.5) == (1.5, [3.0, "a"], 3)
    assert f(2.5) == (2.5, [5.0, "a"], 3)


def test_inputs_are_not_baked_in(run):
    @run.function
    def f(x):
        assert isinstance(x, Cell)
        return x + 1

    @run.function
    def bake(x):
        return float(x)

    assert (f(1.0), f(2.0)) == (2.0, 3.0)
    with pytest.raises(TypeError, match="has no value while it is traced"):
        bake(1.0)


# -- the policy -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["loss", "sample", "tensor", "model", "model.pdf"])
@pytest.mark.parametrize("graph", ["auto", True, False, {"model": True}, {"model.*": True, "loss": False}], ids=str)
def test_the_policy_decides_when_the_function_is_called(run, traces, kind, graph):
    with run.using(graph=not graph if isinstance(graph, bool) else True):

        @run.function(kind=kind)
        def f(x):
            return x * 2

    assert f.kind == kind
    with run.using(graph=graph) as policy:
        assert f(1.5) == 3.0
        assert traces() == int(policy.builds_graph(kind))
        assert str(run.explain(f, 1.5)).startswith(f"{f.owner.name} (kind '{kind}') runs ")


def test_a_decorated_function_follows_every_change_of_the_policy(run, traces):
    @run.function
    def f(x):
        return isinstance(x, Cell) * 1

    seen = []
    for graph in (True, False, True, False):
        with run.using(graph=graph):
            seen.append(f(1.0))
    run.set_mode(graph=False)
    try:
        seen.append(f(1.0))
    finally:
        run.set_mode_default()
    seen.append(f(1.0))
    assert seen == [1, 0, 1, 0, 0, 1]
    assert traces() == 1


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({}, 1),
        ({"graph": True}, 1),
        ({"graph": {"tensor": True}}, 1),
        ({"retrace": "allow"}, 1),
        ({"autograd": False}, 2),
        ({"check_numerics": True}, 2),
        ({"chunksize": 5}, 2),
        ({"jit": True}, 2),
        ({"jit": {"tensor": True}}, 2),
        ({"jit": {"loss": True}}, 1),
    ],
    ids=str,
)
def test_the_parts_of_the_policy_that_a_graph_depends_on(run, traces, parts, expected):
    @run.function
    def f(x):
        return x

    f(1.0)
    with run.using(**parts) as policy:
        f(1.0)
        f(2.0)
    f(3.0)
    assert traces() == expected
    if expected == 2:
        assert run.backend.policies[-1] is policy


@pytest.mark.parametrize(
    ("jit_compile", "jit", "expected"),
    [
        (None, False, False),
        (None, True, True),
        (None, {"loss": True}, True),
        (None, {"model": True}, False),
        (True, False, True),
        (False, True, False),
    ],
)
def test_whether_a_graph_is_compiled(run, jit_compile, jit, expected):
    @run.function(kind="loss", jit_compile=jit_compile)
    def f(x):
        return x

    with run.using(jit=jit):
        f(1.0)
        assert run.backend.jits == [expected]
        assert str(run.explain(f, 1.0)).count(", compiled") == int(expected)


def test_the_body_is_traced_under_the_policy_of_the_call(run):
    @run.function
    def f(x):
        return (x, run.policy.chunksize)

    with run.using(chunksize=5):
        assert f(1.0) == (1.0, 5)
    with run.using(chunksize=6):
        assert f(1.0) == (1.0, 6)


def test_a_kind_that_is_defined_later_counts_from_then_on(run, traces):
    @run.function(kind="model.of_this_test")
    def f(x):
        return x

    f(1.0)
    assert traces() == 0
    assert "model.of_this_test" not in KINDS.names()
    run.define_kind("model.of_this_test", graph=True)
    f(1.0)
    assert traces() == 1


def test_the_python_backend_runs_bodies():
    run = RunManager()
    seen = []

    @run.function
    def f(x):
        seen.append(x)
        return x * 2

    with run.using(graph=True):
        assert f(1.5) == 3.0
    assert seen == [1.5]
    assert (
        str(run.explain(f, 1.5)) == f"{f.owner.name} (kind 'tensor') runs eagerly: the python backend builds no graphs."
    )


# -- functions that call functions ----------------------------------------------------------------------------------


def test_a_function_called_inside_a_trace_becomes_part_of_it(run):
    @run.function
    def inner(x):
        return x * 2

    @run.function(kind="model")
    def model(x):
        return inner(x) + 1

    @run.function(kind="loss")
    def loss(x):
        return model(x) + inner(x)

    inlined = []
    with listen(lambda event: inlined.append(event.function), "inline"):
        assert loss(1.0) == 5.0
    assert [name.rpartition(".")[2] for name in run.backend.traced] == ["loss"]
    assert [name.rpartition(".")[2] for name in inlined] == ["model", "inner", "inner"]
    # Outside of a trace the same functions go by their own kinds.
    assert model(1.0) == 3.0
    assert [name.rpartition(".")[2] for name in run.backend.traced] == ["loss", "inner"]


def test_a_function_may_call_itself(run, traces):
    @run.function(static="n")
    def power(x, n):
        return x if n == 1 else x * power(x, n - 1)

    assert [power(2.0, 5), power(3.0, 5)] == [32.0, 243.0]
    assert traces() == 1


def test_a_function_called_again_by_its_own_build_is_run_in_place(run, traces):
    # Check what happens where the backend runs eager code while it builds: the key is being built further up.
    @run.function
    def f(x):
        return x * 2

    seen = []

    def call_again():
        run.backend.before_trace = lambda: None
        seen.append(f(10.0))

    run.backend.before_trace = call_again
    heard = []
    with run.listen(lambda event: heard.append(event.name), "inline", "eager", "hit", "build"):
        assert f(1.0) == 2.0
    assert seen == [20.0]
    assert traces() == 1
    assert heard == ["inline", "build"]


def test_other_functions_are_built_while_one_is_being_built(run):
    @run.function
    def other(x):
        return x + 1

    @run.function
    def f(x):
        return x * 2

    seen = []

    def call_other():
        run.backend.before_trace = lambda: None
        seen.append(other(10.0))

    run.backend.before_trace = call_other
    assert (f(1.0), seen) == (2.0, [11.0])
    assert run.cache_info().total.graphs == 2


# -- eager on purpose -----------------------------------------------------------------------------------------------


def named(backend):
    return [name.rpartition(".")[2] for name in backend.traced]


def test_force_eager_makes_a_function_and_its_callers_run_eagerly_learnt_once(run):
    bodies = []

    @run.function(force_eager=True)
    def dynamic(x):
        bodies.append("dynamic")
        return float(x) * 2

    @run.function
    def fast(x):
        bodies.append("fast")
        return x + 1

    @run.function
    def middle(x):
        bodies.append("middle")
        return dynamic(x) + fast(x)

    @run.function(kind="loss")
    def outer(x):
        bodies.append("outer")
        return middle(x)

    assert dynamic.force_eager
    assert outer(1.0) == 4.0
    assert named(run.backend) == ["outer", "middle", "fast"]
    assert bodies == ["outer", "middle", "outer", "middle", "middle", "dynamic", "fast"]
    bodies.clear()
    assert [outer(2.0), outer(3.0)] == [7.0, 10.0]
    assert named(run.backend) == ["outer", "middle", "fast"]
    assert bodies == ["outer", "middle", "dynamic"] * 2


def test_do_not_trace_is_learnt_once_per_structure(run, traces):
    bodies = []

    @run.function
    def f(x, n):
        bodies.append(n)
        if n > 1 and isinstance(x, Cell):
            raise DoNotTrace("more than one")
        return x * n

    @run.function
    def caller(x, n):
        return f(x, n)

    assert [caller(1.0, 1), caller(1.0, 2), caller(2.0, 2), caller(3.0, 2)] == [1.0, 2.0, 4.0, 6.0]
    # The caller with 1, the caller with 2, and f itself with 2.
    assert traces() == 3
    assert bodies == [1, 2, 2, 2, 2, 2]
    assert "could not be traced for these arguments: more than one" in str(run.explain(caller, 1.0, 2))
    assert run.explain(caller, 1.0, 2).runs == "eager"
    assert run.explain(caller, 1.0, 1).runs == "graph"


def test_do_not_trace_without_words(run):
    @run.function
    def f(x):
        if isinstance(x, Cell):
            raise DoNotTrace
        return x

    assert f(1.0) == 1.0
    assert "DoNotTrace was raised while it was traced" in str(run.explain(f, 1.0))


def test_what_was_learnt_is_forgotten_with_the_cache(run, traces):
    @run.function
    def f(x):
        if isinstance(x, Cell):
            raise DoNotTrace
        return x

    f(1.0)
    run.clear_graph_cache()
    f(1.0)
    assert traces() == 2


def test_force_eager_inside_a_trace_that_is_not_of_zrun_says_so(run):
    @run.function(force_eager=True)
    def f(x):
        return x

    with run.backend._tracing(), pytest.raises(DoNotTrace, match=r"f is decorated with force_eager=True.*tf.function"):
        f(1.0)


# -- exceptions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyError, TypeError, ValueError, AttributeError, KeyboardInterrupt, StopIteration])
def test_an_exception_of_the_body_passes_through_once_and_unchanged(run, traces, error):
    raised = error("mine")
    bodies = []

    @run.function
    def f(x, fails):
        bodies.append(fails)
        if fails:
            raise raised
        return x * 2

    for _ in range(2):
        with pytest.raises(error) as caught:
            f(1.0, True)
        assert caught.value is raised
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None
    assert bodies == [True, True]
    assert traceback.extract_tb(caught.value.__traceback__)[-1].name == "f"
    # Nothing is left: other structures trace as ever, and the cache holds no failed graph.
    assert f(1.0, False) == 2.0
    assert traces() == 3
    assert run.cache_info().total.graphs == 1
    assert not run.backend.is_tracing()


def test_an_exception_while_arguments_are_taken_apart_leaves_nothing(run, traces):
    @run.function
    def f(x):
        return 1

    @struct
    class Rude:
        def __init__(self):
            pass

        @property
        def __dict__(self):
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        f(Rude())
    assert f(1.0) == 1
    assert traces() == 1


def test_an_exception_of_the_graph_passes_through(run, traces):
    @run.function
    def f(x):
        return x + 1

    f(1.0)
    with pytest.raises(TypeError):
        f.owner.table[next(iter(f.owner.table))].value(["a"])
    assert f(2.0) == 3.0
    assert traces() == 1


def test_arguments_that_do_not_fit_are_an_error_before_anything_is_traced(run, traces):
    @run.function
    def f(x, y=1):
        return x

    for call in (lambda: f(), lambda: f(1, 2, 3), lambda: f(1, z=2), lambda: f(1, x=2)):
        with pytest.raises(TypeError, match="f: "):
            call()
    assert traces() == 0


# -- budgets, clearing, tracked state -------------------------------------------------------------------------------


def test_max_graphs_bounds_one_function(run, traces):
    @run.function(max_graphs=2)
    def f(n):
        return n

    @run.function
    def g(n):
        return n

    g(0)
    for n in (1, 2, 3, 3, 2, 1):
        assert f(n) == n
    assert traces() == 5
    assert f.owner.evictions == 2
    g(0)
    assert traces() == 5


def test_clearing_changes_no_result(run, traces):
    @run.function
    def f(x):
        return x * 2

    assert f(1.0) == 2.0
    freed = run.clear_graph_cache()
    assert (freed.graphs >= 1, freed.bytes >= 200) == (True, True)
    assert run.cache_info().total.graphs == 0
    assert f(1.5) == 3.0
    assert traces() == 2


def test_a_change_of_tracked_state_drops_the_graphs_that_read_it(run, traces):
    class Model:
        shift = tracked(1.0)

        def __init__(self):
            self.table = [1.0]

        @invalidates
        def fill(self, value):
            self.table = [value]

    one, other = Model(), Model()

    @run.function
    def f(x, model):
        return x + model.shift

    @run.function
    def g(x, model):
        return x + model.table[0]

    assert [f(1.0, one), f(1.0, other), g(1.0, one)] == [2.0, 2.0, 2.0]
    one.shift = 5.0
    assert [f(1.0, one), f(1.0, other)] == [6.0, 2.0]
    assert traces() == 4
    one.fill(7.0)
    assert [g(1.0, one), f(1.0, other)] == [8.0, 2.0]
    assert traces() == 5


def test_a_struct_with_tracked_fields_needs_no_tracking(run, traces):
    @struct
    class Model:
        shift: float = tracked(1.0)

    @run.function
    def f(x, model):
        return x + model.shift

    model = Model()
    assert f(1.0, model) == 2.0
    model.shift = 5.0
    assert f(1.0, model) == 6.0
    assert traces() == 1


# -- events ---------------------------------------------------------------------------------------------------------


def test_events_of_calls(run):
    @run.function
    def f(x):
        return x

    @run.function(force_eager=True)
    def slow(x):
        return x

    @run.function
    def learnt(x):
        if isinstance(x, Cell):
            raise DoNotTrace("why not")
        return x

    heard = []
    with run.listen(lambda e: heard.append((e.name, e.function.rpartition(".")[2], e.reason))):
        f(1.0)
        f(2.0)
        with run.using(graph=False):
            f(3.0)
        with run.using(graph={"model": True, "tensor": False}):
            f(3.0)
        slow(1.0)
        learnt(1.0)
        learnt(1.0)
    f(4.0)
    assert heard == [
        ("build", "f", "first call"),
        ("hit", "f", ""),
        ("eager", "f", "the policy says graph=False"),
        (
            "eager",
            "f",
            "the policy says graph={'model': True, 'tensor': False}, and kind 'tensor' does not build a graph under it",
        ),
        ("eager", "slow", "it is decorated with force_eager=True"),
        ("build", "learnt", "first call"),
        ("eager", "learnt", "why not"),
        ("eager", "learnt", "why not"),
    ]


# -- retraces -------------------------------------------------------------------------------------------------------


def test_many_traces_warn_once_at_the_line_of_the_caller(run):
    @run.function
    def f(n):
        return n

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for n in range(12):
            f(n)  # the line
    (warning,) = caught
    assert warning.category is RetraceWarning
    assert warning.filename == __file__
    assert "# the line" in linecache.getline(__file__, warning.lineno)
    assert "f was traced 6 times" in str(warning.message)
    assert "n changed 5 times, last n: 4 -> 5, static" in str(warning.message)


def test_the_line_of_the_caller_is_outside_of_decorators_of_zrun_too(run):
    @run.using(autograd=False)
    @run.function
    def f(n):
        return n

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for n in range(12):
            run.bind(f)(n)
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.parametrize(
    ("module", "expected"),
    [("zrun_core._x", 2), ("zrun_tf.cli._x", 2), ("zrun_compat", 2), ("zrun_core_of_a_user", 1), ("user", 1)],
)
def test_which_frames_are_those_of_zrun(module, expected):
    levels = []
    code = "from zrun_core._retrace import _level_of_caller\nlevels.append(_level_of_caller())"
    exec(code, {"__name__": module, "levels": levels})
    assert levels == [expected]


def test_no_warning_where_the_policy_allows_retraces(run):
    @run.function
    def f(n):
        return n

    with run.using(retrace="allow"):
        assert [f(n) for n in range(20)] == list(range(20))


def test_an_error_at_each_trace_too_many_where_the_policy_says_so(run, traces):
    @run.function
    def f(n):
        return n

    with run.using(retrace="error"):
        for n in range(5):
            f(n)
        for n in (5, 6, 5):
            with pytest.raises(RetraceError, match=r"f was traced .* times .*; n changed"):
                f(n)
        # What was traced before still runs.
        assert [f(n) for n in range(5)] == list(range(5))
    assert traces() == 5
    with run.using(retrace="allow"):
        assert f(5) == 5


def test_a_warning_that_is_an_error_leaves_nothing_behind(run):
    @run.function
    def f(n):
        return n

    for n in range(5):
        f(n)
    with pytest.raises(RetraceWarning):
        f(5)
    assert f(5) == 5
    assert f(5) == 5


def test_the_python_backend_compiles_nothing():
    with pytest.raises(NotImplementedError, match="f: the Python backend builds no graphs"):
        PythonBackend().compile(SimpleNamespace(name="f"))
