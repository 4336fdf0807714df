"""A likelihood of many rows, chunk by chunk and in one piece: gauss + gauss + exponential, value and gradient.

The peers compute the same function of 8 parameters, but for zfit, whose own model is normalised numerically over its
range. Set `BENCH_ROWS` to a comma-separated list of numbers of rows.

A fit evaluates some hundred times. The first of them compile, as the peers' do, and find the size of the chunks; times
are taken after `SETTLED` calls.
"""

from __future__ import annotations

import os

import numpy as np
import pytest
import tensorflow as tf

import zrun_tf as zrun

jax = pytest.importorskip("jax")
numba = pytest.importorskip("numba")
jnp = pytest.importorskip("jax.numpy")
jax.config.update("jax_enable_x64", True)

ROWS = [int(float(n)) for n in os.environ.get("BENCH_ROWS", "1e5,1e6,1e7").split(",")]
AT = np.array([0.5, 1.2, 0.3, 0.3, 1.8, 0.1, 0.6, 0.1])
NORM = np.sqrt(2 * np.pi)
SETTLED = 60


def events(n):
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.normal(1.2, 0.3, n // 2), rng.exponential(1 / 0.6, n - n // 2)])
    rng.shuffle(x)
    return x


def density(xp, p, x):
    a = xp.exp(-0.5 * ((x - p[1]) / p[2]) ** 2) / (p[2] * NORM)
    b = xp.exp(-0.5 * ((x - p[4]) / p[5]) ** 2) / (p[5] * NORM)
    c = p[6] * xp.exp(-p[6] * x)
    second = p[3] * p[7]
    return p[0] * a + second * b + (1 - p[0] - second) * c


def nll(p, x):
    return -tf.reduce_sum(tf.math.log(density(tf, p, x)))


def jax_nll(p, x):
    return -jnp.sum(jnp.log(density(jnp, p, x)))


def jax_scan(p, x, block=65_536):
    """Value and gradient added up over blocks inside one graph."""
    n = len(x) // block * block

    def step(total, part):
        found = jax.value_and_grad(jax_nll)(p, part)
        return jax.tree.map(jnp.add, total, found), None

    total = (jnp.zeros(()), jnp.zeros(8))
    total, _ = jax.lax.scan(step, total, x[:n].reshape(-1, block))
    return jax.tree.map(jnp.add, total, jax.value_and_grad(jax_nll)(p, x[n:]))


@numba.njit(parallel=True, fastmath=False)
def numba_value_and_gradient(p, x):
    value = g0 = g1 = g2 = g3 = g4 = g5 = g6 = g7 = 0.0
    norm = np.sqrt(2 * np.pi)
    second = p[3] * p[7]
    rest = 1 - p[0] - second
    for i in numba.prange(len(x)):
        r, s = (x[i] - p[1]) / p[2], (x[i] - p[4]) / p[5]
        a = np.exp(-0.5 * r * r) / (p[2] * norm)
        b = np.exp(-0.5 * s * s) / (p[5] * norm)
        e = np.exp(-p[6] * x[i])
        c = p[6] * e
        f = p[0] * a + second * b + rest * c
        value -= np.log(f)
        w = -1 / f
        g0 += w * (a - c)
        g1 += w * p[0] * a * r / p[2]
        g2 += w * p[0] * a * (r * r - 1) / p[2]
        g3 += w * p[7] * (b - c)
        g4 += w * second * b * s / p[5]
        g5 += w * second * b * (s * s - 1) / p[5]
        g6 += w * rest * e * (1 - p[6] * x[i])
        g7 += w * p[3] * (b - c)
    return value, np.array([g0, g1, g2, g3, g4, g5, g6, g7])


@numba.njit(parallel=True, fastmath=False)
def numba_value(p, x):
    value = 0.0
    norm = np.sqrt(2 * np.pi)
    second = p[3] * p[7]
    rest = 1 - p[0] - second
    for i in numba.prange(len(x)):
        r, s = (x[i] - p[1]) / p[2], (x[i] - p[4]) / p[5]
        a = np.exp(-0.5 * r * r) / (p[2] * norm)
        b = np.exp(-0.5 * s * s) / (p[5] * norm)
        value -= np.log(p[0] * a + second * b + rest * p[6] * np.exp(-p[6] * x[i]))
    return value


def tensorflow_one_piece(x, jit):
    data, at = tf.constant(x), tf.constant(AT)

    def both(p, x):
        with tf.GradientTape() as tape:
            tape.watch(p)
            value = nll(p, x)
        return value, tape.gradient(value, p)

    value, gradient = (tf.function(f, jit_compile=jit, autograph=False) for f in (nll, both))
    return lambda: value(at, data).numpy(), lambda: [part.numpy() for part in gradient(at, data)]


def jax_one_piece(x):
    data, at = jnp.asarray(x), jnp.asarray(AT)
    value, gradient = jax.jit(jax_nll), jax.jit(jax.value_and_grad(jax_nll))
    return lambda: float(value(at, data)), lambda: jax.block_until_ready(gradient(at, data))


def zfit_loss(x):
    zfit = pytest.importorskip("zfit")
    obs = zfit.Space("x", -3, 60)
    names = ["f1", "m1", "s1", "m2", "s2", "lam", "f2"]
    values = [AT[0], AT[1], AT[2], AT[4], AT[5], -AT[6], AT[3] * AT[7]]
    made = len(x)
    p = {n: zfit.Parameter(f"{n}_{made}", v) for n, v in zip(names, values, strict=True)}
    parts = [
        zfit.pdf.Gauss(p["m1"], p["s1"], obs=obs),
        zfit.pdf.Gauss(p["m2"], p["s2"], obs=obs),
        zfit.pdf.Exponential(p["lam"], obs=obs),
    ]
    model = zfit.pdf.SumPDF(parts, fracs=[p["f1"], p["f2"]])
    loss = zfit.loss.UnbinnedNLL(model, zfit.Data.from_numpy(obs=obs, array=x))
    params = list(p.values())
    return lambda: np.asarray(loss.value()), lambda: [np.asarray(v) for v in loss.value_gradient(params)]


def moved(objective, what, settled=SETTLED):
    """The objective at a point that it does not remember, once it has been called some times."""
    points = iter(range(10**9))

    def way():
        return getattr(objective, what)(AT * (1 + 1e-12 * next(points)))

    for _ in range(settled):
        way()
    return way


# zfit warns about its own calls.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("n", ROWS)
def test_value_and_gradient_of_many_rows(compare, n):
    x = events(n)
    compiled = zrun.objective(nll, AT, x=x, chunksize="auto")
    interpreted = zrun.objective(nll, AT, x=x, chunksize="auto")
    graph, jit = tensorflow_one_piece(x, None), tensorflow_one_piece(x, True)
    one = jax_one_piece(x)
    scan, data, at = jax.jit(jax_scan), jnp.asarray(x), jnp.asarray(AT)

    with zrun.run.using(jit=True):
        value, gradient = compiled.value_and_gradient(AT)
        for peer in (graph[1], jit[1], one[1], lambda: numba_value_and_gradient(AT, x), lambda: scan(at, data)):
            theirs = peer()
            np.testing.assert_allclose(value, theirs[0], rtol=1e-10)
            np.testing.assert_allclose(gradient, theirs[1], rtol=1e-8)
        zfit = zfit_loss(x)
        rounds = {"number": max(1, 200_000 // n), "rounds": 7 if n >= 10**7 else 21}
        compare(
            f"value and gradient, {n:.0e} rows",
            moved(compiled, "value_and_gradient"),
            {
                "zfit": zfit[1],
                "tf.function in one piece": graph[1],
                "tf.function, jit_compile": jit[1],
                "jax.jit in one piece": one[1],
                "JAX, lax.scan": lambda: jax.block_until_ready(scan(at, data)),
                "numba, parallel": lambda: numba_value_and_gradient(AT, x),
            },
            **rounds,
        )
        compare(
            f"value, {n:.0e} rows",
            moved(compiled, "value"),
            {
                "zfit": zfit[0],
                "tf.function in one piece": graph[0],
                "tf.function, jit_compile": jit[0],
                "jax.jit in one piece": one[0],
                "numba, parallel": lambda: numba_value(AT, x),
            },
            **rounds,
        )
    compare(
        f"value and gradient, {n:.0e} rows, without XLA",
        moved(interpreted, "value_and_gradient"),
        {"tf.function in one piece": graph[1]},
        **rounds,
    )


FIXED = [1024, 2048, 4096, 8192, 16_384]


def test_auto_is_near_the_best_fixed_size(compare):
    x = events(2_000_000)
    objectives = {size: zrun.objective(nll, AT, x=x, chunksize=size) for size in (*FIXED, "auto")}
    with zrun.run.using(jit=True):
        auto = moved(objectives.pop("auto"), "value_and_gradient", settled=300)
        peers = {f"chunksize={size}": moved(obj, "value_and_gradient", settled=3) for size, obj in objectives.items()}
        ratios = compare("value and gradient, 2e6 rows, auto", auto, peers, number=1, rounds=15)
    assert set(ratios) == set(peers)
