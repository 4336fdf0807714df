"""Faults 2, 12 and 13 with TensorFlow, on the fast path and on the public one: once a graph is found by a short way."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import tensorflow as tf

import zrun_tf as zrun
from zrun_tf import _dispatch

X = tf.constant(1.0)


@pytest.fixture(autouse=True, params=["direct", "public"])
def path(request):
    if request.param == "direct":
        assert _dispatch.in_use() == "direct"
        yield request.param
        return
    with _dispatch.hidden():
        yield request.param


class Model:
    order = zrun.tracked(2.0)

    @zrun.invalidates
    def rebuild(self):
        self.order = self.order + 1.0


def counted(body):
    runs = []

    def counting(*args):
        runs.append(tf.executing_eagerly())
        return body(*args)

    return zrun.function(counting), runs


@pytest.mark.parametrize("change", [lambda m: setattr(m, "order", 3.0), Model.rebuild], ids=["tracked", "invalidates"])
def test_fault_2_a_change_drops_what_read_it_and_nothing_else(change):
    # One object's change used to have every function traced again.
    changed, other = Model(), Model()
    reader, reader_runs = counted(lambda x: changed.order * x)
    other_reader, other_runs = counted(lambda x: other.order * x)
    unrelated, unrelated_runs = counted(lambda x: x + 1.0)
    for _ in range(3):
        reader(X), other_reader(X), unrelated(X)
    change(changed)
    for _ in range(3):
        assert [reader(X).numpy(), other_reader(X).numpy(), unrelated(X).numpy()] == [3.0, 2.0, 2.0]
    assert (reader_runs, other_runs, unrelated_runs) == ([False, False], [False], [False])


def test_fault_12_an_error_while_the_key_is_built_does_not_make_later_calls_eager():
    # Such an error used to leave the function marked as being traced: every later call ran eagerly, silently.
    function, runs = counted(lambda x: x * 2)
    unfit = {"itself": None}
    unfit["itself"] = unfit
    function(X), function(X)
    for _ in range(2):
        with pytest.raises(zrun.errors.StructureError):
            function(unfit)
        assert function(X).numpy() == 2.0
    assert runs == [False]


def test_fault_12_an_error_while_tracing_or_running_does_not_make_later_calls_eager():
    fails = [True]

    def body(x):
        if fails[0]:
            raise LookupError
        tf.debugging.assert_positive(x)
        return x * 2

    function, runs = counted(body)
    with pytest.raises(LookupError):
        function(X)
    fails[0] = False
    for _ in range(3):
        assert function(X).numpy() == 2.0
        with pytest.raises(tf.errors.InvalidArgumentError):
            function(-X)
    assert runs == [False, False]


def test_fault_12_threads_that_call_during_a_trace_do_not_run_eagerly():
    # A second thread that called while the first was tracing used to run eagerly.
    tracing, go_on = threading.Event(), threading.Event()

    def body(x):
        tracing.set()
        assert go_on.wait(60)
        return x * 2

    function, runs = counted(body)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(function, X)
        assert tracing.wait(60)
        others = [pool.submit(function, tf.constant(float(i))) for i in range(3)]
        go_on.set()
        assert first.result(60).numpy() == 2.0
        assert [other.result(60).numpy() for other in others] == [0.0, 2.0, 4.0]
    assert runs == [False]


@pytest.mark.parametrize("error", [KeyError, TypeError, ValueError, NotImplementedError, RuntimeError])
def test_fault_13_an_error_of_the_users_runs_the_body_once(error):
    # A KeyError used to be taken for a failed look-up, and the body ran a second time.
    raised = error("mine")

    def body(x):
        raise raised

    function, runs = counted(body)
    for calls in (1, 2):
        with pytest.raises(error) as caught:
            function(X)
        assert caught.value is raised
        assert runs == [False] * calls


def test_fault_13_an_error_of_a_kernel_does_not_run_the_graph_a_second_time():
    v = tf.Variable(0.0)

    def body(x):
        v.assign_add(1.0)
        tf.debugging.assert_positive(x)

    function, runs = counted(body)
    function(X), function(X)
    with pytest.raises(tf.errors.InvalidArgumentError):
        function(-X)
    assert v.numpy() == 3.0
    assert runs == [False]
