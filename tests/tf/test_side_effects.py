"""Side effects: what of a body happens once, when it is traced, and what happens at each call."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import zrun_tf as zrun
from zrun_core.testing import count_traces

pytestmark = pytest.mark.usefixtures("path")

RUN = zrun.run


def test_a_numpy_random_number_is_drawn_once_and_a_tensorflow_one_at_each_call():
    rng = np.random.default_rng(1)

    @zrun.function
    def draw():
        return tf.constant(rng.normal()), tf.random.normal(()), np.random.normal()  # noqa: NPY002 - as user code does

    draws = [[float(each) for each in draw()] for _ in range(4)]
    of_numpy, of_tensorflow, of_numpys_global = (set(each) for each in zip(*draws, strict=True))
    assert (len(of_numpy), len(of_tensorflow), len(of_numpys_global)) == (1, 4, 1)


def test_without_a_graph_each_call_draws_anew():
    @zrun.function
    def draw():
        return tf.constant(np.random.normal()), tf.random.normal(())  # noqa: NPY002 - as user code does

    with RUN.using(graph=False):
        draws = [[float(each) for each in draw()] for _ in range(4)]
    assert [len(set(each)) for each in zip(*draws, strict=True)] == [4, 4]


def test_a_numpy_generator_as_an_argument_is_refused_instead_of_drawn_from_once():
    function = zrun.function(lambda rng: tf.constant(rng.normal()))
    with pytest.raises(zrun.errors.StructureError, match="Generator, which zrun cannot take apart"):
        function(np.random.default_rng(1))
    with RUN.using(graph=False):
        assert function(np.random.default_rng(1)).numpy() == pytest.approx(np.random.default_rng(1).normal())


def test_the_new_value_of_a_variable_is_seen():
    v = tf.Variable(2.0)
    function = zrun.function(lambda x: v * x)
    with count_traces() as traces:
        for value in (2.0, 5.0, -1.0):
            v.assign(value)
            assert function(tf.constant(3.0)).numpy() == 3 * value
    assert traces.total == 1


def test_what_a_graph_assigns_is_seen_outside_at_each_call():
    v = tf.Variable(0.0)
    function = zrun.function(lambda x: v.assign_add(x))
    assert [function(tf.constant(2.0)).numpy() for _ in range(3)] == [2.0, 4.0, 6.0]
    assert v.numpy() == 6.0


def test_python_side_effects_happen_once_per_trace():
    seen, total = [], [0]

    @zrun.function
    def function(x):
        seen.append(tuple(x.shape))
        total[0] += 1
        return x * 2

    for size in (1, 2, 1, 2, 1):
        function(np.zeros(size))
    assert seen == [(1,), (2,)]
    assert total == [2]


def test_python_side_effects_happen_at_each_call_without_a_graph():
    seen = []

    @zrun.function
    def function(x):
        seen.append(float(x))
        return x * 2

    with RUN.using(graph=False):
        for x in (1.0, 2.0, 2.0):
            function(tf.constant(x))
    assert seen == [1.0, 2.0, 2.0]


def test_closures_and_globals_are_constants_as_in_a_tf_function():
    held = [2.0]
    function, reference = (decorate(lambda x: x * held[0]) for decorate in (zrun.function, tf.function))
    for value in (2.0, 3.0):
        held[0] = value
        assert function(tf.constant(1.0)).numpy() == reference(tf.constant(1.0)).numpy() == 2.0
    with RUN.using(graph=False):
        assert function(tf.constant(1.0)).numpy() == 3.0
    RUN.clear_graph_cache()
    assert function(tf.constant(1.0)).numpy() == 3.0


def test_printing_happens_once_by_python_and_at_each_call_by_tensorflow(capfd):
    @zrun.function
    def function(x):
        print("traced")
        tf.print("called with", x)
        return x

    for x in (1.0, 2.0):
        function(tf.constant(x))
    out, err = capfd.readouterr()
    assert out.count("traced") == 1
    assert (out + err).count("called with") == 2


def test_an_argument_that_the_body_changes_is_not_changed_by_a_graph():
    # The body gets a structure of its own, made of placeholders.
    @zrun.function
    def function(data):
        data["sum"] = tf.add_n(data["parts"])
        data["parts"].clear()
        return data["sum"]

    data = {"parts": [tf.constant(1.0), tf.constant(2.0)]}
    for _ in range(3):
        assert function(data).numpy() == 3.0
    assert list(data) == ["parts"]
    assert len(data["parts"]) == 2
