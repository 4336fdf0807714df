"""A toy study as a user writes it: plain classes, new data and new objects for each toy.

A Gaussian peak over an exponential background on an interval, fitted unbinned to 1000 events.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

import zrun_tf as zrun

LOW, HIGH = 0.0, 10.0
START = {"fraction": 0.3, "mu": 5.0, "sigma": 1.0, "slope": 0.3}
LIMITS = {"fraction": (0.01, 0.99), "mu": (2.0, 8.0), "sigma": (0.2, 3.0), "slope": (0.01, 2.0)}
ROOT2 = float(np.sqrt(2.0))
ROOT2PI = float(np.sqrt(2.0 * np.pi))


@zrun.struct
class Gauss:
    mu: tf.Variable
    sigma: tf.Variable

    def pdf(self, x):
        z = (x - self.mu) / self.sigma
        high, low = (tf.math.erf((edge - self.mu) / self.sigma / ROOT2) for edge in (HIGH, LOW))
        return tf.exp(-0.5 * z * z) / (self.sigma * ROOT2PI) / (0.5 * (high - low))


@zrun.struct
class Exponential:
    slope: tf.Variable

    def pdf(self, x):
        inside = tf.exp(-self.slope * LOW) - tf.exp(-self.slope * HIGH)
        return self.slope * tf.exp(-self.slope * x) / inside


@zrun.struct
class Sum:
    fraction: tf.Variable
    signal: Gauss
    background: Exponential

    @zrun.function(kind="model")
    def pdf(self, x):
        return self.fraction * self.signal.pdf(x) + (1.0 - self.fraction) * self.background.pdf(x)

    @zrun.function(kind="loss")
    def nll(self, data):
        return -tf.reduce_sum(tf.math.log(self.pdf(data)))


def sample(rng, events=1000):
    """Events of one toy: 40 % signal."""
    signal = rng.binomial(events, 0.4)
    peak = rng.normal(5.2, 0.8, size=3 * events)
    tail = rng.exponential(4.0, size=4 * events)
    return np.concatenate([peak[(peak > LOW) & (peak < HIGH)][:signal], tail[tail < HIGH][: events - signal]])


def objective(data):
    """The objective of one toy: new variables, new objects, new data."""
    fraction, mu, sigma, slope = (tf.Variable(start, dtype=tf.float64, name=name) for name, start in START.items())
    model = Sum(fraction, Gauss(mu, sigma), Exponential(slope))
    return zrun.objective(model.nll, [fraction, mu, sigma, slope], data=data)


def minimised(value, gradient, hessian=None):
    """A minimiser's result, with iminuit."""
    from iminuit import Minuit

    minuit = Minuit(value, np.array(list(START.values())), grad=gradient, hessian=hessian or False)
    minuit.errordef = 0.5
    minuit.limits = list(LIMITS.values())
    return minuit.migrad()


def fit(data, *, hessian=True):
    """One toy; with the Hessian, iminuit asks for the value six times less often."""
    loss = objective(data)
    return minimised(loss, loss.gradient, loss.convex_hessian if hessian else None)
