"""Decorated functions as Python objects: pickled, copied, methods, inherited, recursive, shared by threads."""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
import pickle
import sys
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
import tensorflow as tf

import zrun_tf as zrun
from zrun_core.testing import count_traces

pytestmark = pytest.mark.usefixtures("path")

ONE = tf.constant(1.0)


@zrun.function(kind="loss")
def double(x):
    """Twice x."""
    return x * 2


@zrun.struct
class Scaled:
    factor: float

    @zrun.function
    def apply(self, x):
        return self.factor * x


class Holder:
    @staticmethod
    @zrun.function
    def static(x):
        return x * 2

    @classmethod
    @zrun.function
    def by_class(cls, x):
        return x * cls.factor

    factor = 3.0


@pytest.mark.parametrize("function", [double, Scaled.apply, Holder.static, Holder.by_class])
def test_a_pickled_function_is_the_function_itself(function):
    argument = (Scaled(3.0), ONE) if function is Scaled.apply else (ONE,)
    before = function(*argument)
    again = pickle.loads(pickle.dumps(function))
    assert again == function
    with count_traces() as traces:
        assert again(*argument).numpy() == before.numpy()
    assert traces.total == 0


def test_a_pickled_method_goes_with_its_object():
    apply = pickle.loads(pickle.dumps(Scaled(3.0).apply))
    assert [apply(ONE).numpy(), apply(ONE).numpy()] == [3.0, 3.0]


def test_a_local_function_cannot_be_pickled_like_any_local_function():
    local = zrun.function(lambda x: x)
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(local)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_a_copy_is_the_function_itself(duplicate):
    local = zrun.function(lambda x: x * 2)
    assert duplicate(local) is local
    assert duplicate([local])[0] is local
    assert duplicate(double)(ONE).numpy() == 2.0


def test_a_copied_object_shares_the_graph():
    first = Scaled(3.0)
    first.apply(ONE)
    with count_traces() as traces:
        for other in (copy.copy(first), copy.deepcopy(first), Scaled(5.0)):
            assert other.apply(ONE).numpy() == other.factor
    assert traces.total == 0


def test_it_can_be_wrapped_and_made_partial():
    @functools.wraps(double)
    def wrapped(x):
        return double(x) + 1

    assert (wrapped.__name__, wrapped(ONE).numpy()) == ("double", 3.0)
    assert inspect.signature(wrapped) == inspect.signature(double)
    assert inspect.signature(double.python_function) == inspect.signature(double)
    scaled = functools.partial(zrun.function(lambda factor, x: factor * x), 3.0)
    assert [scaled(ONE).numpy(), scaled(x=ONE).numpy()] == [3.0, 3.0]


def test_static_and_class_methods_also_of_subclasses_and_objects():
    class Other(Holder):
        factor = 5.0

    for _ in range(3):
        assert Holder.static(ONE).numpy() == Holder().static(ONE).numpy() == Other.static(ONE).numpy() == 2.0
        assert Holder.by_class(ONE).numpy() == Holder().by_class(ONE).numpy() == 3.0
        assert Other.by_class(ONE).numpy() == Other().by_class(ONE).numpy() == 5.0


def test_a_method_is_bound_to_its_object_as_a_plain_one_is():
    scaled = Scaled(3.0)
    assert scaled.apply.__self__ is scaled
    assert scaled.apply.__func__ is Scaled.apply
    assert list(inspect.signature(scaled.apply).parameters) == ["x"]
    assert Scaled.apply(scaled, ONE).numpy() == 3.0


def test_inheritance_super_and_abstract_methods():
    class Base(ABC):
        @zrun.function
        def value(self, x):
            return self.scale() * x

        @abstractmethod
        def scale(self): ...

    @zrun.struct
    class First(Base):
        a: float

        def scale(self):
            return self.a

    @zrun.struct
    class Second(First):
        b: float

        def scale(self):
            return super().scale() * 10.0

        @zrun.function
        def value(self, x):
            return super().value(x) + self.b

    with count_traces() as traces:
        for k in (1.0, 2.0, 3.0):
            assert First(k).value(ONE).numpy() == k
            assert Second(k, 0.5).value(ONE).numpy() == 10 * k + 0.5
    assert traces.total == 2


def test_a_property_and_a_cached_property_may_call_it():
    @zrun.struct
    class Model:
        a: float

        @property
        def twice(self):
            return self.value(ONE)

        @zrun.function
        def value(self, x):
            return self.a * x * 2

    assert [Model(a).twice.numpy() for a in (1.0, 2.0, 3.0)] == [2.0, 4.0, 6.0]


def test_direct_recursion():
    @zrun.function
    def factorial(n, x):
        return x if n == 0 else factorial(n - 1, x) * float(n)

    assert [factorial(5, ONE).numpy() for _ in range(3)] == [120.0] * 3
    assert factorial(3, ONE).numpy() == 6.0


def test_mutual_recursion():
    @zrun.function
    def even(n, x):
        return x if n == 0 else odd(n - 1, x) + 1.0

    @zrun.function
    def odd(n, x):
        return -x if n == 0 else even(n - 1, x) + 1.0

    for _ in range(3):
        assert [even(4, ONE).numpy(), odd(4, ONE).numpy(), odd(3, ONE).numpy()] == [5.0, 3.0, 4.0]


def test_recursion_without_an_end_is_a_recursion_error_and_leaves_nothing_behind():
    limit = sys.getrecursionlimit()
    deep = [True]

    @zrun.function
    def endless(x):
        return endless(x) if deep[0] else x

    with pytest.raises(RecursionError):
        endless(ONE)
    assert sys.getrecursionlimit() == limit
    deep[0] = False
    assert endless(ONE).numpy() == 1.0


def generator(x):
    yield x


async def coroutine(x):
    return x


async def asynchronous_generator(x):
    yield x


@pytest.mark.parametrize("body", [generator, coroutine, asynchronous_generator])
def test_what_has_no_result_to_return_is_refused(body):
    with pytest.raises(TypeError, match=f"cannot decorate {body.__name__}: a generator or coroutine function"):
        zrun.function(body)


def test_it_can_be_called_from_a_coroutine():
    async def main():
        return await asyncio.gather(*(asyncio.to_thread(double, tf.constant(float(i))) for i in range(4)))

    assert [y.numpy() for y in asyncio.run(main())] == [0.0, 2.0, 4.0, 6.0]


@pytest.mark.slow
def test_threads_that_call_one_function_ten_thousand_times():
    threads, calls = 4, 10_000
    eager = []

    @zrun.function
    def function(x, offset, data):
        eager.append(tf.executing_eagerly())
        return x * offset + data[0]

    data, barrier = [np.full(3, float(i)) for i in range(threads)], Barrier(threads)
    tensors = [tf.constant(float(i), tf.float64) for i in range(10)]

    def work(number):
        barrier.wait(60)
        wrong = 0
        for i in range(calls // 100):
            for j in range(100):
                last = function(tensors[i % 10], float(j), data[number])
            wrong += last.numpy() != i % 10 * 99.0 + number
        return wrong

    with count_traces() as traces, ThreadPoolExecutor(threads) as pool:
        assert list(pool.map(work, range(threads))) == [0] * threads
    # Tracing happened once, in one thread, and no call ran eagerly.
    assert traces.total == 1
    assert eager == [False]


def test_threads_with_tapes_of_their_own():
    function = zrun.function(lambda x: x**3)
    function(ONE), function(ONE)
    barrier = Barrier(4)

    def work(number):
        barrier.wait(60)
        x, found = tf.constant(float(number)), []
        for k in range(50):
            if (k + number) % 2:
                found.append(function(x).numpy() == number**3)
                continue
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = function(x)
            found.append(tape.gradient(y, x).numpy() == 3 * number**2)
        return all(found)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [True] * 4


def test_threads_with_policies_of_their_own():
    eager = []

    @zrun.function(kind="loss")
    def function(x):
        eager.append(tf.executing_eagerly())
        return x * 2

    function(ONE), function(ONE)
    barrier = Barrier(2)

    def work(graph):
        barrier.wait(60)
        with zrun.run.using(graph=graph):
            return [function(ONE).numpy() for _ in range(100)]

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(work, [True, False])) == [[2.0] * 100] * 2
    assert eager == [False] + [True] * 100
