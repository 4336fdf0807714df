"""Chunked sums: the same as in one piece, to rounding, whatever the data, the chunk size and the policy."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import zrun_tf as zrun
from zrun_core.errors import ChunkError
from zrun_core.testing import count_traces

RUN = zrun.run
RNG = np.random.default_rng(7)
X = RNG.normal(1.0, 2.0, size=1003)
POLICIES = [{"graph": False}, {"graph": True}, {"graph": True, "jit": True}]
SIZES = [1, 7, 100, 1003, 5000, "auto", None]


def squares(x, mu):
    return (x - mu) ** 2


def exact(values):
    return float(sum(map(Fraction, np.asarray(values).tolist())))


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("chunksize", SIZES)
def test_the_sum_is_that_of_all_rows(policy, chunksize):
    chunksize = 100 if (chunksize in (1, 7) and policy["graph"] is False) else chunksize
    with RUN.using(**policy):
        total = zrun.chunked_sum(squares, X, 0.5, chunksize=chunksize)
    assert total.dtype == tf.float64
    assert float(total) == pytest.approx(math.fsum((X - 0.5) ** 2), rel=1e-14)


@pytest.mark.parametrize("policy", POLICIES)
def test_derivatives_are_those_of_all_rows(policy):
    mu = tf.Variable(0.5, dtype=tf.float64)
    sigma = tf.constant(1.5, tf.float64)

    def nll(x, sigma):
        return 0.5 * ((x - mu) / sigma) ** 2 + tf.math.log(sigma)

    with RUN.using(**policy), tf.GradientTape() as outer:
        outer.watch(sigma)
        with tf.GradientTape() as tape:
            tape.watch(sigma)
            total = zrun.chunked_sum(nll, X, sigma, chunksize=100)
        first = tape.gradient(total, [mu, sigma])
        mixed = first[0] + first[1]
    second = outer.gradient(mixed, [mu, sigma])
    r, s = (X - 0.5), 1.5
    want = [-r.sum() / s**2, len(X) / s - (r**2).sum() / s**3]
    np.testing.assert_allclose([float(part) for part in first], want, rtol=1e-12)
    d_mu = len(X) / s**2 + 2 * r.sum() / s**3
    d_sigma = 2 * r.sum() / s**3 - len(X) / s**2 + 3 * (r**2).sum() / s**4
    np.testing.assert_allclose([float(part) for part in second], [d_mu, d_sigma], rtol=1e-12)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("autograd", [True, False])
def test_under_both_gradient_policies(policy, autograd):
    tolerance = 1e-12 if autograd else 1e-7
    mu = tf.Variable(0.5, dtype=tf.float64)

    def around(x):
        return squares(x, mu)

    with RUN.using(**policy, autograd=autograd):
        value, gradient = zrun.value_and_gradient(lambda: zrun.chunked_sum(around, X), [mu])
        hessian = zrun.hessian(lambda m: zrun.chunked_sum(squares, X, m, chunksize=500), tf.constant(0.5, tf.float64))
    assert float(value) == pytest.approx(np.sum((X - 0.5) ** 2), rel=1e-13)
    assert float(gradient[0]) == pytest.approx(np.sum(1.0 - 2 * X), rel=tolerance)
    assert float(np.squeeze(hessian)) == pytest.approx(2 * len(X), rel=tolerance * 100)
    assert float(mu) == 0.5


@pytest.mark.parametrize("autograd", [True, False])
@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("decorate", [zrun.function, lambda f: tf.function(f, autograph=False)])
def test_inside_a_graph(autograd, jit, decorate):
    @decorate
    def loss(mu, x):
        return zrun.value_and_gradient(lambda m: zrun.chunked_sum(squares, x, m, chunksize=100), mu)

    with RUN.using(autograd=autograd, jit=jit):
        value, gradient = loss(tf.constant(0.5, tf.float64), tf.constant(X))
    assert float(value) == pytest.approx(np.sum((X - 0.5) ** 2), rel=1e-13)
    assert float(gradient) == pytest.approx(np.sum(1.0 - 2 * X), rel=1e-12 if autograd else 1e-7)


@pytest.mark.parametrize("chunksize", [100, 5000, None])
def test_inside_a_graph_for_any_number_of_rows(chunksize):
    # This used to fail for chunksize=None: the shape of a block was that of more rows than there can be.
    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.float64)])
    def both(x):
        def doubled(x):
            return tf.reshape(2 * x, tf.shape(x))

        return [compute(doubled, x, chunksize=chunksize) for compute in (zrun.chunked_sum, zrun.chunked_map)]

    for n in (0, 1003):
        total, values = both(X[:n])
        assert float(total) == pytest.approx(2 * np.sum(X[:n]), rel=1e-13)
        np.testing.assert_array_equal(values, 2 * X[:n])


@pytest.mark.parametrize("jit", [True, False])
def test_a_tape_around_a_graph_to_second_order(jit):
    @tf.function(jit_compile=jit, autograph=False)
    def loss(mu, x):
        return zrun.chunked_sum(lambda x, m: tf.exp(m * x), x, mu, chunksize=100)

    mu, x = tf.constant(0.1, tf.float64), tf.constant(X)
    with tf.GradientTape() as outer:
        outer.watch(mu)
        with tf.GradientTape() as tape:
            tape.watch([mu, x])
            value = loss(mu, x)
        by_mu, by_x = tape.gradient(value, [mu, x])
    second = outer.gradient(by_mu, mu)
    assert float(by_mu) == pytest.approx(np.sum(X * np.exp(0.1 * X)), rel=1e-12)
    np.testing.assert_allclose(by_x, 0.1 * np.exp(0.1 * X), rtol=1e-12)
    assert float(second) == pytest.approx(np.sum(X**2 * np.exp(0.1 * X)), rel=1e-12)


@pytest.mark.parametrize("policy", POLICIES)
def test_data_that_depend_on_what_is_differentiated(policy):
    scale = tf.constant(2.0, tf.float64)
    # The policies take turns with one function, which is traced for each.
    with RUN.using(retrace="allow", **policy), tf.GradientTape() as tape:
        tape.watch(scale)
        total = zrun.chunked_sum(squares, scale * X, scale, chunksize=100)
    assert float(tape.gradient(total, scale)) == pytest.approx(np.sum(2 * (2 * X - 2) * (X - 1)), rel=1e-12)


def test_one_trace_whatever_the_number_of_rows():
    bodies = []

    def values(x, mu):
        bodies.append(x.shape)
        return (x - mu) ** 2

    for jit in (False, True):
        bodies.clear()
        with RUN.using(jit=jit), count_traces() as traces:
            for rows in (1003, 1000, 999, 1, 3, 100, 20_000):
                for chunksize in (100, 64, "auto", None):
                    data = np.linspace(0.0, 1.0, rows)
                    total = zrun.chunked_sum(values, data, 0.25, chunksize=chunksize)
                    assert float(total) == pytest.approx(np.sum((data - 0.25) ** 2), rel=1e-12)
        assert int(traces) == 1
        assert [tuple(shape) for shape in bodies] == [(None,)]


def test_a_gradient_is_one_trace_more_and_one_pass_where_it_is_asked_for_with_the_value():
    mu = tf.Variable(0.5, dtype=tf.float64)
    read = []

    def batches():
        read.append(1)
        yield from np.array_split(X, 7)

    def loss():
        return zrun.chunked_sum(lambda x: (x - mu) ** 2, batches, chunksize=50)

    with RUN.using(graph=True):
        zrun.value_and_gradient(loss, [mu])
        assert len(read) == 1
        with tf.GradientTape() as tape:
            value = loss()
        assert len(read) == 2
        assert float(tape.gradient(value, mu)) == pytest.approx(np.sum(1 - 2 * X), rel=1e-12)
        assert len(read) == 3


# -- accuracy --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", POLICIES[1:])
def test_the_sum_does_not_depend_on_the_chunk_size(policy):
    data = np.exp(RNG.normal(0.0, 3.0, size=300_000))
    want = exact(data)
    with RUN.using(**policy):
        for chunksize in (1000, 4096, 50_000, 300_000, "auto", None):
            total = float(zrun.chunked_sum(_identity, data, chunksize=chunksize))
            assert abs(total / want - 1) < 1e-14


@pytest.mark.parametrize("policy", POLICIES[1:])
def test_gradients_do_not_depend_on_the_chunk_size(policy):
    # Each term is rounded the same way, so that a plain sum would lose more and more digits.
    data = np.full(400_000, 0.1)
    mu = tf.constant(1.0, tf.float64)
    with RUN.using(**policy):
        for chunksize in (4096, 30_000, 400_000, "auto"):
            _, gradient = zrun.value_and_gradient(
                lambda m, size=chunksize: zrun.chunked_sum(tf.multiply, data, m, chunksize=size), mu
            )
            assert abs(float(gradient) / exact(data) - 1) < 1e-12


def test_cancelling_sums_keep_their_digits():
    data = np.array([1e16, 1.0, -1e16, 1.0] * 500)
    for policy in POLICIES:
        with RUN.using(**policy):
            assert float(zrun.chunked_sum(_identity, data, chunksize=1)) == 1000.0


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(("bad", "want"), [(np.inf, np.inf), (np.nan, np.nan)])
def test_infinities_and_nan_are_results(policy, bad, want):
    data = X.copy()
    data[500] = bad
    with RUN.using(**policy):
        np.testing.assert_equal(float(zrun.chunked_sum(lambda x: x, data, chunksize=100)), want)


# -- structures, dtypes, sizes ---------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(
    rows=st.integers(0, 40),
    chunksize=st.one_of(st.integers(1, 50), st.sampled_from(["auto", None])),
    dtype=st.sampled_from(["float64", "float32", "int32", "uint8"]),
    columns=st.sampled_from([(), (1,), (2, 3)]),
    graph=st.booleans(),
    kind=st.sampled_from(["numpy", "tensor", "mapped", "strided", "reversed bytes", "batches"]),
)
def test_any_rows_in_any_chunks(tmp_path_factory, rows, chunksize, dtype, columns, graph, kind):
    data = (np.arange(rows * math.prod(columns)) % 50).astype(dtype).reshape(rows, *columns)
    want = np.sum(data.astype("float64"), axis=0)
    if kind == "tensor":
        data = tf.constant(data)
    elif kind == "strided":
        data = np.repeat(data, 2, axis=0)[::2]
    elif kind == "reversed bytes":
        data = data.astype(data.dtype.newbyteorder())
    elif kind == "mapped" and data.size:
        path = tmp_path_factory.mktemp("mapped") / "data.npy"
        np.save(path, data)
        data = np.load(path, mmap_mode="r")
    elif kind == "batches":
        if chunksize is None:
            chunksize = "auto"
        parts = np.array_split(data, 3)
        data = lambda: iter(parts)  # noqa: E731
    with RUN.using(graph=graph, retrace="allow"):
        total = zrun.chunked_sum(_identity, data, chunksize=chunksize)
        assert total.shape == columns
        np.testing.assert_allclose(total, want, rtol=1e-6 if dtype == "float32" else 1e-14)
        assert total.dtype == (tf.int64 if "int" in dtype else dtype)


def _identity(x):
    return x


@pytest.mark.parametrize("graph", [True, False])
def test_aligned_arrays_dicts_and_weights(graph):
    y, w = RNG.normal(size=len(X)), RNG.uniform(size=len(X))
    with RUN.using(graph=graph):
        pair = zrun.chunked_sum(lambda x, y, a: a * x * y, (X, y), 2.0, chunksize=100)
        whole = zrun.chunked_sum(lambda xy, a: a * xy[0] * xy[1], [X, tf.constant(y)], 2.0, chunksize=100)
        named = zrun.chunked_sum(lambda c: c["x"] * c["y"], {"x": X, "y": y}, chunksize=100)
        weighted = zrun.chunked_sum(lambda x: tf.stack([x, x**2], axis=1), X, weights=w, chunksize=100)
        several = zrun.chunked_sum(lambda x: {"n": tf.ones_like(x), "more": (x, x > 0)}, X, chunksize=100)
    assert float(pair) == pytest.approx(2 * np.sum(X * y), rel=1e-12)
    assert float(whole) == pytest.approx(2 * np.sum(X * y), rel=1e-12)
    assert float(named) == pytest.approx(np.sum(X * y), rel=1e-12)
    np.testing.assert_allclose(weighted, [np.sum(w * X), np.sum(w * X**2)], rtol=1e-13)
    assert float(several["n"]) == len(X)
    assert int(several["more"][1]) == np.sum(X > 0)
    assert several["more"][1].dtype == tf.int64


@pytest.mark.parametrize("policy", POLICIES)
def test_the_gradient_of_a_weighted_sum(policy):
    w, mu = RNG.uniform(size=len(X)), tf.constant(0.5, tf.float64)
    with RUN.using(**policy):
        found = zrun.gradient(lambda m: zrun.chunked_sum(squares, X, m, weights=w, chunksize=100), mu)
    assert float(found) == pytest.approx(np.sum(w * (1 - 2 * X)), rel=1e-12)


@pytest.mark.parametrize("policy", POLICIES)
def test_no_rows(policy):
    mu = tf.constant(0.5, tf.float64)
    with RUN.using(**policy):
        value, gradient = zrun.value_and_gradient(lambda m: zrun.chunked_sum(squares, np.zeros(0), m), mu)
        two = zrun.chunked_sum(lambda x: tf.reduce_sum(x, axis=1), np.zeros((0, 3, 2)))
    assert (float(value), float(gradient)) == (0.0, 0.0)
    assert two.shape == (2,)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_function_that_sums_its_chunk_itself(policy):
    with RUN.using(**policy):
        total = zrun.chunked_sum(lambda x, m: tf.reduce_sum((x - m) ** 2), X, 0.5, chunksize=100)
    assert float(total) == pytest.approx(np.sum((X - 0.5) ** 2), rel=1e-13)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    "function", [lambda x: tf.reduce_mean(x), lambda x: tf.reduce_sum(x) + 1e-3], ids=["mean", "constant"]
)
def test_a_single_value_that_is_no_sum_is_refused(policy, function):
    with RUN.using(**policy), pytest.raises(ChunkError, match="must then be the sum over its rows"):
        zrun.chunked_sum(function, X, chunksize=100)


def test_a_constraint_that_is_zero_at_first_is_found_later():
    def nll(x, mu):
        return tf.reduce_sum((x - mu) ** 2) + 100 * mu**2

    assert float(zrun.chunked_sum(nll, X, tf.constant(0.0, tf.float64), chunksize=100)) > 0

    def step(k):
        return zrun.chunked_sum(nll, X, tf.constant(0.1 * k, tf.float64), chunksize=100)

    with pytest.raises(ChunkError, match="constraint"):
        list(map(step, range(1, 5)))


def test_a_model_object_and_its_variables():
    class Model:
        def __init__(self, mu):
            self.mu = tf.Variable(mu, dtype=tf.float64)

        def __call__(self, x):
            return (x - self.mu) ** 2

        def values(self, x):
            return (x - self.mu) ** 2

    model = Model(0.5)
    for function in (model.values, model):
        with tf.GradientTape() as tape:
            total = zrun.chunked_sum(function, X, chunksize=100)
        assert float(tape.gradient(total, model.mu)) == pytest.approx(np.sum(1 - 2 * X), rel=1e-12)
    model.mu.assign(1.0)
    assert float(zrun.chunked_sum(model.values, X)) == pytest.approx(np.sum((X - 1.0) ** 2), rel=1e-12)


def test_a_zrun_function_and_a_tf_function_are_functions_of_rows():
    for decorate in (zrun.function(kind="loss"), tf.function):
        function = decorate(lambda x: x**2)
        assert float(zrun.chunked_sum(function, X, chunksize=100)) == pytest.approx(np.sum(X**2), rel=1e-13)


def test_float32_is_summed_in_double_precision():
    data = np.full(1_000_000, 0.1, np.float32)
    total = zrun.chunked_sum(lambda x: x, data)
    assert total.dtype == tf.float32
    assert float(total) == np.float32(1e6 * float(np.float32(0.1)))


def test_the_policy_gives_the_chunk_size():
    sizes = []

    def values(x):
        sizes.append(len(x))
        return x

    with RUN.using(graph=False, chunksize=400):
        zrun.chunked_sum(values, X)
        assert sizes == [400, 400, 203]
        zrun.chunked_sum(values, X, chunksize=None)
        assert sizes[3:] == [1003]


# -- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: zrun.chunked_sum(3, X), TypeError, "takes a function"),
        (lambda: zrun.chunked_sum(_identity, (X, X[1:])), ChunkError, "same number of rows"),
        (lambda: zrun.chunked_sum(_identity, X, weights=X[1:]), ChunkError, "weights"),
        (lambda: zrun.chunked_sum(_identity, X, weights=(X, X)), ChunkError, "weights must be one array"),
        (lambda: zrun.chunked_sum(_identity, iter([X]), weights=X), ChunkError, "weights are for data that are arrays"),
        (lambda: zrun.chunked_sum(_identity, 3.0), ChunkError, "further arguments"),
        (lambda: zrun.chunked_sum(_identity, {}), ChunkError, "at least one array"),
        (lambda: zrun.chunked_sum(_identity, ()), ChunkError, r"at least one array.*got \(\).*empty\(0\)"),
        (lambda: zrun.chunked_sum(_identity, []), ChunkError, "at least one array"),
        (lambda: zrun.chunked_sum(_identity, np.ones(3, np.uint64)), ChunkError, "uint64.*tf.cast"),
        (lambda: zrun.chunked_sum(_identity, np.ones(3, np.uint64), weights=np.ones(3)), ChunkError, "uint64.*tf.cast"),
        (lambda: zrun.chunked_sum(_identity, np.array(["a"])), TypeError, "array of numbers"),
        (lambda: zrun.chunked_sum(_identity, "file.npy"), ChunkError, "mmap_mode"),
        (lambda: zrun.chunked_sum(_identity, X, chunksize=0), ChunkError, "chunksize"),
        (lambda: zrun.chunked_sum(_identity, X, chunksize="big"), ChunkError, "'auto'"),
        (lambda: zrun.chunked_sum(_identity, X, chunksize=1.5), TypeError, "chunksize"),
        (lambda: zrun.chunked_sum(_identity, X, progress=3), TypeError, "progress"),
        (lambda: zrun.chunked_sum(lambda x: None, X), ChunkError, "returned None"),
        (lambda: zrun.chunked_sum(lambda x: tf.constant([1.0, 2.0]), X), ChunkError, "first axis"),
        (lambda: zrun.chunked_sum(lambda x: tf.as_string(x), X), ChunkError, "numbers"),
        (lambda: zrun.chunked_sum(tf.reduce_sum, X, weights=X), ChunkError, "to be weighted"),
        (lambda: zrun.chunked_sum(_identity, iter([])), ChunkError, "no batches"),
        (lambda: zrun.chunked_sum(_identity, iter([X, X.astype("f4")]), chunksize=10), ChunkError, "like the first"),
        (lambda: zrun.chunked_sum(_identity, iter([X]), chunksize=None), ChunkError, "one piece"),
        (lambda: zrun.chunked_map(tf.reduce_sum, X), ChunkError, "first axis"),
    ],
)
@pytest.mark.parametrize("graph", [True, False])
def test_errors_name_the_argument_and_the_next_step(call, error, says, graph):
    with RUN.using(graph=graph), pytest.raises(error, match=says):
        call()


def test_a_variable_that_changes_before_its_gradient_is_asked_for():
    mu = tf.Variable(0.5, dtype=tf.float64)
    with tf.GradientTape() as tape:
        total = zrun.chunked_sum(lambda x: squares(x, mu), X)
    mu.assign(2.0)
    with pytest.raises(zrun.GradientError, match="had changed"):
        tape.gradient(total, mu)


# Results with another number of rows than the chunk, which only a graph that runs can know of.
MISCOUNTED = {
    "fewer": lambda x: x[:3],
    "more": lambda x: tf.concat([x, x], axis=0),
    "masked": lambda x: tf.boolean_mask(x, x > 0),
    "in columns": lambda x: tf.stack([x, x], axis=1)[1:],
    "one of two": lambda x: (x, x[::2]),
    "whole numbers": lambda x: tf.cast(x[:-1], tf.int32),
}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("data", [X, lambda: iter(np.array_split(X, 3))], ids=["array", "batches"])
@pytest.mark.parametrize("compute", [zrun.chunked_sum, zrun.chunked_map])
@pytest.mark.parametrize("kind", MISCOUNTED)
def test_another_number_of_values_than_rows_is_refused(policy, data, compute, kind):
    # This used to be added up without a word where a graph ran.
    sizes = [100, None] if data is X else ["auto"]
    for size in sizes:
        with RUN.using(retrace="allow", **policy), pytest.raises(ChunkError, match=r"for each row.*\d rows.*To leave"):
            compute(MISCOUNTED[kind], data, chunksize=size)


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("kind", ["fewer", "masked"])
def test_another_number_of_values_is_refused_with_a_derivative(jit, kind):
    mu = tf.Variable(0.5, dtype=tf.float64)
    with RUN.using(graph=True, jit=jit, retrace="allow"), pytest.raises(ChunkError, match="a value for each row"):
        zrun.value_and_gradient(lambda: zrun.chunked_sum(lambda x: MISCOUNTED[kind](mu * x), X), [mu])


def test_a_graph_counts_only_where_it_cannot_be_known_before():
    def ops(function):
        seen = []
        zrun.chunked_sum(lambda x: (seen.append(x.graph), function(x))[1], X, chunksize=100)
        return [op.type for op in seen[0].get_operations()]

    with RUN.using(graph=True, retrace="allow"):
        for function in (lambda x: (x - 1.0) ** 2, tf.function(squares_of_one), lambda x: tf.concat([x[1:], x[:1]], 0)):
            assert "Shape" not in ops(function)
        assert "Shape" in ops(lambda x: tf.where(x > 0, x, 0.0) + 0 * tf.boolean_mask(x, x == x))


def squares_of_one(x):
    return (x - 1.0) ** 2


def test_another_number_of_values_is_found_in_the_chunk_where_it_is():
    # The mask leaves out one row of all.
    data = np.where(np.arange(1003) == 900, -1.0, 1.0)
    with RUN.using(graph=True), pytest.raises(ChunkError, match="got 99 for 100 rows"):
        zrun.chunked_sum(MISCOUNTED["masked"], data, chunksize=100)
    assert float(zrun.chunked_sum(MISCOUNTED["masked"], np.ones(1003), chunksize=100)) == 1003.0


@pytest.mark.parametrize("chunksize", [100, 5000, None])
@pytest.mark.parametrize("compute", [zrun.chunked_sum, zrun.chunked_map])
@pytest.mark.parametrize("kind", ["fewer", "more", "masked"])
@pytest.mark.parametrize("known", [True, False])
def test_another_number_of_values_is_refused_inside_a_graph(chunksize, compute, kind, known):
    shape = [len(X) if known else None]

    @tf.function(autograph=False, input_signature=[tf.TensorSpec(shape, tf.float64)])
    def total(x):
        return compute(MISCOUNTED[kind], x, chunksize=chunksize)

    with pytest.raises((ChunkError, tf.errors.InvalidArgumentError), match=r"must.return.a.value.for.each.row"):
        total(X)


@pytest.mark.parametrize("compute", [zrun.chunked_sum, zrun.chunked_map])
def test_another_number_of_values_is_refused_inside_a_graph_for_xla(compute):
    @tf.function(jit_compile=True, autograph=False)
    def total(x, kind):
        return compute(MISCOUNTED[kind], x, chunksize=100)

    for kind in ("fewer", "more"):
        with pytest.raises(ChunkError, match=r"must return a value for each row.*\d rows"):
            total(tf.constant(X), kind)
    # What XLA cannot know before it runs, it cannot refuse.
    assert np.any(np.isnan(total(tf.constant(X), "masked")))
