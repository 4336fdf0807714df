"""A fit that steers zrun with the old names: those of zfit's run manager, of its releases 0.5 and 0.28.

    python fit_mass.py

Masses of a signal over a background are fitted by Newton's method, with automatic and with numerical derivatives. Each
old name says, once, what to write instead; `zrun-migrate fit_mass.py` writes it, and the same numbers come out.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

import zrun_tf as zrun
from zrun_compat import run
from zrun_compat.execution import eval_object

LOW, HIGH = 5.0, 5.6


@zrun.function(kind="model")
def density(mass, mean, width, signal):
    peak = tf.exp(-0.5 * ((mass - mean) / width) ** 2) / (width * np.sqrt(2 * np.pi))
    return signal * peak + (1.0 - signal) / (HIGH - LOW)


@zrun.function(kind="loss")
def nll(parameters, mass):
    mean, width, signal = tf.unstack(parameters)
    return -tf.reduce_sum(tf.math.log(density(mass, mean, width, signal)))


def newton(parameters, mass, steps=8):
    """Follow the quadratic form of the likelihood down to its minimum."""
    for _ in range(steps):
        _, gradient, hessian = zrun.value_gradient_hessian(lambda x: nll(x, mass), parameters)
        parameters = parameters - tf.linalg.solve(hessian, gradient[:, None])[:, 0]
    return eval_object(parameters)


def main():
    random = np.random.default_rng(20261124)
    mass = np.concatenate([random.normal(5.28, 0.03, 700), random.uniform(LOW, HIGH, 300)])
    start = tf.constant([5.279, 0.031, 0.68], tf.float64)

    run.set_graph_mode(True)
    print(f"graph: {run.get_graph_mode()}, automatic derivatives: {run.get_autograd_mode()}")
    fitted = newton(start, mass)

    # The same fit with everything in Python, one operation after the other, and numerical derivatives.
    with run.set_mode(graph=False, autograd=False):
        print(f"graph: {run.current_policy_graph()}, automatic derivatives: {run.current_policy_autograd()}")
        if run.experimental_is_eager:
            checked = newton(start, mass, steps=3)

    run.set_graph_cache_size(size=100)
    run.set_mode_default()
    with run.aquire_cpu() as cpus:
        print(f"{'some' if len(cpus) > 0 else 'no'} CPUs")
    for name, value, again in zip(("mean", "width", "signal"), fitted, checked, strict=True):
        print(f"{name:>6} = {value:.6f} (with numerical derivatives {again:.4f})")
    print(f"minimum of the negative log-likelihood: {run(nll(tf.constant(fitted), mass)):.6f}")
    run.clear_graph_cache(call_gc=True)


if __name__ == "__main__":
    main()
