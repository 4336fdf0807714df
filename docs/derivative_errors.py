"""Draws the true errors of numerical derivatives against their estimates, over the tests' zoo of functions.

    python docs/derivative_errors.py docs/site/derivative-errors.svg

prints the coverage and the median overestimate. It needs matplotlib, mpmath and SciPy beside zrun-tf.
"""

from __future__ import annotations

import math
import sys
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import mpmath as mp
import numpy as np

from zrun_tf import GradientError
from zrun_tf.gradients._numeric import numeric_hessian, numeric_jacobian

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "tf"))
from derivative_zoo import SCALARS

ROUNDING = 4e-16
TINY = 1e-250


def main(out):
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(20260101)
    figure, axes = plt.subplots(1, 2, figsize=(9.0, 4.4), layout="constrained", sharey=True)
    for order, axis in zip((1, 2), axes, strict=True):
        true, estimated = errors(order, rng)
        covered = true <= estimated
        over = np.median(estimated / true)
        print(f"derivative {order}: {true.size} cases, {covered.mean():.1%} covered, median overestimate {over:.0f}")
        axis.loglog(true[covered], estimated[covered], ".", color="#1f6fb4", markersize=4, label="covered")
        axis.loglog(true[~covered], estimated[~covered], "x", color="#c0392b", markersize=5, label="not covered")
        line = np.array([1e-17, 1e2])
        axis.loglog(line, line, "-", color="0.3", linewidth=0.8, label="estimate = error")
        axis.loglog(line, 30 * line, ":", color="0.3", linewidth=0.8, label="30 times the error")
        axis.set(xlim=(1e-16, 1e1), ylim=(1e-16, 1e1), xlabel="true error, relative")
        axis.set_title(f"{('first', 'second')[order - 1]} derivative: {covered.mean():.1%} covered, median {over:.0f}×")
    axes[0].set_ylabel("estimated error, relative")
    axes[0].legend(loc="upper left", fontsize=8)
    figure.savefig(out, metadata={"Date": None} if str(out).endswith(".svg") else None)


def errors(order, rng):
    """True and estimated relative errors at the zoo's points and at two more near each."""
    rows = []
    for function, exact, points in SCALARS.values():
        for at in [x * factor for x in points for factor in (1.0, *rng.uniform(0.9, 1.1, 2))]:
            value, error = measured(function, at, order)
            with mp.workdps(60):
                truth = mp.diff(exact, mp.mpf(at), order)
            if math.isfinite(value + error) and mp.im(truth) == 0 and abs(truth) > TINY:
                size = abs(float(truth))
                rounding = ROUNDING * size
                rows.append((max(abs(value - float(truth)), rounding) / size, (error + rounding) / size))
    return np.array(rows).T


def measured(function, at, order):
    def evaluate(points):
        with np.errstate(all="ignore"):
            return np.array([float(function(point[0])) for point in points])

    try:
        if order == 1:
            found = numeric_jacobian(evaluate, [at])
            return found.jacobian[0], found.error[0]
        second = numeric_hessian(evaluate, [at], diagonal=True)
        return second.hessian[0, 0], second.error[0, 0]
    except GradientError:
        # Outside of its domain.
        return math.nan, math.nan


if __name__ == "__main__":
    main(Path(sys.argv[1]))
