"""Derivatives that the user gives, and those that TensorFlow takes inside of a Python function."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import zrun_tf as zrun

pytestmark = pytest.mark.any_policy

F64 = tf.float64
WAYS = {"eager": lambda function: function, "zrun.function": zrun.function}
ways = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


def constant(value):
    return tf.constant(value, F64)


def density(x, mu, sigma):
    return np.exp(-0.5 * ((x - mu) / sigma) ** 2) / sigma


def by_row(x, mu, sigma):
    value, pull = density(x, mu, sigma), (x - mu) / sigma
    return [-pull / sigma * value, pull / sigma * value, (pull**2 - 1.0) / sigma * value]


def in_full(x, mu, sigma):
    by_x, by_mu, by_sigma = by_row(x, mu, sigma)
    return [np.diag(by_x), by_mu, by_sigma]


def in_part(x, mu, sigma):
    return [None, by_row(x, mu, sigma)[1], None]


X, POINT = constant(np.linspace(-1, 2, 6)), [0.4, 1.2]


def loss_of(block):
    def loss(x, mu, sigma):
        return tf.reduce_sum(tf.math.log(block(x, mu**2, sigma)) * tf.linspace(constant(0.5), constant(1.5), 6))

    return loss


def exact(x, mu, sigma):
    return tf.exp(-0.5 * ((x - mu) / sigma) ** 2) / sigma


@ways
@pytest.mark.parametrize("jacobian", [by_row, in_full, in_part])
def test_the_jacobian_of_the_user_is_used_for_first_and_second_derivatives(way, jacobian):
    calls = []

    def counted(*args):
        calls.append(1)
        return jacobian(*args)

    block = lambda *inputs: zrun.numpy_function(density, inputs, like=X, jacobian=counted)  # noqa: E731
    params = [X, *map(constant, POINT)]
    _, gradient, hessian = way(lambda: zrun.value_gradient_hessian(loss_of(block), params))()
    _, wanted, curvature = zrun.value_gradient_hessian(loss_of(exact), params)
    for one, other in zip(gradient, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(hessian, curvature, rtol=1e-6, atol=1e-7)
    calls.clear()
    way(lambda: zrun.gradient(lambda *params: loss_of(block)(X, *params), params[1:]))()
    assert len(calls) == 1


@ways
def test_several_results_and_a_mapping_of_inputs(way):
    def function(a, b):
        return {"sum": a + b.sum(), "scaled": a * b}

    def jacobian(a, b):
        return {
            "b": {"sum": np.ones(2), "scaled": a * np.eye(2)},
            "a": {"sum": 1.0, "scaled": b},
        }

    like = {"sum": constant(0.0), "scaled": constant([0.0, 0.0])}
    params = {"a": constant(2.0), "b": constant([3.0, 4.0])}

    def loss(a, b):
        found = zrun.numpy_function(function, {"a": a, "b": b}, like=like, jacobian=jacobian)
        return found["sum"] ** 2 + tf.reduce_sum(found["scaled"] ** 3)

    def reference(a, b):
        return (a + tf.reduce_sum(b)) ** 2 + tf.reduce_sum((a * b) ** 3)

    found = way(lambda: zrun.value_gradient_hessian(loss, params))()
    wanted = zrun.value_gradient_hessian(reference, params)
    for one, other in zip(tf.nest.flatten(found), tf.nest.flatten(wanted), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-7)


def test_the_jacobian_of_complex_results():
    function, jacobian = (lambda m: 1 / (m - 2.5 - 0.3j)), (lambda m: [-1 / (m - 2.5 - 0.3j) ** 2])
    like = tf.TensorSpec([], tf.complex128)
    found, wanted = (
        zrun.gradient(
            lambda m, given=given: tf.abs(zrun.numpy_function(function, [m], like, jacobian=given)), constant(2.0)
        )
        for given in (jacobian, None)
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-8)


WRONG = {
    r"jacobian must give real numbers of shape \(3,\) \(full\); got float64 of shape \(\)": lambda x, a: [None, 1.0],
    r"of shape \(3, 3\) \(full\) or \(3,\) \(by row\); got float64 of shape \(2,\)": lambda x, a: [np.ones(2), x],
    r"jacobian must give real numbers of shape \(3,\) \(full\); got complex128": lambda x, a: [x, 1j * x],
    "what jacobian returned must hold one entry, or None, for each of the 2 inputs": lambda x, a: x,
    r"jacobian gave NaN or infinity for inputs\[1\], where it is asked for": lambda x, a: [x, np.full(3, np.nan)],
}


@ways
@pytest.mark.parametrize("message", WRONG)
def test_a_jacobian_that_is_wrong_in_form_is_refused(way, message):
    x = constant([1.0, 2.0, 3.0])
    loss = lambda x, a: tf.reduce_sum(  # noqa: E731
        zrun.numpy_function(lambda x, a: x * a, [x, a], like=x, jacobian=WRONG[message])
    )
    with pytest.raises((zrun.GradientError, zrun.PythonFunctionError), match=message) as caught:
        way(lambda: zrun.gradient(loss, [x, constant(2.0)]))()
    assert "numpy_function of test_a_jacobian_that_is_wrong_in_form_is_refused" in str(caught.value)


def test_rows_says_which_form_a_jacobian_has():
    x = constant([1.0, 2.0, 3.0])
    loss = lambda x, rows: tf.reduce_sum(  # noqa: E731
        zrun.numpy_function(np.square, [x], jacobian=lambda x: [np.diag(2 * x)], rows=rows)
    )
    np.testing.assert_allclose(zrun.gradient(lambda x: loss(x, False), x), [2.0, 4.0, 6.0])
    with pytest.raises(zrun.GradientError, match=r"of shape \(3,\) \(by row\); got"):
        zrun.gradient(lambda x: loss(x, True), x)


def test_rows_that_do_not_fit_are_refused():
    loss = lambda x: tf.reduce_sum(zrun.numpy_function(np.sum, [x], like=0.0, rows=[0]))  # noqa: E731
    with pytest.raises(zrun.GradientError, match=r"rows says that it maps inputs\[0\] row by row, but that has shape"):
        zrun.gradient(loss, constant([1.0, 2.0]))


@ways
def test_tensorflow_differentiates_a_python_function_of_tensors(way):
    def halved(x, y):
        while float(x) > 1.0:
            x = x / 2
        return x**2 * tf.sin(y)

    calls = []

    def counted(x, y):
        calls.append(1)
        return halved(x, y)

    params = [constant(12.0), constant(0.7)]
    block = lambda *inputs: zrun.py_function(counted, inputs, like=0.0, autograd=True) ** 2  # noqa: E731
    found = way(lambda: zrun.value_gradient_hessian(block, params))()
    wanted = zrun.value_gradient_hessian(lambda *inputs: halved(*inputs) ** 2, params)
    for one, other in zip(tf.nest.flatten(found), tf.nest.flatten(wanted), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-15)
    calls.clear()
    way(lambda: zrun.gradient(block, params))()
    assert len(calls) == 1 + len(params)


@ways
def test_where_tensorflow_sees_nothing_an_error_says_so(way):
    loss = lambda x: zrun.py_function(lambda x: np.sin(x.numpy()), [x], like=0.0, autograd=True)  # noqa: E731
    with pytest.raises(zrun.GradientError, match="TensorFlow does not see how the result depends on any of the inputs"):
        way(lambda: zrun.gradient(loss, constant(1.0)))()
    found = zrun.gradient(lambda x: zrun.py_function(lambda x: np.sin(x.numpy()), [x], like=0.0), constant(1.0))
    np.testing.assert_allclose(found, np.cos(1.0), rtol=1e-9)
