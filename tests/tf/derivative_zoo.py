"""Functions with known derivatives: each in NumPy, as the engine evaluates it, and in mpmath, which differentiates it.

Every entry is `name: (numpy function, mpmath function, points)`. The exact derivatives are mpmath's at 60 digits.
"""

from __future__ import annotations

from functools import cache

import mpmath as mp
import numpy as np
from scipy import special

SCALARS = {
    # polynomials
    "line": (lambda x: 3 * x + 1, lambda x: 3 * x + 1, [0.0, 1.0, -1e6]),
    "square": (lambda x: x * x, lambda x: x * x, [0.0, 1.0, 1e-12, 1e12]),
    "cubic": (lambda x: x**3 - 2 * x, lambda x: x**3 - 2 * x, [0.0, 1.3, 1e-12, 1e12]),
    "quintic": (lambda x: x**5 - x, lambda x: x**5 - x, [0.2, -1.0, 3.0]),
    "power 20": (lambda x: x**20, lambda x: x**20, [0.01, 1.0, 1.5]),
    "Wilkinson of 5": (
        lambda x: (x - 1) * (x - 2) * (x - 3) * (x - 4) * (x - 5),
        lambda x: (x - 1) * (x - 2) * (x - 3) * (x - 4) * (x - 5),
        [0.5, 2.5, 3.0],
    ),
    "Chebyshev 8": (
        lambda x: 128 * x**8 - 256 * x**6 + 160 * x**4 - 32 * x**2 + 1,
        lambda x: 128 * x**8 - 256 * x**6 + 160 * x**4 - 32 * x**2 + 1,
        [0.1, 0.77, 0.99],
    ),
    # ratios
    "inverse": (lambda x: 1 / x, lambda x: 1 / x, [1.0, 1e-12, 1e12, -2.0]),
    "inverse square": (lambda x: x**-2.0, lambda x: x**-2, [1.0, 0.3, -7.0]),
    "Runge": (lambda x: 1 / (1 + 25 * x * x), lambda x: 1 / (1 + 25 * x * x), [0.0, 0.2, 0.9, -3.0]),
    "resonance": (
        lambda x: 1 / (1 + ((x - 91.19) / 1.25) ** 2),
        lambda x: 1 / (1 + ((x - mp.mpf(91.19)) / mp.mpf(1.25)) ** 2),
        [91.0, 91.19, 80.0, 200.0],
    ),
    "logistic": (lambda x: 1 / (1 + np.exp(-x)), lambda x: 1 / (1 + mp.exp(-x)), [0.0, 2.0, -10.0, 20.0]),
    "Michaelis": (lambda x: 3 * x / (0.1 + x), lambda x: 3 * x / (mp.mpf(0.1) + x), [0.01, 1.0, 50.0]),
    # oscillating
    "sin": (np.sin, mp.sin, [0.0, 1.0, 100.0, -1e4]),
    "cos": (np.cos, mp.cos, [0.0, 0.5, 1e-3]),
    "fast sin": (lambda x: np.sin(50 * x), lambda x: mp.sin(50 * x), [0.0, 1.0, 3.3]),
    "very fast sin": (lambda x: np.sin(1e9 * x), lambda x: mp.sin(mp.mpf(1e9) * x), [0.0, 1e-12, 1e-9]),
    "chirp": (lambda x: np.sin(x * x), lambda x: mp.sin(x * x), [0.5, 3.0, 10.0]),
    "damped": (
        lambda x: np.exp(-x / 3) * np.cos(5 * x),
        lambda x: mp.exp(-x / 3) * mp.cos(5 * x),
        [0.0, 1.0, 4.0],
    ),
    "beats": (lambda x: np.sin(20 * x) * np.sin(21 * x), lambda x: mp.sin(20 * x) * mp.sin(21 * x), [0.1, 1.7]),
    "sinc": (lambda x: np.sin(x) / x, lambda x: mp.sin(x) / x, [0.1, 3.0, 30.0]),
    # nearly singular
    "root": (np.sqrt, mp.sqrt, [1.0, 1e-12, 1e12]),
    "cube root": (np.cbrt, lambda x: x ** (mp.mpf(1) / 3), [1e-9, 1.0, 64.0]),
    "log": (np.log, mp.log, [1.0, 1e-12, 1e12, 0.01]),
    "entropy": (lambda x: x * np.log(x), lambda x: x * mp.log(x), [1e-6, 1.0, 100.0]),
    "pole nearby": (lambda x: 1 / (x - 1), lambda x: 1 / (x - 1), [1.001, 0.99, 1.000001]),
    "tangent": (np.tan, mp.tan, [0.3, 1.5, 1.57]),
    "log of log": (lambda x: np.log(np.log(x)), lambda x: mp.log(mp.log(x)), [1.01, 3.0, 1e5]),
    "edge of a domain": (lambda x: np.sqrt(1 - x * x), lambda x: mp.sqrt(1 - x * x), [0.0, 0.9, 0.9999]),
    "arcsine": (np.arcsin, mp.asin, [0.1, 0.8, 0.999]),
    "shifted log": (lambda x: np.log(x - 0.999), lambda x: mp.log(x - mp.mpf(0.999)), [1.0, 1.5, 3.0]),
    # flat
    "constant": (lambda x: 3.0 + 0 * x, lambda x: mp.mpf(3), [0.0, 1.0, 1e12]),
    "power 4 at its minimum": (lambda x: (x - 1) ** 4, lambda x: (x - 1) ** 4, [1.0, 1.01, 1.5]),
    "bell": (lambda x: np.exp(-x * x / 2), lambda x: mp.exp(-x * x / 2), [0.0, 1.0, 5.0, 8.0]),
    "slow": (lambda x: np.cos(x / 1e9 + 1), lambda x: mp.cos(x / mp.mpf(1e9) + 1), [0.0, 1.0, 1e9]),
    "line on an offset": (lambda x: 1 + x / 1e9, lambda x: 1 + x / mp.mpf(1e9), [0.0, 1.0, 100.0]),
    "minimum on an offset": (
        lambda x: 1e5 * (x - 3) ** 2 + 7e4,
        lambda x: 100000 * (x - 3) ** 2 + 70000,
        [3.0, 3.001, 2.9],
    ),
    # step-like
    "tanh": (np.tanh, mp.tanh, [0.0, 1.0, -4.0]),
    "steep arctan": (lambda x: np.arctan(50 * (x - 1)), lambda x: mp.atan(50 * (x - 1)), [0.3, 1.0, 1.01]),
    "steep logistic": (
        lambda x: 1 / (1 + np.exp(-200 * (x - 2))),
        lambda x: 1 / (1 + mp.exp(-200 * (x - 2))),
        [2.0, 2.01, 1.98],
    ),
    "error function": (special.erf, mp.erf, [0.0, 0.7, 3.0]),
    "narrow peak": (
        lambda x: np.exp(-(((x - 1000) / 1e-2) ** 2) / 2),
        lambda x: mp.exp(-(((x - 1000) / mp.mpf(1e-2)) ** 2) / 2),
        [1000.005, 999.98, 1000.0],
    ),
    # badly scaled
    "large values": (lambda x: 1e12 * np.exp(x), lambda x: mp.mpf(1e12) * mp.exp(x), [0.0, 1.0]),
    "small values": (lambda x: 1e-12 * np.exp(x), lambda x: mp.mpf(1e-12) * mp.exp(x), [0.0, 1.0]),
    "large arguments": (lambda x: np.sin(x * 1e-12), lambda x: mp.sin(x * mp.mpf(1e-12)), [1e12, 3e12]),
    "small arguments": (lambda x: np.sin(x * 1e12), lambda x: mp.sin(x * mp.mpf(1e12)), [1e-12, 3e-12]),
    "exp": (np.exp, mp.exp, [0.0, 1.0, -5.0, 50.0, 700.0]),
    "huge offset": (lambda x: 1e8 + np.sin(x), lambda x: mp.mpf(1e8) + mp.sin(x), [0.4, 2.0]),
    # cancellation
    "expm1 written badly": (lambda x: np.exp(x) - 1, lambda x: mp.exp(x) - 1, [1e-3, 1e-6, 0.5]),
    "difference of roots": (
        lambda x: np.sqrt(x + 1) - np.sqrt(x),
        lambda x: mp.sqrt(x + 1) - mp.sqrt(x),
        [1.0, 1e3, 1e6],
    ),
    "versine": (lambda x: 1 - np.cos(x), lambda x: 1 - mp.cos(x), [0.01, 1.0, 6.28]),
    "sum that cancels": (
        lambda x: (1e6 + x) - 1e6 + np.sin(x),
        lambda x: x + mp.sin(x),
        [0.3, 1.0],
    ),
    # special functions
    "gamma": (special.gamma, mp.gamma, [0.5, 3.3, 10.0]),
    "log gamma": (special.gammaln, mp.loggamma, [0.5, 3.3, 1e4]),
    "digamma": (special.digamma, lambda x: mp.psi(0, x), [0.5, 2.0, 40.0]),
    "Bessel J0": (special.j0, lambda x: mp.besselj(0, x), [0.5, 2.4, 20.0]),
    "Bessel I1": (lambda x: special.iv(1, x), lambda x: mp.besseli(1, x), [0.5, 2.0, 10.0]),
    "Airy": (lambda x: special.airy(x)[0], mp.airyai, [-5.0, 0.1, 2.0]),
    "complementary error function": (special.erfc, mp.erfc, [0.5, 3.0, 5.0]),
    "Dawson": (
        special.dawsn,
        lambda x: mp.sqrt(mp.pi) / 2 * mp.exp(-x * x) * mp.erfi(x),
        [0.5, 0.92, 4.0],
    ),
    "elliptic K": (special.ellipk, mp.ellipk, [0.1, 0.5, 0.95]),
    "softplus": (lambda x: np.logaddexp(0, x), lambda x: mp.log(1 + mp.exp(x)), [-20.0, 0.0, 3.0]),
    "Student's t, log": (
        lambda x: -2 * np.log1p(x * x / 3),
        lambda x: -2 * mp.log(1 + x * x / 3),
        [0.0, 1.0, 30.0],
    ),
    "Poisson likelihood": (
        lambda x: x - 17 * np.log(x),
        lambda x: x - 17 * mp.log(x),
        [1.0, 17.0, 16.99, 200.0],
    ),
}

# Functions of several parameters: NumPy with x of shape (n,), mpmath with a list.
VECTORS = {
    "rosenbrock": (
        lambda x: 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2,
        lambda x: 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2,
        [[-1.2, 1.0], [0.9, 0.8]],
    ),
    "product": (lambda x: x[0] * x[1] * x[2], lambda x: x[0] * x[1] * x[2], [[1.0, 2.0, 3.0], [1e6, 1e-6, 1.0]]),
    "exponential and sine": (
        lambda x: np.exp(x[0] * x[1]) * np.sin(x[2]) + x[0] / x[2],
        lambda x: mp.exp(x[0] * x[1]) * mp.sin(x[2]) + x[0] / x[2],
        [[0.5, -0.3, 1.4]],
    ),
    "Gaussian likelihood": (
        lambda x: np.sum((np.array([1.0, 2.0, 4.0, 5.5]) - x[0]) ** 2) / (2 * x[1] ** 2) + 4 * np.log(x[1]),
        lambda x: sum((mp.mpf(d) - x[0]) ** 2 for d in (1.0, 2.0, 4.0, 5.5)) / (2 * x[1] ** 2) + 4 * mp.log(x[1]),
        [[2.0, 1.0], [3.1, 1.8]],
    ),
    "scales 24 decades apart": (
        lambda x: np.exp(x[0] * 1e-12) * np.sin(x[1] * 1e12),
        lambda x: mp.exp(x[0] * mp.mpf(1e-12)) * mp.sin(x[1] * mp.mpf(1e12)),
        [[1e12, 1e-12]],
    ),
    "distance": (
        lambda x: np.sqrt(x[0] ** 2 + x[1] ** 2 + 1e-2),
        lambda x: mp.sqrt(x[0] ** 2 + x[1] ** 2 + mp.mpf(1e-2)),
        [[0.1, 0.2], [3.0, 4.0]],
    ),
    "log of a sum": (
        lambda x: np.log(np.exp(x[0]) + np.exp(x[1]) + np.exp(x[2])),
        lambda x: mp.log(mp.exp(x[0]) + mp.exp(x[1]) + mp.exp(x[2])),
        [[0.1, 1.0, -2.0]],
    ),
    "Himmelblau": (
        lambda x: (x[0] ** 2 + x[1] - 11) ** 2 + (x[0] + x[1] ** 2 - 7) ** 2,
        lambda x: (x[0] ** 2 + x[1] - 11) ** 2 + (x[0] + x[1] ** 2 - 7) ** 2,
        [[1.0, 1.5], [3.0, 2.0]],
    ),
    "oscillating in both": (
        lambda x: np.sin(3 * x[0]) * np.cos(5 * x[1]),
        lambda x: mp.sin(3 * x[0]) * mp.cos(5 * x[1]),
        [[0.3, 0.4]],
    ),
    "ratio of polynomials": (
        lambda x: (x[0] ** 2 + x[1]) / (1 + x[1] ** 2 + x[0]),
        lambda x: (x[0] ** 2 + x[1]) / (1 + x[1] ** 2 + x[0]),
        [[0.7, 1.1]],
    ),
}

SCALAR_CASES = [(name, at) for name, (_, _, points) in SCALARS.items() for at in points]
VECTOR_CASES = [(name, tuple(at)) for name, (_, _, points) in VECTORS.items() for at in points]


@cache
def exact_scalar(name, at, order):
    """The derivative of a scalar function, to 60 digits, as a float."""
    with mp.workdps(60):
        return float(mp.diff(SCALARS[name][1], mp.mpf(at), order))


@cache
def exact_vector(name, at):
    """Gradient and Hessian of a function of several parameters, as arrays."""
    size = len(at)
    with mp.workdps(60):
        point = tuple(map(mp.mpf, at))

        def derivative(orders):
            return float(mp.diff(lambda *x: VECTORS[name][1](x), point, tuple(map(int, orders))))

        one = np.eye(size, dtype=int)
        gradient = np.array([derivative(one[i]) for i in range(size)])
        hessian = np.array([[derivative(one[i] + one[j]) for j in range(size)] for i in range(size)])
    return gradient, hessian
