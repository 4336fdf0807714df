"""Automatic against numerical derivatives."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import zrun_tf as zrun

pytestmark = pytest.mark.any_policy

F64 = tf.float64


def constant(value):
    return tf.constant(value, F64)


@tf.custom_gradient
def wrong(x):
    """Squares, with a derivative that is off by a hundred-thousandth."""
    return x**2, lambda upstream: upstream * 2.00002 * x


GOOD = {
    "vector": (lambda x: tf.reduce_sum(tf.sin(x) * x), constant([0.5, 1.0, 2.0])),
    "list": (lambda x, y: x * tf.exp(y), [constant(1.0), constant(-0.5)]),
    "mapping": (lambda a, b: tf.reduce_sum(a) ** 3 / b, {"a": constant([1.0, 2.0]), "b": 3.0}),
    "unused": (lambda a, b: a**2 + 0.0 * b, [1.0, 2.0]),
    "not connected": (lambda a, b: a**2, [1.0, 2.0]),
    "float32": (lambda x: tf.reduce_sum(x**3), tf.constant([0.5, 1.5])),
    "numpy inside": (lambda x: zrun.numpy_function(np.sin, [x]) ** 2, constant(0.7)),
}


@pytest.mark.parametrize("name", GOOD)
def test_derivatives_that_are_right_agree(name):
    check = zrun.check_gradient(*GOOD[name], hessian=name != "float32")
    assert check.ok
    assert check
    assert check.wrong == ()
    check.raise_if_wrong()
    assert "all agree" in str(check)


def test_a_wrong_derivative_is_named_with_both_values():
    check = zrun.check_gradient(lambda mu, tau: wrong(mu) * tau, {"mu": constant(3.0), "tau": constant(2.0)})
    assert not check
    (row,) = check.wrong
    assert row.name == "params['mu']"
    np.testing.assert_allclose([row.automatic, row.numerical], [12.00012, 12.0], rtol=1e-9)
    assert row.error < row.tolerance < 1e-6 < row.difference
    assert [row.ok for row in check.rows] == [False, True]


def test_variables_have_their_names_and_are_restored():
    mu, sigma = tf.Variable(1.5, dtype=F64, name="mu"), tf.Variable([1.0, 2.0], dtype=F64, name="sigma")
    check = zrun.check_gradient(lambda: wrong(mu) + tf.reduce_sum(wrong(sigma)), [mu, sigma])
    assert [row.name for row in check.wrong] == ["params[0] ('mu')", "params[1] ('sigma')[0]", "params[1] ('sigma')[1]"]
    assert float(mu) == 1.5
    np.testing.assert_array_equal(sigma, [1.0, 2.0])


def test_second_derivatives_too():
    @tf.custom_gradient
    def half_wrong(x):
        # The first derivative is right, the second one is missing.
        return tf.sin(x), lambda upstream: upstream * tf.stop_gradient(tf.cos(x))

    assert zrun.check_gradient(half_wrong, constant(0.7))
    check = zrun.check_gradient(lambda x, y: half_wrong(x) * y, [constant(0.7), constant(1.5)], hessian=True)
    assert [row.name for row in check.wrong] == ["params[0], params[0]"]
    assert len(check.rows) == 2
    assert len(check.hessian) == 3


def test_silent_zeros_of_tensorflow_are_found():
    for hidden in (
        lambda x: tf.py_function(lambda x: np.sin(x), [x], F64),
        lambda x: tf.numpy_function(np.sin, [x], F64),
        lambda x: tf.constant(float(x)) ** 2,
    ):
        check = zrun.check_gradient(lambda x, hidden=hidden: tf.cast(hidden(x), F64), constant(0.7))
        assert [row.automatic for row in check.wrong] == [0.0]


def test_results_of_any_shape():
    check = zrun.check_gradient(lambda x: tf.stack([tf.sin(x), wrong(x)]), constant([1.0, 2.0]))
    assert len(check.rows) == 8
    assert [(row.result, row.name) for row in check.wrong] == [
        ("result[1, 0]", "params[0]"),
        ("result[1, 1]", "params[1]"),
    ]


def test_tolerances():
    assert not zrun.check_gradient(wrong, constant(3.0))
    assert zrun.check_gradient(wrong, constant(3.0), rtol=2e-5)
    assert zrun.check_gradient(wrong, constant(3.0), atol=1e-4)


def test_as_an_assertion():
    zrun.assert_gradient(tf.sin, constant(1.0), hessian=True)
    with pytest.raises(AssertionError, match="1 of 1 derivatives wrong") as caught:
        zrun.assert_gradient(wrong, constant(3.0))
    assert isinstance(caught.value, zrun.GradientMismatchError)
    assert "6.00006" in str(caught.value)
    assert "WRONG" in str(caught.value)


def test_an_objective():
    def loss(mu, sigma, data):
        return tf.reduce_sum(wrong((data - mu) / sigma) / 2 + tf.math.log(sigma))

    objective = zrun.objective(loss, {"mu": 0.5, "sigma": 2.0}, data=[1.0, 2.0, 4.0])
    check = zrun.check_gradient(objective, hessian=True)
    assert [row.name for row in check.rows] == ["mu", "sigma"]
    assert {row.name for row in check.wrong} == {"mu", "sigma", "mu, mu", "mu, sigma", "sigma, sigma"}
    with zrun.run.using(autograd=False):
        # What is compared does not depend on the policy.
        assert zrun.check_gradient(objective, [0.7, 1.5]).wrong
    residuals = zrun.objective(lambda x: tf.stack([x[0] ** 2, x[0] * x[1]]), [1.0, 2.0])
    assert len(zrun.check_gradient(residuals).rows) == 4


def test_it_prints_as_a_table_and_shows_as_one():
    check = zrun.check_gradient(lambda x: wrong(x), {"x": constant(3.0)})
    lines = str(check).splitlines()
    assert lines[1].split() == ["parameter", "automatic", "numerical", "error", "difference", "tolerance"]
    assert lines[2].startswith("params['x']")
    assert lines[2].endswith("WRONG")
    assert (
        repr(check)
        == "<gradient check of test_it_prints_as_a_table_and_shows_as_one.<locals>.<lambda>: 1 of 1 derivatives wrong>"
    )
    assert check._repr_html_().count("<tr") == 2


def test_a_long_table_shows_the_worst():
    check = zrun.check_gradient(
        lambda x: tf.reduce_sum(tf.sin(x)) + wrong(x[7]), tf.linspace(constant(0.1), constant(1.0), 60)
    )
    assert "params[7]" in str(check)
    assert "... and 20 that agree better" in str(check)


REFUSED = {
    "rtol must be a number of at least 0; got -1": ((tf.sin, 1.0), {"rtol": -1}),
    "atol must be a number of at least 0; got None": ((tf.sin, 1.0), {"atol": None}),
    "check_gradient takes the parameters as its second argument": ((tf.sin,), {}),
    "check_gradient takes a function as its first argument; got 3": ((3, 1.0), {}),
    "returned nan at the parameters themselves": ((tf.math.log, -1.0), {}),
}


@pytest.mark.parametrize("message", REFUSED)
def test_arguments_are_checked(message):
    args, kwargs = REFUSED[message]
    with pytest.raises(zrun.GradientError, match=message):
        zrun.check_gradient(*args, **kwargs)


@pytest.mark.needs_graph
def test_not_while_a_graph_is_built():
    with pytest.raises(zrun.errors.IllegalInGraphError, match="Call it outside"):
        zrun.function(lambda x: zrun.check_gradient(tf.sin, x) and x)(constant(1.0))
