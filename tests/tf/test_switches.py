"""The switches of which TensorFlow has only one per process."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
import tensorflow as tf

import zrun_tf as zrun
from zrun_core.testing import policy_unchanged

RUN = zrun.run


@pytest.fixture(autouse=True)
def leaves_no_trace():
    before = tf.config.functions_run_eagerly()
    with policy_unchanged():
        yield
    assert tf.config.functions_run_eagerly() is before


@pytest.mark.parametrize("users", [False, True])
def test_set_mode_has_every_tf_function_follow_and_gives_back_what_the_user_had(users):
    # This used to leave the switch at False whatever the user had set.
    tf.config.run_functions_eagerly(users)
    try:
        RUN.set_mode(graph=False)
        assert tf.config.functions_run_eagerly() is True
        RUN.set_mode(autograd=False)
        assert tf.config.functions_run_eagerly() is True
        RUN.set_mode_default()
        assert tf.config.functions_run_eagerly() is users
    finally:
        tf.config.run_functions_eagerly(False)


def test_what_the_user_sets_in_between_stays():
    RUN.set_mode(graph=False)
    tf.config.run_functions_eagerly(False)
    RUN.set_mode_default()
    assert tf.config.functions_run_eagerly() is False


def test_using_leaves_the_switch_alone_unless_it_is_asked_to():
    with RUN.using(graph=False):
        assert tf.config.functions_run_eagerly() is False
    block = RUN.using(graph=False, tensorflow=True)
    with block:
        assert tf.config.functions_run_eagerly() is True
        with block:
            assert tf.config.functions_run_eagerly() is True
        assert tf.config.functions_run_eagerly() is True
    assert tf.config.functions_run_eagerly() is False
    with pytest.raises(KeyError), block:
        raise KeyError
    assert tf.config.functions_run_eagerly() is False


def test_blocks_of_two_threads_that_overlap_restore_the_first_value():
    entered, leave = threading.Event(), threading.Event()

    def other():
        with RUN.using(graph=False, tensorflow=True):
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with RUN.using(graph=False, tensorflow=True):
        thread.start()
        entered.wait(10)
    assert tf.config.functions_run_eagerly() is True
    leave.set()
    thread.join()
    assert tf.config.functions_run_eagerly() is False


@pytest.mark.parametrize("graph", [None, True, "auto", {"loss": False}])
def test_the_switch_goes_with_graph_false_only(graph):
    with pytest.raises(zrun.errors.PolicyError, match="goes with graph=False"):
        RUN.using(graph=graph, tensorflow=True)


def test_a_graph_function_traces_although_the_switch_is_on():
    traced = []

    @zrun.function(kind="loss")
    def function(x):
        traced.append(not tf.executing_eagerly())
        return x * 2

    RUN.set_mode(graph=False)
    try:
        with RUN.using(graph=True):
            assert function(tf.constant(2.0)).numpy() == 4.0
    finally:
        RUN.set_mode_default()
    assert traced == [True]


@pytest.mark.parametrize("call", ["set_mode", "set_mode_default", "set_chunksize", "set_retrace_policy"])
def test_the_default_cannot_be_set_while_tracing(call):
    arguments = {"set_mode": (False,), "set_mode_default": (), "set_chunksize": (5,), "set_retrace_policy": ("allow",)}

    @zrun.function
    def function():
        getattr(RUN, call)(*arguments[call])

    with pytest.raises(zrun.errors.IllegalInGraphError, match=call):
        function()


def test_the_environment_is_followed_from_the_start():
    code = (
        "import zrun_tf as zrun, tensorflow as tf; print(zrun.run.mode['graph'], tf.config.functions_run_eagerly());"
        "zrun.run.set_mode(graph=True); print(tf.config.functions_run_eagerly())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"ZRUN_GRAPH": "false", "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["False", "True", "False"]
