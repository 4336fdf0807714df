"""Objectives whose loss is computed chunk by chunk: the same numbers, one trace, the data as they are."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from scipy.optimize import minimize

import zrun_tf as zrun
from zrun_core import listen
from zrun_core.errors import ChunkError
from zrun_core.testing import count_traces

RUN = zrun.run
X = np.random.default_rng(11).normal(1.0, 2.0, size=5003)
AT = np.array([0.7, 1.8])
POLICIES = [
    {"graph": graph, "autograd": autograd, "jit": jit}
    for graph, jit in ((False, False), (True, False), (True, True))
    for autograd in (True, False)
]


def nll(mu, sigma, data):
    return tf.reduce_sum(((data - mu) / sigma) ** 2 / 2 + tf.math.log(sigma))


def exact(data):
    return float(np.sum(((data - AT[0]) / AT[1]) ** 2 / 2 + np.log(AT[1])))


def with_variables(**options):
    mu, sigma = (tf.Variable(v, dtype=tf.float64, name=n) for v, n in ((0.5, "mu"), (2.0, "sigma")))
    return zrun.objective(lambda data: nll(mu, sigma, data), [mu, sigma], **options)


FORMS = {
    "names": lambda **options: zrun.objective(nll, {"mu": 0.5, "sigma": 2.0}, **options),
    "vector": lambda **options: zrun.objective(lambda x, data: nll(x[0], x[1], data), [0.5, 2.0], **options),
    "variables": with_variables,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("policy", POLICIES)
def test_the_same_numbers_as_in_one_piece(form, policy):
    chunked, whole = FORMS[form](data=X, chunksize=1000), FORMS[form](data=X)
    tolerance = 1e-12 if policy["autograd"] else 1e-6
    with RUN.using(**policy):
        assert chunked.value(AT) == pytest.approx(whole.value(AT), rel=1e-13)
        assert type(chunked.value(AT)) is float
        np.testing.assert_allclose(chunked.gradient(AT), whole.gradient(AT), rtol=tolerance)
        np.testing.assert_allclose(chunked.hessian(AT), whole.hessian(AT), rtol=tolerance * 10, atol=tolerance * 1e3)


def test_one_trace_for_each_of_value_and_gradient_whatever_the_rows():
    def loss(mu, sigma, data):
        return nll(mu, sigma, data)

    obj = zrun.objective(loss, {"mu": 0.5, "sigma": 2.0}, data=X, chunksize=1000)
    with count_traces() as traces:
        for rows in (5003, 5000, 10, 1, 4999):
            other = obj.with_data(data=X[:rows])
            assert other.value(AT) == pytest.approx(exact(X[:rows]), rel=1e-12)
            other.gradient(AT)
    assert int(traces) == 2


@pytest.mark.parametrize("chunksize", ["auto", 64])
def test_a_fit_of_a_mapped_file(tmp_path, chunksize):
    np.save(tmp_path / "x.npy", X)
    data = np.load(tmp_path / "x.npy", mmap_mode="r")
    obj = zrun.objective(nll, {"mu": 0.5, "sigma": 2.0}, data=data, chunksize=chunksize)
    fit = minimize(obj.value_and_gradient, obj.x0, jac=True)
    np.testing.assert_allclose(fit.x, [X.mean(), X.std()], rtol=1e-5)


def test_batches_weights_and_what_is_no_array():
    weights = np.random.default_rng(1).uniform(size=len(X))

    def loss(mu, data, weights, power):
        return tf.reduce_sum(weights * tf.abs(data - mu) ** power)

    obj = zrun.objective(loss, {"mu": 0.5}, data=X, weights=weights, power=2.0, chunksize=500)
    assert obj.value([0.5]) == pytest.approx(np.sum(weights * (X - 0.5) ** 2), rel=1e-12)
    assert obj.with_data(power=4.0).value([0.5]) == pytest.approx(np.sum(weights * (X - 0.5) ** 4), rel=1e-12)

    batches = zrun.objective(
        lambda mu, data: tf.reduce_sum((data - mu) ** 2),
        {"mu": 0.5},
        data=lambda: iter(np.array_split(X, 7)),
        chunksize=99,
    )
    assert batches.value([0.5]) == pytest.approx(np.sum((X - 0.5) ** 2), rel=1e-12)
    assert batches.gradient([0.5]) == pytest.approx([-2 * np.sum(X - 0.5)], rel=1e-12)


def test_value_and_gradient_are_one_pass_and_kept():
    passes = []

    def batches():
        passes.append(1)
        return iter(np.array_split(X, 7))

    obj = zrun.objective(nll, {"mu": 0.5, "sigma": 2.0}, data=batches, chunksize=500)
    obj.value_and_gradient(AT)
    obj.value(AT)
    assert len(passes) == 1
    assert obj.evaluations["gradient"] == 1


def test_changes_of_an_array_after_it_was_given_are_not_seen():
    data = X.copy()
    obj = zrun.objective(nll, {"mu": 0.5, "sigma": 2.0}, data=data, chunksize=500)
    before = obj.value(AT)
    data[:] = 0.0
    obj.forget()
    assert obj.value(AT) == before


def test_variables_hold_what_they_held_before():
    mu = tf.Variable(0.5, dtype=tf.float64)
    seen = []

    def loss(data):
        seen.append(1)
        if len(seen) == 3 and tf.executing_eagerly():
            raise ValueError("mine")
        return tf.reduce_sum((data - mu) ** 2)

    obj = zrun.objective(loss, [mu], data=X, chunksize=500)
    with RUN.using(graph=False), pytest.raises(ValueError, match="mine"):
        obj.value([1.0])
    assert float(mu) == 0.5
    assert obj.value([1.0]) == pytest.approx(np.sum((X - 1.0) ** 2))
    assert float(mu) == 0.5


@pytest.mark.parametrize("graph", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parameters_of_single_precision(dtype, graph):
    """What is rounded to it is still a sum."""
    mu, data = tf.Variable(1.0), X.astype(dtype)

    def loss(data):
        return tf.reduce_sum((data - tf.cast(mu, data.dtype)) ** 2)

    obj, whole = zrun.objective(loss, [mu], data=data, chunksize=500), zrun.objective(loss, [mu], data=data)
    with RUN.using(graph=graph):
        for at in (0.1, 0.2, 0.3):
            assert obj.value([at]) == pytest.approx(whole.value([at]), rel=1e-5)
            assert obj.gradient([at])[0] == pytest.approx(whole.gradient([at])[0], rel=1e-5)


def test_text_is_an_option_unless_it_names_a_parquet_file():
    def loss(m, x, how):
        return tf.reduce_sum((x - m) ** 2 if how == "squared" else tf.abs(x - m))

    obj = zrun.objective(loss, {"m": 0.5}, x=X, how="squared", chunksize=500)
    assert obj.value([0.4]) == pytest.approx(np.sum((X - 0.4) ** 2), rel=1e-12)
    assert obj.with_data(how="absolute").value([0.4]) == pytest.approx(np.sum(np.abs(X - 0.4)), rel=1e-12)


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: zrun.objective(nll, {"mu": 0.5, "sigma": 1.0}, data=1.0, chunksize=10), ChunkError, "data with rows"),
        (lambda: zrun.objective(nll, {"mu": 0.5, "sigma": 1.0}, data=X, chunksize=0), ChunkError, "chunksize"),
        (
            lambda: zrun.objective(lambda mu, a, b: mu * tf.reduce_sum(a), {"mu": 1.0}, a=X, b=X[1:], chunksize=10),
            ChunkError,
            "same number of rows",
        ),
        (
            lambda: zrun.objective(lambda x, data, f: x[0] * f(data), [1.0], data=X, f=tf.reduce_sum, chunksize=10),
            ChunkError,
            "have the loss refer to others",
        ),
        (lambda: zrun.objective(lambda x, data: data - x[0], [1.0], data=X, chunksize=10), ChunkError, "single number"),
        (
            lambda: zrun.objective(lambda x, data: tf.reduce_mean(data - x[0]), [1.0], data=X, chunksize=10),
            ChunkError,
            "sum over its rows",
        ),
    ],
)
@pytest.mark.parametrize("graph", [True, False])
def test_errors(make, error, says, graph):
    def value():
        obj = make()
        obj.value(obj.x0)

    with RUN.using(graph=graph), pytest.raises(error, match=says):
        value()


def test_residuals_are_refused_by_name():
    obj = zrun.objective(lambda x, data: data - x[0], [1.0], data=X, chunksize=10)
    with pytest.raises(ChunkError, match="Leave chunksize out"):
        obj.jacobian([1.0])


# -- the chunk size of the policy --------------------------------------------------------------------------------------


def test_where_no_chunk_size_is_given_that_of_the_policy_is_followed_at_each_call():
    rng = np.random.default_rng(4)
    x, heard = rng.normal(1.0, 2.0, 1000), []
    loss = zrun.objective(lambda m, x, s: tf.reduce_sum(((x - m) / s) ** 2), {"m": 0.5}, x=x, s=2.0)
    whole = zrun.objective(lambda m, x, s: tf.reduce_sum(((x - m) / s) ** 2), {"m": 0.5}, chunksize=None, x=x, s=2.0)
    with listen(heard.append, "chunks"):
        first = loss.value_and_gradient([0.4])
        assert heard == []
        with zrun.run.using(chunksize=100):
            second = loss.value_and_gradient([0.4])
            assert [event.count for event in heard] == [10]
            third = loss.with_data(x=x[:350]).value([0.4])
            assert [event.count for event in heard] == [10, 4]
            whole.value([0.4])
            assert loss.hessian([0.3]).shape == (1, 1)
            assert len(heard) == 3
        loss.value([0.1])
    assert len(heard) == 3
    assert second[0] == pytest.approx(first[0], rel=1e-13)
    np.testing.assert_allclose(second[1], first[1], rtol=1e-12)
    assert third == pytest.approx(np.sum(((x[:350] - 0.4) / 2) ** 2), rel=1e-13)


@pytest.mark.parametrize(
    "given",
    [{"how": "squared"}, {"how": lambda t: t**2}, {"how": tf.data.Dataset.range(3)}],
    ids=["text", "function", "dataset"],
)
def test_what_a_loss_is_given_besides_arrays_it_is_given_in_chunks_too(given):
    """The policy cuts arrays; text, functions and datasets stay what they are in one piece."""
    seen = []

    def loss(m, x, how):
        seen.append(type(how))
        return tf.reduce_sum(how(x - m) if callable(how) else (x - m) ** 2)

    objective = zrun.objective(loss, {"m": 0.5}, x=X, **given)
    whole = objective.value([0.4])
    objective.forget()
    with zrun.run.using(chunksize=100):
        assert objective.value([0.4]) == pytest.approx(whole, rel=1e-12)
        assert objective.gradient([0.4])[0] == pytest.approx(-2 * np.sum(X - 0.4), rel=1e-10)
    assert len(set(seen)) == 1


def test_a_loss_without_rows_is_whole_under_any_policy():
    loss = zrun.objective(lambda a, b: a**2 * b, {"a": 1.0}, b=3.0)
    with zrun.run.using(chunksize=10):
        assert loss.value([2.0]) == 12.0


def test_a_loss_that_is_no_sum_is_told_where_its_chunk_size_comes_from():
    loss = zrun.objective(lambda a, x: tf.reduce_mean(a * x), {"a": 1.0}, x=np.arange(100.0))
    with zrun.run.using(chunksize=10), pytest.raises(ChunkError, match=r"that of the policy; objective\(\.\.\., chunk"):
        loss.value([2.0])
    assert loss.value([2.0]) == pytest.approx(99.0)


@pytest.mark.parametrize("chunksize", [100, "policy"])
def test_another_variable_that_the_loss_reads_is_seen_to_change(chunksize):
    scale, x = tf.Variable(2.0, dtype=tf.float64), np.arange(1000.0)
    given = {} if chunksize == "policy" else {"chunksize": chunksize}
    loss = zrun.objective(lambda a, x: tf.reduce_sum(a * x) * scale, {"a": 1.0}, x=x, **given)
    with zrun.run.using(chunksize=100):
        first = loss.value([1.0])
        scale.assign(3.0)
        assert loss.value([1.0]) == pytest.approx(1.5 * first)
