"""A float argument in a graph computes as it does in eager code."""

from __future__ import annotations

import operator

import numpy as np
import pytest
import tensorflow as tf

import zrun_tf as zrun

BINARY = [operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod, operator.pow]
COMPARE = [operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne]


# Complex numbers have no order, so they have no quotient and remainder either.
DEFINED = [
    (dtype, operation)
    for dtype in (tf.float32, tf.float64, tf.complex128)
    for operation in BINARY
    if not (dtype.is_complex and operation in (operator.floordiv, operator.mod))
]


@pytest.mark.parametrize(("dtype", "operation"), DEFINED)
@pytest.mark.parametrize("swap", [False, True])
def test_with_a_tensor_it_takes_the_dtype_of_the_tensor(dtype, operation, swap):
    def body(x, a):
        return operation(a, x) if swap else operation(x, a)

    x = tf.cast(tf.constant([1.5, 2.25]), dtype)
    expected = body(x, 0.3)
    got = zrun.function(body)(x, 0.3)
    assert got.dtype == expected.dtype
    np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=1e-6 if dtype == tf.float32 else 1e-14)


@pytest.mark.parametrize("operation", BINARY)
def test_among_themselves_floats_keep_double_precision(operation):
    got = zrun.function(lambda a, b: operation(a, b) + operation(2, a) + operation(b, 3))(0.7, 1.9)
    expected = operation(0.7, 1.9) + operation(2, 0.7) + operation(1.9, 3)
    assert got.numpy() == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("operation", COMPARE)
@pytest.mark.parametrize(("a", "b"), [(1.0, 2.0), (2.0, 2.0), (3.0, 2.0)])
def test_comparisons(operation, a, b):
    assert bool(zrun.function(lambda a, b: operation(a, b))(a, b)) is operation(a, b)
    assert bool(zrun.function(lambda a, b: operation(a, tf.convert_to_tensor(b, tf.float64)))(a, b)) is operation(a, b)


def test_unary_operations_and_complex_parts():
    result = zrun.function(lambda a, c: (-a, +a, abs(a), a.real, c.conjugate(), c.imag, a * c))(-1.5, 1 + 2j)
    assert [complex(r.numpy()) for r in result] == [1.5, -1.5, 1.5, -1.5, 1 - 2j, 2, -1.5 - 3j]


def test_with_arrays_it_behaves_as_a_float_does():
    array = np.array([1.0, 2.0], np.float32)
    result = zrun.function(lambda a: (array * a, a + array, a * np.float32(2.0)))(1.5)
    assert [r.dtype for r in result] == [tf.float32] * 3
    assert result[0].numpy().tolist() == [1.5, 3.0]


def test_operations_see_it_as_they_see_a_float():
    def body(a, x):
        return tf.sin(a), tf.add(x, a), tf.stack([x[0], a]), tf.convert_to_tensor(a, tf.float64)

    x = tf.constant([1.0, 2.0], tf.float64)
    eager, graph = body(0.1, x), zrun.function(body)(0.1, x)
    assert [r.dtype for r in graph] == [r.dtype for r in eager]
    for got, want in zip(graph, eager, strict=True):
        np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-7)


def test_it_counts_as_a_float_and_meets_integers_as_one():
    x = tf.constant(3.0, tf.float64)
    assert zrun.function(lambda a, x: x * a if isinstance(a, (int, float)) else -x)(2.0, x).numpy() == 6.0
    assert zrun.function(lambda a: isinstance(a, complex))(1j) is True
    result = zrun.function(lambda a: a * np.arange(3) + tf.zeros(3, tf.float64))(0.5)
    assert result.numpy().tolist() == [0.0, 0.5, 1.0]


def test_each_conversion_is_a_tensor_of_its_own():
    def slopes(a):
        twice = [tf.convert_to_tensor(a, tf.float64), tf.convert_to_tensor(a, tf.float64)]
        return zrun.gradient(lambda q, r: q**2 * r, twice)

    assert [slope.numpy() for slope in zrun.function(slopes)(2.0)] == [8.0, 4.0]


def test_a_derivative_with_respect_to_a_float():
    assert zrun.function(lambda a: zrun.gradient(lambda q: q**2, a))(2.0).numpy() == 4.0


def test_what_needs_its_value_says_what_to_do():
    import math

    for body in ("{:.3f}".format, float, int, bool, complex, round, math.sqrt, np.asarray):
        with pytest.raises(TypeError, match="static="):
            zrun.function(lambda a, body=body: body(a))(1.5)
    with pytest.raises(TypeError):
        zrun.function(lambda a: np.sqrt(a))(1.5)
    with pytest.raises(TypeError):
        zrun.function(lambda a: tf.constant([1, 2]) * a)(1.5)
