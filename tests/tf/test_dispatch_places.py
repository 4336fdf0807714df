"""Where a function is called from: other graphs, data pipelines, maps, control flow, and TensorFlow's own switches."""

from __future__ import annotations

import threading
from importlib import import_module

import numpy as np
import pytest
import tensorflow as tf

import zrun_tf as zrun
from zrun_core.testing import count_traces

pytestmark = pytest.mark.usefixtures("path")

X = tf.constant([1.0, 2.0, 3.0])
TWO = tf.constant(2.0)


def doubling(*first):
    """A function that doubles, called often enough with each of `first` to be found by the short way."""
    function = zrun.function(lambda x: x * 2)
    for argument in first * 2:
        function(argument)
    return function


def test_inside_a_tf_function_it_is_part_of_that_graph():
    f = doubling(TWO)
    outer = tf.function(lambda x: f(x) + f(x))
    assert outer(TWO).numpy() == 8.0
    operations = [op.type for op in outer.get_concrete_function(TWO).graph.get_operations()]
    assert not [name for name in operations if "PartitionedCall" in name]


def test_inside_a_tf_function_an_eager_argument_does_not_run_eagerly():
    f = doubling(TWO, X)
    outer = tf.function(lambda: (f(TWO), f(X)))
    assert [r.numpy().tolist() for r in outer()] == [4.0, [2.0, 4.0, 6.0]]
    assert len([op for op in outer.get_concrete_function().graph.get_operations() if op.type == "Mul"]) == 2


def test_in_a_graph_of_the_first_version_of_tensorflow():
    f = doubling(TWO)
    with tf.Graph().as_default():
        y = f(tf.constant(3.0))
        with tf.compat.v1.Session() as session:
            assert session.run(y) == 6.0


def test_in_an_init_scope_it_runs_as_its_own_graph():
    f = doubling(TWO)
    values = []

    @tf.function
    def outer():
        with tf.init_scope():
            values.append(f(tf.constant(4.0)).numpy())
        return tf.constant(1)

    outer()
    assert values == [8.0]


def test_in_tf_data_and_the_maps():
    f = doubling(TWO)
    assert [y.numpy() for y in tf.data.Dataset.from_tensor_slices(X).map(f)] == [2.0, 4.0, 6.0]
    assert [y.numpy() for y in tf.data.Dataset.from_tensor_slices(X).map(f, num_parallel_calls=2)] == [2.0, 4.0, 6.0]
    np.testing.assert_allclose(tf.map_fn(f, X), [2, 4, 6])
    np.testing.assert_allclose(tf.vectorized_map(f, X), [2, 4, 6])
    np.testing.assert_allclose(tf.scan(lambda total, x: total + f(x), X), [1, 5, 11])
    np.testing.assert_allclose(zrun.function(lambda x: tf.map_fn(f, x))(X), [2, 4, 6])
    np.testing.assert_allclose(zrun.function(lambda x: tf.vectorized_map(f, x))(X), [2, 4, 6])


def test_called_by_python_code_in_a_graph():
    f = doubling(TWO)
    by_py_function = tf.function(lambda x: tf.py_function(lambda z: f(z), [x], tf.float32))
    assert by_py_function(tf.constant(3.0)).numpy() == 6.0
    by_numpy_function = tf.function(lambda x: tf.numpy_function(lambda z: f(z).numpy(), [x], tf.float32))
    assert by_numpy_function(tf.constant(3.0)).numpy() == 6.0


def test_control_flow_on_results():
    f = doubling(TWO)
    assert tf.cond(f(TWO) > 3.0, lambda: f(TWO), lambda: TWO).numpy() == 4.0
    assert tf.while_loop(lambda x: x < 20.0, lambda x: (f(x),), (TWO,))[0].numpy() == 32.0
    assert tf.switch_case(tf.cast(f(TWO), tf.int32) - 3, [lambda: TWO, lambda: f(f(TWO))]).numpy() == 8.0

    @zrun.function
    def by_autograph(x):
        while f(x) < 20.0:
            x = f(x)
        if f(x) > 25.0:
            x = -x
        return x

    for _ in range(2):
        assert by_autograph(TWO).numpy() == -16.0


def test_control_flow_inside_a_small_graph():
    @zrun.function
    def steps(x):
        n = tf.constant(0)
        while x > 1.0:
            x = x / 2
            n += 1
        return n if n > 3 else -n

    with count_traces() as traces:
        assert [steps(tf.constant(x)).numpy() for x in (8.0, 100.0, 8.0)] == [-3, 7, -3]
    assert traces.total == 1


def test_control_flow_of_the_first_version_of_tensorflow():
    # The single-threaded executor, by which small graphs are run, once could not run such operations.
    def body(x):
        off, on = tf.raw_ops.Switch(data=x, pred=x > 0)
        return tf.raw_ops.Merge(inputs=[off * 2, on * 3]).output

    f = zrun.function(body)
    assert [f(tf.constant(x)).numpy() for x in (1.0, -1.0, 2.0)] == [3.0, -2.0, 6.0]


def test_the_users_switch_for_tf_functions_is_not_zruns():
    # Zrun follows its own policy; `run.set_mode(graph=False)` sets both.
    eager = []

    def body(x):
        eager.append(tf.executing_eagerly())
        return x * 2

    f = zrun.function(body)
    f(TWO), f(TWO)
    tf.config.run_functions_eagerly(True)
    try:
        assert f(TWO).numpy() == 4.0
        assert zrun.function(body)(TWO).numpy() == 4.0
    finally:
        tf.config.run_functions_eagerly(False)
    assert f(TWO).numpy() == 4.0
    assert eager == [False, False]


def test_another_switch_for_tf_functions_that_a_graph_calls():
    inner = tf.function(lambda x: x * 3)
    f = zrun.function(lambda x: inner(x) + 1)
    assert [f(TWO).numpy(), f(TWO).numpy()] == [7.0, 7.0]
    tf.config.run_functions_eagerly(True)
    try:
        assert f(TWO).numpy() == 7.0
        zrun.run.clear_graph_cache()
        assert f(TWO).numpy() == 7.0
    finally:
        tf.config.run_functions_eagerly(False)


def test_python_code_in_a_graph_and_its_gradient():
    f = zrun.function(lambda x: tf.py_function(lambda z: z * z, [x], tf.float32))
    assert [f(TWO).numpy(), f(tf.constant(3.0)).numpy()] == [4.0, 9.0]
    with tf.GradientTape() as tape:
        tape.watch(TWO)
        y = f(TWO)
    assert tape.gradient(y, TWO).numpy() == 4.0


def test_check_numerics_of_tensorflow_sees_into_new_graphs_and_lets_known_ones_be():
    # It works by callbacks for operations, as other tools of TensorFlow for debugging do.
    f = zrun.function(tf.math.log)
    assert [np.isnan(f(tf.constant(-1.0)).numpy()) for _ in range(2)] == [True, True]
    tf.debugging.enable_check_numerics()
    try:
        # The eager result of the call is checked, not what happens inside.
        with pytest.raises(tf.errors.InvalidArgumentError, match="Log"):
            zrun.function(tf.math.log)(tf.constant(-1.0))
    finally:
        tf.debugging.disable_check_numerics()
    assert np.isnan(f(tf.constant(-1.0)).numpy())


def test_callbacks_for_operations_are_called():
    callbacks = import_module("tensorflow.python.framework.op_callbacks")
    f = doubling(TWO)
    seen = []

    def note(op_type, inputs, attrs, outputs, op_name=None, graph=None):
        seen.append((op_type, [y.numpy() for y in outputs]))

    callbacks.add_op_callback(note)
    try:
        assert f(TWO).numpy() == 4.0
    finally:
        callbacks.remove_op_callback(note)
    assert len(seen) == 1
    assert tf.compat.as_str(seen[0][0]).startswith("__inference_")
    assert seen[0][1] == [4.0]
    f(TWO)
    assert len(seen) == 1


def test_a_call_in_a_scope_of_cancellation_can_be_cancelled():
    cancellation = import_module("tensorflow.python.eager.cancellation")
    queue = tf.queue.FIFOQueue(1, tf.float32)
    take = zrun.function(lambda: queue.dequeue())
    for value in (1.0, 2.0):
        queue.enqueue(value)
        assert take().numpy() == value
    manager = cancellation.CancellationManager()
    outcome, started = [], threading.Event()

    def call():
        with cancellation.CancellationManagerContext(manager):
            started.set()
            try:
                take()
            except tf.errors.CancelledError:
                outcome.append("cancelled")

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    assert started.wait(60)
    manager.start_cancel()
    thread.join(60)
    assert outcome == ["cancelled"]
    # Nothing is left behind: the next call is not cancelled.
    queue.enqueue(3.0)
    assert take().numpy() == 3.0


def test_a_device_scope_places_what_is_computed():
    f = doubling(TWO, 1.5)
    with tf.device("CPU:0"):
        assert f(TWO).device.endswith("CPU:0")
        assert f(1.5).device.endswith("CPU:0")
    assert f(1.5).numpy() == 3.0


def test_random_numbers_follow_the_seed():
    f = zrun.function(lambda: tf.random.uniform(()))
    draws = []
    for _ in range(2):
        tf.random.set_seed(3)
        draws.append([f().numpy(), f().numpy()])
    assert draws[0] == draws[1]
    assert draws[0][0] != draws[0][1]


def test_an_optimizer_setting_of_tensorflow_is_followed():
    before = tf.config.optimizer.get_experimental_options()
    f = doubling(TWO)
    tf.config.optimizer.set_experimental_options({"constant_folding": False})
    try:
        assert f(TWO).numpy() == 4.0
    finally:
        tf.config.optimizer.set_experimental_options({"constant_folding": before.get("constant_folding", True)})
    assert f(TWO).numpy() == 4.0
