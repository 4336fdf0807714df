"""The decorator with TensorFlow: what is an input, what is part of the key, and what a call does where."""

from __future__ import annotations

import dataclasses
import functools
import gc
import threading
import warnings
import weakref
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from enum import Enum

import numpy as np
import pytest
import tensorflow as tf

import zrun_tf as zrun
from zrun_core.testing import count_traces

RUN = zrun.run


def counted(**options):
    """A decorator like `zrun.function` whose functions count how often their Python body runs."""

    def decorate(body):
        calls = []

        @functools.wraps(body)
        def counting(*args, **kwargs):
            calls.append(tf.executing_eagerly())
            return body(*args, **kwargs)

        function = zrun.function(**options)(counting)
        return function, calls

    return decorate


Pair = namedtuple("Pair", "a b")


@dataclasses.dataclass
class Model:
    mu: float
    data: np.ndarray
    order: int = 1

    @zrun.function(kind="loss")
    def loss(self, x):
        return tf.reduce_sum((self.data - self.mu) ** self.order) * x


class Colour(Enum):
    RED = 1
    BLUE = 2


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (1.5, 2.5),
        (1.5 + 1j, 2.5 + 2j),
        (np.float64(1.5), np.float64(2.5)),
        (np.arange(3.0), np.ones(3)),
        (tf.constant([1.0, 2.0]), tf.constant([3.0, 4.0])),
        ([1.0, (2.0, {"a": 3.0})], [4.0, (5.0, {"a": 6.0})]),
        (Pair(1.0, tf.constant(2.0)), Pair(3.0, tf.constant(4.0))),
    ],
)
def test_a_new_value_never_retraces(first, second):
    @counted()
    def function(x):
        return tf.nest.map_structure(lambda leaf: leaf * 2, x)

    function, calls = function
    for argument in (first, second):
        expected = tf.nest.map_structure(lambda leaf: np.asarray(leaf) * 2, argument)
        for got, want in zip(tf.nest.flatten(function(argument)), tf.nest.flatten(expected), strict=True):
            np.testing.assert_allclose(np.asarray(got), want)
    assert calls == [False]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (1, 2),
        (True, False),
        (1, True),
        ("a", "b"),
        (b"a", "a"),
        (None, 0),
        (Colour.RED, Colour.BLUE),
        ((1.0,), [1.0]),
        (np.zeros(2), np.zeros(3)),
        (np.zeros(2, np.float32), np.zeros(2, np.float64)),
        ({"a": 1.0}, {"b": 1.0}),
    ],
)
def test_another_structure_traces_anew(first, second):
    @counted()
    def function(x):
        return tf.constant(len(repr(x)))

    function, calls = function
    function(first), function(second), function(first), function(second)
    assert calls == [False, False]


def test_static_arguments_are_compared_by_value_and_keep_it():
    @counted(static=("power",))
    def function(x, power):
        assert isinstance(power, float)
        return x**power

    function, calls = function
    assert function(tf.constant(3.0), 2.0).numpy() == 9.0
    assert function(tf.constant(3.0), power=3.0).numpy() == 27.0
    assert function(tf.constant(2.0), 2.0).numpy() == 4.0
    assert len(calls) == 2


def test_arrays_and_tensors_of_one_dtype_and_shape_share_a_graph():
    @counted()
    def function(x):
        return x + 1

    function, calls = function
    assert function(np.ones(3)).numpy().tolist() == function(tf.ones(3, tf.float64)).numpy().tolist() == [2, 2, 2]
    assert len(calls) == 1


def test_however_arguments_are_passed_it_is_the_same_call():
    @counted()
    def function(x, y=2.0, *, z=3.0):
        return x + y + z

    function, calls = function
    results = [function(1.0), function(1.0, 2.0), function(x=1.0, z=3.0), function(1.0, z=3.0, y=2.0)]
    assert [float(r) for r in results] == [6.0] * 4
    assert len(calls) == 1


def test_dataclass_objects_of_one_structure_share_a_graph():
    with count_traces() as traces:
        for mu in (0.0, 1.0, 2.0):
            data = np.array([1.0, 2.0, 4.0]) + mu
            assert Model(mu, data).loss(2.0).numpy() == pytest.approx(14.0)
        assert traces.total == 1
        assert Model(1.0, np.array([1.0, 2.0, 4.0]), order=2).loss(1.0).numpy() == pytest.approx(10.0)
        assert traces.total == 2


def test_objects_with_their_own_variables_share_a_graph_and_get_their_own_gradients():
    @zrun.struct
    class Owner:
        v: tf.Variable

        @zrun.function(kind="loss")
        def loss(self, x):
            return self.v * self.v * x

    owners = [Owner(tf.Variable(float(i), dtype=tf.float64)) for i in (1, 2, 3)]
    x = tf.constant(2.0, tf.float64)
    with count_traces() as traces:
        for i, owner in enumerate(owners, start=1):
            with tf.GradientTape() as tape:
                value = owner.loss(x)
            assert value.numpy() == 2.0 * i * i
            assert tape.gradient(value, owner.v).numpy() == 4.0 * i
    assert traces.total == 1


def test_the_same_variable_twice_is_another_structure():
    @counted()
    def function(a, b):
        a.assign_add(1.0)
        return a + b

    function, calls = function
    v, w = tf.Variable(1.0), tf.Variable(10.0)
    assert function(v, w).numpy() == 12.0
    # One graph for both patterns would read the value of `b` before the assignment to `a`.
    assert function(v, v).numpy() == 6.0
    assert len(calls) == 2


def test_a_variable_that_is_not_an_argument_stays_dynamic():
    v = tf.Variable(2.0)

    @counted()
    def function(x):
        return v * x

    function, calls = function
    assert function(tf.constant(3.0)).numpy() == 6.0
    v.assign(5.0)
    assert function(tf.constant(3.0)).numpy() == 15.0
    assert len(calls) == 1


def test_the_graphs_of_an_opaque_object_go_with_it():
    class Opaque:
        def __init__(self, factor):
            self.factor = factor

        @zrun.function
        def scaled(self, x):
            return self.factor * x

    def rows():
        return {row.function: row.graphs for row in RUN.cache_info().rows}

    name = Opaque.scaled.__qualname__
    first, second = Opaque(2.0), Opaque(3.0)
    assert first.scaled(tf.constant(1.0)).numpy() == 2.0
    assert second.scaled(tf.constant(1.0)).numpy() == 3.0
    assert rows()[name] == 2
    gone = weakref.ref(first)
    del first
    gc.collect()
    assert gone() is None
    assert rows()[name] == 1
    assert second.scaled(tf.constant(2.0)).numpy() == 6.0


def test_tracked_state_drops_the_graphs_that_read_it_and_no_others():
    class Scaled:
        factor = zrun.tracked(2.0)
        other = zrun.tracked(0)

        @zrun.function
        def scaled(self, x):
            return self.factor * x

    changing, staying = Scaled(), Scaled()
    with count_traces() as traces:
        assert changing.scaled(tf.constant(1.0)).numpy() == staying.scaled(tf.constant(1.0)).numpy() == 2.0
        changing.factor = 5.0
        changing.other = 7
        assert changing.scaled(tf.constant(1.0)).numpy() == 5.0
        assert staying.scaled(tf.constant(1.0)).numpy() == 2.0
    assert traces.total == 3


def test_called_while_tracing_it_is_inlined():
    @counted()
    def inner(x):
        return x * 2

    inner, inner_calls = inner

    @zrun.function
    def outer(x):
        return inner(x) + inner(x)

    assert outer(tf.constant(1.0)).numpy() == 4.0
    assert inner_calls == [False, False]
    assert tf.function(lambda x: inner(x))(tf.constant(1.0)).numpy() == 2.0


@pytest.mark.parametrize(("graph", "eager"), [(True, False), (False, True), ({"loss": False}, True), ("auto", False)])
def test_the_policy_decides_at_the_call(graph, eager):
    @counted(kind="loss")
    def function(x):
        return x * 2

    function, calls = function
    with RUN.using(graph=graph):
        assert float(function(tf.constant(3.0))) == 6.0
    assert calls == [eager]


def test_model_runs_eagerly_under_auto_and_inside_a_graph_it_is_part_of_it():
    @counted(kind="model")
    def pdf(x):
        return x * 2

    pdf, calls = pdf
    pdf(tf.constant(1.0))
    zrun.function(kind="loss")(lambda x: pdf(x))(tf.constant(1.0))
    assert calls == [True, False]


def test_python_control_flow_on_tensors_becomes_graph_control_flow():
    @zrun.function
    def steps(x):
        n = tf.constant(0)
        while x > 1.0:
            x = x / 2
            n += 1
        return n

    with count_traces() as traces:
        assert steps(tf.constant(8.0)).numpy() == 3
        assert steps(tf.constant(100.0)).numpy() == 7
    assert traces.total == 1


def test_force_eager_makes_callers_eager_and_is_learnt_once():
    @counted(force_eager=True)
    def numpy_only(x):
        return tf.constant(np.sin(x.numpy()))

    numpy_only, inner_calls = numpy_only

    @counted(kind="loss")
    def caller(x):
        return numpy_only(x) * 2

    caller, calls = caller
    for _ in range(3):
        assert caller(tf.constant(1.0)).numpy() == pytest.approx(2 * np.sin(1.0))
    assert calls == [False, True, True, True]
    assert inner_calls == [True, True, True]
    assert "force_eager" in str(RUN.explain(caller, tf.constant(1.0)))


def test_do_not_trace_is_learnt_once():
    @counted()
    def function(x):
        if not tf.executing_eagerly():
            raise zrun.DoNotTrace
        return x + 1

    function, calls = function
    assert [function(1.0), function(2.0), function(3.0)] == [2.0, 3.0, 4.0]
    assert calls == [False, True, True, True]


class OwnError(Exception):
    def __init__(self, code, *, detail):
        super().__init__(code)
        self.detail = detail


@pytest.mark.parametrize("error", [OwnError(3, detail="x"), KeyError("k"), ValueError("v"), StopIteration()])
def test_an_exception_passes_unchanged_and_leaves_nothing_behind(error):
    fails = [True]

    @counted()
    def function(x):
        if fails[0]:
            raise error
        return x

    function, calls = function
    with pytest.raises(type(error)) as raised:
        function(tf.constant(1.0))
    assert raised.value is error
    assert calls == [False]
    fails[0] = False
    assert function(tf.constant(1.0)).numpy() == 1.0
    assert calls == [False, False]


def test_an_error_inside_a_kernel_tells_the_users_message():
    @zrun.function
    def function(x):
        with tf.control_dependencies([tf.debugging.assert_positive(x, message="x is an energy")]):
            return tf.sqrt(x)

    assert function(tf.constant(4.0)).numpy() == 2.0
    with pytest.raises(tf.errors.InvalidArgumentError, match="x is an energy"):
        function(tf.constant(-1.0))


def test_threads_share_one_trace_and_never_run_eagerly():
    entered = threading.Event()

    @counted()
    def slow(x):
        entered.wait(1.0)
        return x * 2

    slow, calls = slow
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(slow, float(i)) for i in range(8)]
        entered.set()
        assert [float(f.result()) for f in futures] == [2.0 * i for i in range(8)]
    assert calls == [False]


def test_nested_results_keep_their_structure_and_python_values():
    @zrun.struct
    class Result:
        value: tf.Tensor
        name: str

    @zrun.function
    def function(x):
        return {"pair": Pair(x, [x + 1, None]), "text": "a", "n": 3, "struct": Result(x * 2, "r")}

    result = function(tf.constant(1.0))
    assert isinstance(result["pair"], Pair)
    assert (result["pair"].a.numpy(), result["pair"].b[0].numpy(), result["pair"].b[1]) == (1.0, 2.0, None)
    assert (result["text"], result["n"], result["struct"].name) == ("a", 3, "r")
    assert result["struct"].value.numpy() == 2.0


def test_ragged_and_sparse_tensors_go_in_and_out():
    @zrun.function
    def double(x):
        return x * 2.0

    ragged = double(tf.ragged.constant([[1.0, 2.0], [3.0]]))
    assert ragged.to_list() == [[2.0, 4.0], [6.0]]
    sparse = double(tf.sparse.from_dense([[0.0, 1.0]]))
    assert tf.sparse.to_dense(sparse).numpy().tolist() == [[0.0, 2.0]]


def test_check_numerics_raises_where_a_result_is_not_finite():
    @zrun.function
    def function(x):
        return tf.math.log(x)

    assert np.isneginf(function(tf.constant(0.0)).numpy())
    with RUN.using(check_numerics=True), pytest.raises(tf.errors.InvalidArgumentError, match="check_numerics"):
        function(tf.constant(0.0))


def test_jit_follows_the_policy():
    @zrun.function(kind="loss")
    def function(x):
        return tf.reduce_sum(x**2)

    x = tf.constant([1.0, 2.0])
    with RUN.using(jit=True):
        assert function(x).numpy() == 5.0
        assert "compiled" in str(RUN.explain(function, x))
    assert "compiled" not in str(RUN.explain(function, x))


def test_a_numpy_random_number_stays_and_a_tensorflow_one_changes():
    @zrun.function
    def function():
        return tf.constant(np.random.default_rng().normal()), tf.random.normal(())

    first, second = function(), function()
    assert first[0].numpy() == second[0].numpy()
    assert first[1].numpy() != second[1].numpy()


@pytest.mark.parametrize("wrap", [staticmethod, classmethod])
def test_static_and_class_methods(wrap):
    if wrap is staticmethod:

        class Holder:
            @staticmethod
            @zrun.function
            def double(x):
                return x * 2
    else:

        class Holder:
            @classmethod
            @zrun.function
            def double(cls, x):
                return x * 2

    assert Holder.double(tf.constant(2.0)).numpy() == Holder().double(tf.constant(2.0)).numpy() == 4.0


def test_inheritance_and_super():
    @zrun.struct
    class Base:
        a: float

        @zrun.function
        def value(self, x):
            return self.a * x

    @zrun.struct
    class Derived(Base):
        b: float

        @zrun.function
        def value(self, x):
            return super().value(x) + self.b

    assert Derived(2.0, 1.0).value(tf.constant(3.0)).numpy() == 7.0


def test_inside_tf_data_and_vectorized_map():
    @zrun.function
    def square(x):
        return x * x

    data = tf.data.Dataset.range(4).map(lambda i: square(tf.cast(i, tf.float32)))
    assert [x.numpy() for x in data] == [0.0, 1.0, 4.0, 9.0]
    assert tf.vectorized_map(square, tf.range(4.0)).numpy().tolist() == [0.0, 1.0, 4.0, 9.0]


def test_clearing_never_changes_a_result_and_says_what_it_freed():
    @zrun.function
    def function(x):
        return x * 3

    before = function(tf.constant(2.0)).numpy()
    freed = RUN.clear_graph_cache()
    assert freed.graphs >= 1
    assert freed.bytes > 0
    assert function(tf.constant(2.0)).numpy() == before
    assert RUN.clear_graph_cache(release_memory=True).graphs == 1


def test_a_generator_is_refused_with_a_clear_error():
    with pytest.raises(TypeError, match="generator"):

        @zrun.function
        def numbers():
            yield 1


def test_the_result_of_an_assignment_is_the_new_value():
    v = tf.Variable(1.0)
    assert zrun.function(lambda: v.assign_add(1.0))().numpy() == 2.0
    assert zrun.function(lambda a: a.assign(5.0))(v).numpy() == 5.0


def test_an_array_of_objects_is_refused():
    with pytest.raises(zrun.errors.StructureError, match="dtype object"):
        zrun.function(lambda x: 1)(np.array([None]))


def test_an_object_cannot_leave_a_graph():
    class Opaque:
        pass

    @zrun.function
    def function(x):
        return Opaque()

    with pytest.raises(TypeError, match="cannot leave a graph"):
        function(1.0)


def test_where_python_control_flow_cannot_be_converted_the_error_says_why():
    # Two lambdas on one line cannot be told apart in the source.
    function, _ = zrun.function(lambda x: 1 if x > 0 else 2), (lambda x: 3)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with pytest.raises(tf.errors.OperatorNotAllowedInGraphError) as raised:
            function(tf.constant(1.0))
    said = getattr(raised.value, "__notes__", None) or [str(warning.message) for warning in warned]
    assert any("AutoGraph could not convert" in text for text in said)
