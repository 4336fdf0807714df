"""Threads that take numerical derivatives by the same variables."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event, Thread

import numpy as np
import pytest
import tensorflow as tf

import zrun_tf as zrun
from zrun_tf.gradients._turns import _taken, only_here


def variable(value):
    return tf.Variable(value, dtype=tf.float64)


@pytest.mark.parametrize("derivative", [zrun.gradient, zrun.hessian])
def test_threads_that_share_a_variable_are_right_and_leave_it_as_it_was(derivative):
    # This used to give wrong derivatives, and to leave a point of some stencil in the variable for good.
    shared = variable([1.0, 2.0])
    start = Barrier(8)

    def compute(_):
        start.wait(60)
        return derivative(lambda: tf.reduce_sum(tf.exp(shared)), shared, autograd=False).numpy()

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(compute, range(8)))
    expected = np.exp([1.0, 2.0])
    for one in found:
        np.testing.assert_allclose(one, expected if one.ndim == 1 else np.diag(expected), rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(shared, [1.0, 2.0])
    assert not _taken


def test_threads_with_variables_of_their_own_do_not_wait():
    one, other = variable(1.0), variable(2.0)
    inside = Event()

    def waiting():
        assert inside.wait(60)
        return one**2

    def free():
        inside.set()
        return other**2

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(zrun.gradient, waiting, one, autograd=False)
        second = pool.submit(zrun.gradient, free, other, autograd=False)
        assert [float(each.result(60)) for each in (first, second)] == pytest.approx([2.0, 4.0])


def test_calls_of_one_thread_may_be_nested():
    x = variable(3.0)

    def slope():
        return zrun.gradient(lambda: x**3, x, autograd=False)

    assert float(zrun.gradient(slope, x, autograd=False)) == pytest.approx(18.0, rel=1e-5)
    assert float(x) == 3.0
    assert not _taken


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_turn_ends_with_an_exception(error):
    x = variable(3.0)

    def failing():
        raise error("mine")

    with pytest.raises(error, match="mine"):
        zrun.gradient(failing, x, autograd=False)
    assert not _taken


def test_a_turn_is_waited_for():
    x = variable(3.0)
    entered = Event()

    def enter():
        with only_here([x]):
            entered.set()

    thread = Thread(target=enter)
    with only_here([x]):
        thread.start()
        assert not entered.wait(0.1)
    thread.join(60)
    assert entered.is_set()
