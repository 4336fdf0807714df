"""Derivatives of a mixture likelihood against JAX, which is installed for the benchmarks alone."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import tensorflow as tf

import zrun_tf as zrun

# In a process of its own: JAX warns of every fork after it, and what it is told of float64 holds for the process. It is
# not installed for the other tests, since TensorFlow imports it where it finds it.
WITH_JAX = """
import sys

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)
with np.load(sys.argv[1]) as file:
    data, x = file["data"], file["x"]


def loss(x):
    peak = x[2] / x[1] * jax.numpy.exp(-0.5 * ((data - x[0]) / x[1]) ** 2) / np.sqrt(2 * np.pi)
    return -jax.numpy.sum(jax.numpy.log(peak + (1 - x[2]) * x[3] * jax.numpy.exp(-x[3] * data)))


np.savez(sys.argv[2], gradient=jax.grad(loss)(x), hessian=jax.hessian(loss)(x))
"""


def test_derivatives_of_a_mixture_agree_with_jax(tmp_path):
    rng = np.random.default_rng(5)
    data = np.concatenate([rng.normal(3.0, 0.4, 400), rng.exponential(4.0, 600)])
    x = np.array([3.1, 0.35, 0.3, 0.3])
    np.savez(tmp_path / "in.npz", data=data, x=x)
    command = [sys.executable, "-c", WITH_JAX, str(tmp_path / "in.npz"), str(tmp_path / "out.npz")]
    subprocess.run(command, check=True, env={**os.environ, "JAX_PLATFORMS": "cpu"})
    with np.load(tmp_path / "out.npz") as file:
        gradient, hessian = file["gradient"], file["hessian"]

    def loss(x, data):
        peak = x[2] / x[1] * tf.exp(-0.5 * ((data - x[0]) / x[1]) ** 2) / np.sqrt(2 * np.pi)
        return -tf.reduce_sum(tf.math.log(peak + (1 - x[2]) * x[3] * tf.exp(-x[3] * data)))

    objective = zrun.objective(loss, x, data=data)
    scale = np.sqrt(np.outer(np.diag(hessian), np.diag(hessian)))
    np.testing.assert_allclose(objective.gradient(x), gradient, rtol=1e-11)
    np.testing.assert_allclose(objective.hessian(x) / scale, hessian / scale, atol=1e-12)
    with zrun.run.using(autograd=False):
        np.testing.assert_allclose(objective.gradient(x), gradient, rtol=5e-9)
        numerical = objective.hessian(x)
    np.testing.assert_allclose(numerical / scale, hessian / scale, atol=2e-6)
