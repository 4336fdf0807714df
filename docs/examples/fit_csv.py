"""Least-squares fit of a model to two columns of a CSV file.

Copy this script, change what stands at its top (the columns, the start values and the model), and run it:

    python fit_csv.py [FILE.csv]

The file has a header line that names its columns. The one it reads by default is the data set Eckerle4 of the NIST
Statistical Reference Datasets: transmittance over wavelength, with a line of Gaussian shape.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from scipy.optimize import least_squares

import zrun_tf as zrun

X, Y = "wavelength", "transmittance"
start = {"area": 1.5, "width": 5.0, "centre": 450.0}


def model(x, area, width, centre):
    return area / width * tf.exp(-0.5 * ((x - centre) / width) ** 2)


def residuals(area, width, centre, x, y):
    return y - model(x, area, width, centre)


path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("transmittance.csv")
if not path.is_file():
    sys.exit(f"{path} is not there: name a CSV file, or copy transmittance.csv beside this script")
data = np.atleast_1d(np.genfromtxt(path, delimiter=",", names=True))
if not {X, Y} <= set(data.dtype.names or ()):
    columns = ", ".join(data.dtype.names or ("none",))
    sys.exit(f"{path} has no columns {X} and {Y}, but {columns}: change X and Y at the top of this script")
complete = np.isfinite(data[X]) & np.isfinite(data[Y])
if not complete.all():
    print(f"{np.sum(~complete)} of {len(data)} rows have no number in one of the two columns; they are left out")
x, y = data[X][complete], data[Y][complete]
if len(x) <= len(start):
    sys.exit(f"{path} has {len(x)} points, and {len(start)} parameters need at least {len(start) + 1}")

# The data are inputs: `objective.with_data(x=..., y=...)` fits other data with the same graphs.
objective = zrun.objective(residuals, start, x=x, y=y)
fit = least_squares(objective.value, objective.x0, jac=objective.jacobian, x_scale="jac")
if not fit.success:
    sys.exit(f"The fit did not converge: {fit.message}")

degrees_of_freedom = len(y) - len(start)
variance = 2 * fit.cost / degrees_of_freedom
errors = np.sqrt(np.diag(variance * np.linalg.inv(fit.jac.T @ fit.jac)))
for name, value, error in zip(start, fit.x, errors, strict=True):
    print(f"{name:>8} = {value:.5g} ± {error:.2g}")
print(f"{len(y)} points, standard deviation of the residuals {np.sqrt(variance):.3g}")

figure, (top, bottom) = plt.subplots(2, sharex=True, height_ratios=(3, 1), layout="constrained")
fine = np.linspace(x.min(), x.max(), 1000)
top.plot(x, y, "o", markersize=4, label="data")
top.plot(fine, model(fine, *fit.x), label="fit")
top.set_ylabel(Y)
top.legend()
bottom.axhline(0, color="C1")
bottom.plot(x, fit.fun, "o", markersize=4)
bottom.set(xlabel=X, ylabel="residual")
figure.savefig("fit_csv.png", dpi=150)
print("Plot: fit_csv.png")
