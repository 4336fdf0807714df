"""Python functions in graphs: threads, exceptions, transformations, and what is left behind."""

from __future__ import annotations

import gc
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, get_ident
from weakref import ref

import numpy as np
import pytest
import tensorflow as tf

import zrun_tf as zrun
from zrun_tf._pyfunc import _graph

F64 = tf.float64


def constant(value):
    return tf.constant(value, F64)


class MyError(Exception):
    """Nothing that TensorFlow knows."""


class Opaque:
    """An argument that is known by identity."""

    __slots__ = ("__weakref__",)


def failing(x):
    raise ERROR


ERROR = MyError("mine")


# -- exceptions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", [lambda f: f, zrun.function], ids=["eager", "zrun.function"])
def test_an_exception_of_the_function_passes_unchanged(way):
    with pytest.raises(MyError) as caught:
        way(lambda x: zrun.numpy_function(failing, [x]))(constant(1.0))
    assert caught.value is ERROR
    assert any(entry.name == "failing" for entry in caught.traceback)
    if sys.version_info >= (3, 11):
        assert "This happened in numpy_function of failing." in ERROR.__notes__


def test_an_exception_in_a_plain_graph_has_traceback_and_name():
    with pytest.raises(tf.errors.UnknownError) as caught:
        tf.function(lambda x: zrun.numpy_function(failing, [x]))(constant(1.0))
    text = str(caught.value)
    assert "MyError: mine" in text
    assert "raise ERROR" in text
    assert "This happened in numpy_function of failing." in text


def test_the_next_call_after_an_exception_works():
    @zrun.function
    def compute(x):
        return zrun.numpy_function(lambda x: 1 / 0 if x < 0 else x, [x])

    with pytest.raises(ZeroDivisionError):
        compute(constant(-1.0))
    assert float(compute(constant(2.0))) == 2.0


@pytest.mark.parametrize("way", [tf.function(jit_compile=True), zrun.function(jit_compile=True)], ids=["tf", "zrun"])
def test_compiled_code_cannot_call_python_and_says_so(way):
    with pytest.raises(zrun.errors.IllegalInGraphError, match="numpy_function of sin is called in a function that is"):
        way(lambda x: zrun.numpy_function(np.sin, [x]))(constant(1.0))


def test_so_does_a_policy_that_compiles_a_graph_when_it_is_called_often():
    hidden = Opaque()
    compute = zrun.function(lambda x, _: zrun.numpy_function(np.sin, [x]), kind="loss")
    with (
        zrun.run.using(jit=True),
        pytest.raises(zrun.errors.IllegalInGraphError, match="compiled code cannot call Python"),
    ):
        compute(constant(1.0), hidden)
    assert float(compute(constant(1.0), hidden)) == np.sin(1.0)


# -- policies and threads ----------------------------------------------------------------------------------------------


def test_the_policy_of_the_caller_is_in_force_in_the_function():
    seen = []

    def function(x):
        seen.append((zrun.run.policy.autograd, zrun.run.policy.graph, get_ident()))
        return x

    compute = lambda x: zrun.numpy_function(function, [x])  # noqa: E731
    with zrun.run.using(autograd=False, graph=True):
        compute(constant(1.0))
        tf.function(compute)(constant(1.0))
        zrun.function(compute)(constant(1.0))
    # On a thread of TensorFlow graphs are off.
    assert [entry[:2] for entry in seen] == [(False, True), (False, False), (False, False)]
    assert seen[0][2] == get_ident()


PARALLEL = """
import os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
import threading
import numpy as np, tensorflow as tf, zrun_tf as zrun
tf.config.threading.set_inter_op_parallelism_threads(1)
tf.config.threading.set_intra_op_parallelism_threads(1)

@zrun.function(kind="loss")
def inner(x):
    return tf.sin(x) * tf.linalg.norm(tf.ones([4, 4], tf.float64) * x)

def body(x):
    return inner(tf.constant(x)).numpy()

@tf.function
def outer(x):
    return tf.add_n([zrun.numpy_function(body, [x + float(i)], stateful=False) for i in range(4)])

slope = tf.function(lambda x: zrun.gradient(outer, x))
x = tf.constant(2.0, tf.float64)
wanted = [float(outer(x)), float(slope(x))]
found = []
def run():
    for _ in range(5):
        found.append([float(outer(x)), float(slope(x))])
threads = [threading.Thread(target=run) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert len(found) == 20
np.testing.assert_allclose(found, [wanted] * 20, rtol=1e-12)
exact = zrun.gradient(lambda x: tf.add_n([inner.python_function(x + float(i)) for i in range(4)]), x)
np.testing.assert_allclose(wanted[1], exact, rtol=1e-8)
print("done")
"""


def test_nested_zrun_calls_do_not_wait_for_each_other_with_one_thread():
    # Each body holds the only thread of TensorFlow's pool while it calls a zrun function.
    done = subprocess.run([sys.executable, "-c", PARALLEL], capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout.strip() == "done", done.stderr


def test_many_threads_share_a_graph():
    # All of them are in it at the same time, each with its own point.
    barrier = Barrier(4, timeout=60)

    @tf.function
    def slope(x):
        return zrun.gradient(lambda x: zrun.numpy_function(np.sin, [x]) ** 2, x)

    slope(constant(0.0))

    def run(number):
        barrier.wait()
        points = np.linspace(number, number + 1, 20)
        return points, [float(slope(constant(point))) for point in points]

    with ThreadPoolExecutor(4) as pool:
        for points, found in pool.map(run, range(4)):
            np.testing.assert_allclose(found, np.sin(2 * points), rtol=1e-8, atol=1e-9)


# -- inside other things of TensorFlow ---------------------------------------------------------------------------------


def test_maps_loops_branches_and_data_sets():
    block = lambda x: zrun.numpy_function(np.sin, [x])  # noqa: E731
    x = np.array([0.5, 1.0, 2.0])

    @tf.function
    def compute(x):
        mapped = tf.map_fn(block, x)
        vectorized = tf.vectorized_map(block, x)
        total = constant(0.0)
        for value in x:
            if value > 0.7:
                total += block(value)
        return mapped, vectorized, total

    mapped, vectorized, total = compute(constant(x))
    np.testing.assert_allclose([mapped, vectorized], [np.sin(x)] * 2)
    np.testing.assert_allclose(total, np.sin(x[1:]).sum())
    data = tf.data.Dataset.from_tensor_slices(x).map(block, num_parallel_calls=2)
    np.testing.assert_allclose(list(data), np.sin(x))

    @tf.function(autograph=False)
    def slopes(x, apply):
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(apply(block, x))
        return tape.gradient(total, x)

    np.testing.assert_allclose(slopes(constant(x), tf.map_fn), np.cos(x), rtol=1e-9)
    # TensorFlow drops gradients that are not those of its own operations there; that is never silent.
    with pytest.raises(LookupError, match=r"drops its derivative, such as tf\.vectorized_map"):
        slopes(constant(x), tf.vectorized_map)
    within = lambda x: zrun.gradient(lambda x: block(x) ** 2, x)  # noqa: E731
    np.testing.assert_allclose(tf.vectorized_map(within, constant(x)), np.sin(2 * x), rtol=1e-9)


def test_a_function_without_state_is_not_run_for_nothing():
    calls = []

    def function(x):
        calls.append(1)
        return x

    def compute(x, stateful):
        zrun.numpy_function(function, [x], stateful=stateful)
        return x

    for stateful, expected in ((True, 1), (False, 0)):
        calls.clear()
        tf.function(compute)(constant(1.0), stateful)
        assert len(calls) == expected


# -- memory ------------------------------------------------------------------------------------------------------------


def count_objects():
    gc.collect()
    return len(gc.get_objects())


def trace_and_drop():
    def body(x):
        return np.sin(x)

    @tf.function(autograph=False)
    def slope(x):
        return zrun.hessian(lambda x: zrun.numpy_function(body, [x]) ** 2, x)

    slope(constant(1.0))
    return ref(body)


def test_a_dropped_graph_leaves_nothing_behind():
    gone = [trace_and_drop() for _ in range(3)]
    before, functions, blocks = count_objects(), len(_graph._functions), set(_graph._blocks)
    gone += [trace_and_drop() for _ in range(20)]
    after = count_objects()
    assert [one() for one in gone] == [None] * 23
    assert set(_graph._blocks) <= blocks
    assert len(_graph._functions) == functions
    # TensorFlow itself keeps an object or two for each function that it has traced; a graph is thousands.
    assert after - before < 20 * 5


def test_calls_do_not_grow():
    slope = tf.function(lambda x: zrun.gradient(lambda x: zrun.numpy_function(np.sin, [x]) ** 2, x))
    eager = lambda x: zrun.gradient(lambda x: zrun.numpy_function(np.sin, [x]) ** 2, x)  # noqa: E731
    for _ in range(10):
        slope(constant(1.0)), eager(constant(1.0))
    before = count_objects()
    for _ in range(200):
        slope(constant(1.0)), eager(constant(1.0))
    assert count_objects() - before < 100


def test_a_graph_keeps_the_function_alive_also_inside_another_one():
    def made():
        @tf.function
        def inner(x):
            return zrun.numpy_function(lambda x: x + 1.0, [x])

        inner(constant(1.0))
        return tf.function(lambda x: inner(x) * 2.0)

    outer = made()
    outer(constant(1.0))
    gc.collect()
    assert float(outer(constant(2.0))) == 6.0
    concrete = made().get_concrete_function(constant(1.0))
    gc.collect()
    assert float(concrete(constant(2.0))) == 6.0
