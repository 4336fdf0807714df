"""Small graphs are run by an operation that calls them, in the thread that calls, once they are used often."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest
import tensorflow as tf

import zrun_tf as zrun
from zrun_tf import _dispatch
from zrun_tf._dispatch import CALLS_UNTIL_CALLED
from zrun_tf._graph import KERNELS

X = tf.constant([1.0, 2.0, 3.0], tf.float64)
SHARED, SINGLE = CALLS_UNTIL_CALLED

pytestmark = pytest.mark.skipif(_dispatch.in_use() != "direct", reason="the public path leaves it to TensorFlow")


@pytest.fixture
def executed(monkeypatch):
    """The operations that are executed straight."""
    names = []
    real = _dispatch.direct.symbols.run

    def run(handle, device, name, *rest):
        names.append(name)
        return real(handle, device, name, *rest)

    monkeypatch.setattr(_dispatch.direct.symbols, "run", run)
    return names


def graph_of(function):
    return next(iter(function.owner.table.values())).value


def called(function):
    return graph_of(function)._target[3]


def test_a_shared_graph_is_called_after_some_calls(executed):
    function = zrun.function(lambda x: tf.reduce_sum(x * 2.0))
    for number in range(SHARED + 5):
        assert float(function(X)) == 12.0
        assert called(function) == (number >= SHARED - 1)
    by_name = {name == "StatefulPartitionedCall" for name in executed[: SHARED - 1]}
    assert by_name == {False}
    assert set(executed[SHARED:]) == {"StatefulPartitionedCall"}


def test_the_graph_of_a_single_object_is_called_later():
    class Opaque:
        @zrun.function
        def total(self, x):
            return tf.reduce_sum(x)

    one = Opaque()
    for _ in range(SHARED + 1):
        one.total(X)
    assert not called(Opaque.total)
    for _ in range(SINGLE):
        assert float(one.total(X)) == 6.0
    assert called(Opaque.total)


def never_called(function, *args):
    for _ in range(SHARED + 3):
        function(*args)
    assert not called(function)
    return function


def test_what_gains_from_several_threads_is_left_to_them():
    never_called(zrun.function(lambda x: tf.reduce_sum(x)), tf.zeros(100_000))


def test_a_graph_of_any_size_is_left_alone():
    never_called(zrun.function(lambda x: tf.reduce_sum(tf.boolean_mask(x, x > 1.0))), X)


def test_control_flow_and_python_are_left_alone():
    never_called(zrun.function(lambda x: tf.while_loop(lambda i: i < 3, lambda i: i + 1, [tf.constant(0)])[0]), X)
    never_called(zrun.function(lambda x: tf.switch_case(tf.constant(0), [lambda: x, lambda: -x])), X)
    never_called(zrun.function(lambda x: tf.py_function(lambda y: y, [x], tf.float64)), X)


def test_what_xla_compiles_is_left_alone():
    never_called(zrun.function(jit_compile=True)(lambda x: x * 2.0), X)


@pytest.mark.parametrize("draw", [lambda: tf.random.normal([2]), lambda: tf.random.uniform([2], seed=3)])
def test_a_seeded_sequence_of_random_numbers_goes_on(draw):
    def drawn(make):
        tf.random.set_seed(7)
        function = make(draw)
        return np.array([function() for _ in range(2 * SHARED)])

    ours, bare = drawn(zrun.function), drawn(tf.function)
    assert len(np.unique(ours[:, 0])) == 2 * SHARED
    assert np.array_equal(ours, bare)


def test_variables_are_read_and_set_in_order():
    total = tf.Variable(0.0, dtype=tf.float64)

    @zrun.function
    def add(x):
        before = total.read_value()
        total.assign_add(x)
        total.assign(total * 1.0)
        return total - before

    for number in range(1, SHARED + 5):
        assert float(add(tf.constant(2.0, tf.float64))) == 2.0
        assert float(total) == 2.0 * number
    assert called(add)


def test_a_device_scope_is_kept(executed):
    function = zrun.function(lambda x: x * 2.0)
    for _ in range(SHARED + 1):
        function(X)
    executed.clear()
    with tf.device("CPU:0"):
        assert "CPU:0" in function(X).device
    assert "StatefulPartitionedCall" not in executed
    function(X)
    assert executed[-1] == "StatefulPartitionedCall"


def test_gradients_are_right_after_the_switch():
    variable = tf.Variable(3.0, dtype=tf.float64)
    function = zrun.function(lambda x: variable * tf.reduce_sum(x**2))
    for _ in range(SHARED + 1):
        function(X)
    assert called(function)
    with tf.GradientTape() as tape:
        tape.watch(X)
        value = function(X)
    by_x, by_variable = tape.gradient(value, [X, variable])
    assert by_x.numpy().tolist() == [6.0, 12.0, 18.0]
    assert float(by_variable) == 14.0


def test_several_and_no_results():
    pair = zrun.function(lambda x: {"sum": tf.reduce_sum(x), "more": (x + 1.0, None)})
    counter = tf.Variable(0)

    @zrun.function
    def nothing():
        counter.assign_add(1)

    for _ in range(SHARED + 2):
        result = pair(X)
        assert float(result["sum"]) == 6.0
        assert result["more"][0].numpy().tolist() == [2.0, 3.0, 4.0]
        assert result["more"][1] is None
        assert nothing() is None
    assert called(pair)
    assert called(nothing)
    assert int(counter) == SHARED + 2


@pytest.mark.parametrize("dtype", [tf.int32, tf.int64, tf.bool, tf.float32, tf.complex128, tf.string])
def test_dtypes(dtype):
    value = tf.constant(["a", "b"]) if dtype == tf.string else tf.cast([0, 1], dtype)
    function = zrun.function(lambda x: (tf.identity(x), tf.shape(x), tf.size(x)))
    for _ in range(SHARED + 2):
        same, shape, size = function(value)
    assert called(function)
    assert np.array_equal(same.numpy(), value.numpy())
    assert shape.numpy().tolist() == [2]
    assert int(size) == 2


def test_an_error_after_the_switch_names_the_line():
    # It used to name the operation that calls the function, and no line.
    function = zrun.function(lambda x, index: tf.gather(x, index))
    for _ in range(SHARED + 2):
        function(X, tf.constant(1))
    assert called(function)
    with pytest.raises(tf.errors.InvalidArgumentError, match="7 is not in") as caught:
        function(X, tf.constant(7))
    assert "Detected at node" in str(caught.value)
    assert "test_dispatch_small.py" in str(caught.value)
    assert float(function(X, tf.constant(2))) == 3.0


def test_a_graph_that_sets_variables_is_not_run_again_for_its_error():
    count = tf.Variable(0)

    def body(x, index):
        with tf.control_dependencies([count.assign_add(1)]):
            return tf.gather(x, index)

    function = zrun.function(body)
    for _ in range(SHARED + 2):
        function(X, tf.constant(1))
    assert called(function)
    with pytest.raises(tf.errors.InvalidArgumentError, match="7 is not in"):
        function(X, tf.constant(7))
    assert int(count) == SHARED + 3


def test_threads_that_switch_at_the_same_time():
    function = zrun.function(lambda x: tf.reduce_sum(x * 3.0))
    function(X)
    wrong = []

    def work():
        wrong.extend(value for value in (float(function(X + i)) for i in range(200)) if value % 9.0)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert called(function)


def test_what_is_kept_of_dropped_graphs_is_limited(monkeypatch):
    monkeypatch.setattr(KERNELS, "nbytes", 0)

    def used_and_dropped():
        function = zrun.function(lambda x: tf.reduce_sum(x))
        for _ in range(SHARED + 1):
            function(X)
        was = called(function)
        nbytes = graph_of(function).nbytes
        del function
        gc.collect()
        return was, nbytes

    was, nbytes = used_and_dropped()
    assert was
    assert KERNELS.nbytes == nbytes
    monkeypatch.setattr(KERNELS, "nbytes", KERNELS.MOST)
    was, _ = used_and_dropped()
    assert not was
