"""A toy study (Gaussian peak over an exponential, 1000 events, iminuit with gradients) beside what else can do it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import zrun_tf as zrun

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))

import toys

RNG = np.random.default_rng(1)
SAMPLES = [toys.sample(RNG) for _ in range(64)]


def _samples():
    while True:
        yield from SAMPLES


def _zfit():
    zfit = pytest.importorskip("zfit")
    space = zfit.Space("x", limits=(toys.LOW, toys.HIGH))
    count = iter(range(10**6))

    def fit(data):
        # A new model and a new loss for each toy, as where each toy is a function call of its own.
        tag = next(count)
        fraction, mu, sigma, slope = (
            zfit.Parameter(f"{name}_{tag}", start if name != "slope" else -start, *limits)
            for (name, start), limits in zip(
                toys.START.items(), [(0.01, 0.99), (2.0, 8.0), (0.2, 3.0), (-2.0, -0.01)], strict=True
            )
        )
        model = zfit.pdf.SumPDF(
            [zfit.pdf.Gauss(mu=mu, sigma=sigma, obs=space), zfit.pdf.Exponential(slope, obs=space)], fracs=fraction
        )
        loss = zfit.loss.UnbinnedNLL(model=model, data=zfit.Data.from_numpy(obs=space, array=data))
        result = zfit.minimize.Minuit(gradient=False, tol=1e-3).minimize(loss)
        return [result.params[p]["value"] for p in (fraction, mu, sigma, slope)]

    return fit


def _jax():
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    jnp, erf = jax.numpy, jax.scipy.special.erf

    def nll(p, x):
        fraction, mu, sigma, slope = p
        z = (x - mu) / sigma
        norm = 0.5 * (erf((toys.HIGH - mu) / sigma / toys.ROOT2) - erf((toys.LOW - mu) / sigma / toys.ROOT2))
        peak = jnp.exp(-0.5 * z * z) / (sigma * toys.ROOT2PI) / norm
        tail = slope * jnp.exp(-slope * x) / (jnp.exp(-slope * toys.LOW) - jnp.exp(-slope * toys.HIGH))
        return -jnp.sum(jnp.log(fraction * peak + (1 - fraction) * tail))

    both = jax.jit(jax.value_and_grad(nll))

    def fit(data):
        data = jnp.asarray(data)
        fitted = toys.minimised(lambda p: float(both(p, data)[0]), lambda p: np.asarray(both(p, data)[1]))
        return list(fitted.values)

    return fit


def _numba_stats():
    pytest.importorskip("numba_stats")
    from iminuit import Minuit
    from iminuit.cost import UnbinnedNLL
    from numba_stats import truncexpon, truncnorm

    def density(x, fraction, mu, sigma, slope):
        peak = truncnorm.pdf(x, toys.LOW, toys.HIGH, mu, sigma)
        return fraction * peak + (1 - fraction) * truncexpon.pdf(x, toys.LOW, toys.HIGH, 0.0, 1 / slope)

    def fit(data):
        minuit = Minuit(UnbinnedNLL(data, density), **toys.START)
        minuit.limits = list(toys.LIMITS.values())
        return list(minuit.migrad().values)

    return fit


@pytest.mark.parametrize("hessian", [True, False], ids=["hessian", "gradient only"])
@pytest.mark.parametrize("jit", [False, True], ids=["graph", "jit"])
def test_toys(compare, jit, hessian):
    samples = _samples()
    peers = {"JAX, jit(value_and_grad)": _jax(), "iminuit UnbinnedNLL on numba_stats": _numba_stats()}
    with zrun.run.using(jit=jit):
        data = next(samples)
        ours = list(toys.fit(data, hessian=hessian).values)
        for name, fit in peers.items():
            assert np.allclose(fit(data), ours, atol=2e-3, rtol=2e-3), name
        compare(
            f"one toy, new data and new objects{', jit' if jit else ''}{'' if hessian else ', no Hessian'}",
            lambda: toys.fit(next(samples), hessian=hessian),
            {name: (lambda fit=fit: fit(next(samples))) for name, fit in peers.items()},
            number=3,
            rounds=11,
        )


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_toys_beside_zfit(compare):
    samples = _samples()
    fit = _zfit()
    data = next(samples)
    with zrun.run.using(jit=True):
        fraction, mu, sigma, slope = toys.fit(data).values
        assert np.allclose(fit(data), [fraction, mu, sigma, -slope], atol=5e-3, rtol=5e-3)
        for _ in range(3):
            toys.fit(next(samples))
        compare(
            "one toy, new data and new objects, jit; beside zfit",
            lambda: toys.fit(next(samples)),
            {"zfit": lambda: fit(next(samples))},
            number=1,
            rounds=7,
        )
