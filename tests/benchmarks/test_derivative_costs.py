"""Derivatives of an unbinned mixture likelihood, 100,000 events, beside other libraries: time and accuracy.

Times are medians of rounds that interleave all ways. `nox -s bench -- tests/benchmarks/test_derivative_costs.py`.
"""

from __future__ import annotations

import gc
from functools import partial

import jacobi
import jax
import numdifftools
import numpy as np
import pytest
import scipy.differentiate
import tensorflow as tf

import zrun_tf as zrun
from zrun_tf._graph import CALLS_UNTIL_COMPILED

jax.config.update("jax_enable_x64", True)


EVENTS = 100_000


class Mixture:
    """Peaks with a position, a width and a share each, over an exponential with 2 (8 parameters) or 3 (30) terms."""

    def __init__(self, size):
        self.size = size
        self.peaks, self.terms = {8: (2, 2), 30: (9, 3)}[size]
        rng = np.random.default_rng(1)
        means = np.linspace(1.5, 9.0, self.peaks)
        parts = [rng.normal(mean, 0.3, EVENTS // (2 * self.peaks)) for mean in means]
        falling = rng.exponential(4.0, 2 * EVENTS)
        falling = falling[falling < 10.5][: EVENTS - sum(map(len, parts))]
        self.data = np.concatenate([*parts, falling])
        shares = np.full(self.peaks, 0.45 / self.peaks)
        self.x = np.concatenate([1.02 * means, np.full(self.peaks, 0.33), shares, [0.25, 0.01, 0.002][: self.terms]])

    def loss(self, x, data, np=np):
        """The negative log-likelihood; `np` is NumPy, `_Tf` or `jax.numpy`."""
        k = self.peaks
        mean, width, share = x[:k], x[k : 2 * k], x[2 * k : 3 * k]
        pulls = (data[:, None] - mean) / width
        density = np.sum(share / (width * 2.5066282746310002) * np.exp(-0.5 * pulls**2), axis=1)
        exponent = x[3 * k] * data
        for power in range(1, self.terms):
            exponent = exponent + x[3 * k + power] * (data / 10.0) ** power
        density = density + (1.0 - np.sum(share)) * x[3 * k] * np.exp(-exponent)
        return -np.sum(np.log(density))


class _Tf:
    """The few names of NumPy that the likelihood needs."""

    exp, log = tf.exp, tf.math.log
    sum = staticmethod(tf.reduce_sum)


class Ways:
    """One likelihood as zrun, TensorFlow and JAX take it, with the exact derivatives."""

    def __init__(self, size):
        self.model = model = Mixture(size)
        self.x = model.x
        loss = partial(model.loss, np=_Tf)

        def named(x, data):
            return loss(x, data)

        self.objective = zrun.objective(named, self.x, data=model.data)
        data = tf.constant(model.data)
        self.variables = [tf.Variable(value) for value in self.x]
        self.reads = tf.function(lambda: loss(tf.stack(self.variables), data), autograph=False)
        self.takes = tf.function(lambda x: loss(x, data), autograph=False)

        def tape_jacobian(x):
            with tf.GradientTape() as outer:
                outer.watch(x)
                with tf.GradientTape() as inner:
                    inner.watch(x)
                    value = loss(x, data)
                slopes = inner.gradient(value, x)
            return outer.jacobian(slopes, x)

        self.tape_jacobian = tf.function(tape_jacobian, autograph=False)
        jax_data = jax.numpy.asarray(model.data)
        self.jax_hessian = jax.jit(jax.hessian(lambda x: model.loss(x, jax_data, jax.numpy)))
        # Exact to rounding, and nothing of zrun's.
        self.gradient = np.asarray(jax.grad(lambda x: model.loss(x, jax_data, jax.numpy))(self.x))
        self.hessian = np.asarray(self.jax_hessian(self.x))

    def as_zfit(self, x):
        """One evaluation as zfit makes it for numdifftools: set the variables, call the graph."""
        for variable, value in zip(self.variables, x, strict=True):
            variable.assign(value)
        return self.reads().numpy()

    def of_vector(self, x):
        """One evaluation at its cheapest."""
        return self.takes(tf.constant(x)).numpy()

    def ours(self, what, *, first=False, autograd=False, jit=True):
        """A derivative by the objective, with steps remembered or not, nothing else kept from the last call."""
        self.objective.forget()
        if first:
            self.objective._steps.forget()
        with zrun.run.using(autograd=autograd, jit=jit):
            return getattr(self.objective, what)(self.x)


@pytest.fixture(scope="module", params=[8, 30], ids=["8 parameters", "30 parameters"])
def ways(request):
    yield Ways(request.param)
    gc.collect()


def relative(found, exact):
    return float(np.max(np.abs(np.asarray(found) / exact - 1.0)))


def scaled(found, exact):
    scale = np.sqrt(np.abs(np.diag(exact)))
    return float(np.max(np.abs(np.asarray(found) - exact) / np.outer(scale, scale)))


def settled(way, calls=9):
    """The step memory moves on from call to call, and a graph is compiled after some; what counts is the worst."""
    return [way() for _ in range(calls)]


def both_ways(ways, what, **how):
    """The same compiled and not, and the number of evaluations that it takes."""
    compiled, plain = (partial(ways.ours, what, jit=jit, **how) for jit in (True, False))
    before = ways.objective.evaluations["points"]
    compiled()
    return compiled, {"zrun, not compiled": plain}, ways.objective.evaluations["points"] - before


def test_numerical_gradient_with_steps_remembered(ways, compare):
    peers = {
        "numdifftools as zfit": lambda: numdifftools.Gradient(ways.as_zfit, order=2, base_step=0.1)(ways.x),
        "jacobi": lambda: jacobi.jacobi(ways.of_vector, ways.x)[0],
        "scipy.differentiate": lambda: _scipy(ways),
    }
    ways.ours("gradient", first=True)
    compiled, plain, evaluations = both_ways(ways, "gradient")
    errors = {"zrun": max(relative(found, ways.gradient) for found in settled(compiled))}
    errors |= {name: max(relative(found, ways.gradient) for found in settled(way)) for name, way in plain.items()}
    assert max(errors.values()) <= 5e-9
    errors |= {peer: relative(way(), ways.gradient) for peer, way in peers.items()}
    name = f"numerical gradient, {ways.model.size}, steps remembered ({evaluations} evaluations)"
    compare(name, compiled, {**plain, **peers}, number=1, rounds=rounds_of(ways), errors=errors)


def test_numerical_gradient_on_a_first_call(ways, compare):
    peers = {"numdifftools as zfit": lambda: numdifftools.Gradient(ways.as_zfit, order=2, base_step=0.1)(ways.x)}
    compiled, plain, evaluations = both_ways(ways, "gradient", first=True)
    errors = {name: relative(way(), ways.gradient) for name, way in {"zrun": compiled, **plain}.items()}
    assert max(errors.values()) <= 5e-9
    name = f"numerical gradient, {ways.model.size}, first call ({evaluations} evaluations)"
    compare(name, compiled, {**plain, **peers}, number=1, rounds=rounds_of(ways), errors=errors)


def rounds_of(ways):
    """numdifftools takes ten seconds for 30 parameters."""
    return {8: 5, 30: 2}[ways.model.size]


def _scipy(ways):
    return scipy.differentiate.jacobian(lambda x: np.apply_along_axis(ways.of_vector, 0, x), ways.x).df


def test_numerical_hessian_from_values(ways, compare):
    for first in (False, True):
        ours = partial(ways.ours, "hessian", first=first)
        error = scaled(ours(), ways.hessian)
        assert error <= 2e-6
        name = f"numerical Hessian, {ways.model.size}, {'first call' if first else 'steps remembered'}, compiled"
        # numdifftools takes minutes for 30 parameters.
        peers = {"numdifftools.Hessian": lambda: numdifftools.Hessian(ways.as_zfit)(ways.x)}
        theirs = peers if ways.model.size == 8 else {}
        compare(name, ours, theirs, number=1, rounds=1, errors={"zrun": error})


def test_automatic_hessian(ways, compare):
    x = tf.constant(ways.x)
    peers = {
        "tape.jacobian": lambda: ways.tape_jacobian(x).numpy(),
        "jax.hessian": lambda: np.asarray(ways.jax_hessian(ways.x)),
    }
    compiled, plain, _ = both_ways(ways, "hessian", autograd=True)
    errors = {"zrun": max(scaled(found, ways.hessian) for found in settled(compiled, CALLS_UNTIL_COMPILED + 1))}
    errors |= {name: scaled(way(), ways.hessian) for name, way in {**plain, **peers}.items()}
    assert errors["zrun"] <= 1e-12
    name = f"automatic Hessian, {ways.model.size}"
    compare(name, compiled, {**plain, **peers}, number=1, rounds=rounds_of(ways) + 2, errors=errors)
