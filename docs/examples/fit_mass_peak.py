"""Unbinned likelihood fit of a peak over a background: the Z in the dimuon masses from 70 to 110 GeV.

The peak is a Breit-Wigner line of the Z, smeared by the detector's resolution (a Gaussian); the background falls
exponentially. Both are normalised on the window, in closed form.

    python fit_mass_peak.py [MASSES.csv] [--every N]

It needs iminuit: python -m pip install iminuit

The file holds one mass in GeV per line, first of the columns if there are several, under a header line. Without a file,
a toy sample is generated, the same wherever the script is run.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from iminuit import Minuit

import zrun_tf as zrun

LOW, HIGH = 70.0, 110.0
LIMITS = {"width": (1.0, 10.0), "resolution": (0.1, 3.0), "signal": (0.0, 1.0)}
SEED = 20261122
FEWEST = 50

# The smearing is a sum over points a tenth of the resolution apart. A sum of lines wider than their distance equals
# their convolution: to seven digits for the Z, and to four anywhere within LIMITS.
OFFSETS = np.linspace(-6.0, 6.0, 121)
WEIGHTS = np.exp(-(OFFSETS**2) / 2) / np.exp(-(OFFSETS**2) / 2).sum()


def peak(mass, m_z, width, resolution):
    distance = mass[:, None] - m_z - resolution * OFFSETS
    line = (width / 2 / math.pi) / (distance**2 + width**2 / 4)
    centres = m_z + resolution * OFFSETS
    inside = (tf.atan((HIGH - centres) / (width / 2)) - tf.atan((LOW - centres) / (width / 2))) / math.pi
    return tf.reduce_sum(WEIGHTS * line, axis=1) / tf.reduce_sum(WEIGHTS * inside)


def background(mass, slope):
    # A slope of exactly zero would be 0/0; Minuit never meets it.
    return slope * tf.exp(-slope * (mass - LOW)) / (1 - tf.exp(-slope * (HIGH - LOW)))


def density(mass, m_z, width, resolution, signal, slope):
    return signal * peak(mass, m_z, width, resolution) + (1 - signal) * background(mass, slope)


@zrun.function(kind="loss")
def negative_log_likelihood(m_z, width, resolution, signal, slope, mass):
    return -tf.reduce_sum(tf.math.log(density(mass, m_z, width, resolution, signal, slope)))


def toy_sample(events=2000):
    """Masses drawn from the model itself: 90 % Z bosons seen with a resolution of 1.5 GeV."""
    random = np.random.default_rng(SEED)
    z = 91.19 + 2.5 / 2 * random.standard_cauchy(4 * events) + random.normal(0.0, 1.5, 4 * events)
    falling = LOW - np.log(1 - random.uniform(size=events) * (1 - math.exp(-0.03 * (HIGH - LOW)))) / 0.03
    z = z[(z > LOW) & (z < HIGH)][: round(0.9 * events)]
    return np.concatenate([z, falling[: events - len(z)]])


def read_masses():
    parser = argparse.ArgumentParser(description="Fit the Z in dimuon masses.")
    parser.add_argument("masses", nargs="?", type=Path, help="one mass in GeV per line, under a header line")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="use every Nth mass only")
    options = parser.parse_args()
    if options.every < 1:
        parser.error(f"--every takes a number of lines, 1 or more; got {options.every}")
    path = options.masses
    if path is None:
        print(f"No file given: a toy sample, generated with seed {SEED}")
        mass = toy_sample()[:: options.every]
    else:
        print(f"Dimuon masses from {path}")
        try:
            mass = np.loadtxt(path, delimiter=",", skiprows=1, usecols=0, ndmin=1)[:: options.every]
        except (OSError, ValueError) as error:
            sys.exit(f"{path} cannot be read as one mass per line under a header line: {error}")
    mass = mass[(mass > LOW) & (mass < HIGH)]
    if len(mass) < FEWEST:
        sys.exit(f"{len(mass)} masses lie between {LOW:g} and {HIGH:g} GeV; a fit needs {FEWEST} or more")
    correlation = np.corrcoef(mass[1:], mass[:-1])[0, 1]
    if correlation > 0.2:
        # The likelihood takes each mass for an event of its own. Of N masses in a row that belong to one event, N - 1
        # are followed by another of it.
        print(f"Neighbouring masses are correlated ({correlation:.2f}), so the errors will be too small.")
        print(f"If the file lists each event several times (here about {1 / (1 - correlation):.1f}), use --every N.")
    return mass


def plot(mass, values, path):
    counts, edges = np.histogram(mass, bins=40, range=(LOW, HIGH))
    centres, bin_width = (edges[:-1] + edges[1:]) / 2, edges[1] - edges[0]
    fine = np.linspace(LOW, HIGH, 1001)
    # Each bin's expectation is the mean of the curve over it, not its value in the middle.
    samples = edges[:-1, None] + bin_width * (np.arange(20) + 0.5) / 20
    curve = density(samples.reshape(-1), **values).numpy().reshape(samples.shape).mean(axis=1)
    expected = len(mass) * bin_width * curve
    figure, (top, bottom) = plt.subplots(2, sharex=True, height_ratios=(3, 1), figsize=(8, 6), layout="constrained")
    top.errorbar(centres, counts, np.sqrt(counts), fmt="ko", markersize=4, label="data")
    scale = len(mass) * bin_width
    top.plot(fine, scale * density(fine, **values).numpy(), color="#D55E00", label="Z and background")
    only_background = scale * (1 - values["signal"]) * background(fine, values["slope"]).numpy()
    top.plot(fine, only_background, color="#0072B2", linestyle="--", label="background")
    top.set(ylabel=f"events / {bin_width:g} GeV", ylim=(0, None))
    top.legend(frameon=False)
    bottom.bar(centres, (counts - expected) / np.sqrt(expected), width=bin_width, color="0.6")
    bottom.axhline(0, color="#D55E00")
    bottom.set(xlabel="dimuon mass (GeV)", ylabel="pull", ylim=(-5, 5), xlim=(LOW, HIGH))
    figure.savefig(path, dpi=150)


def main():
    mass = read_masses()
    start = {"m_z": 91.0, "width": 2.5, "resolution": 1.5, "signal": 0.8, "slope": 0.02}
    objective = zrun.objective(negative_log_likelihood, start, mass=mass)
    minuit = Minuit(objective, objective.x0, grad=objective.gradient, name=objective.names)
    minuit.errordef = Minuit.LIKELIHOOD
    for name, limits in LIMITS.items():
        minuit.limits[name] = limits
    minuit.migrad()
    minuit.hesse()
    if not minuit.valid:
        sys.exit(f"The fit did not converge:\n{minuit.fmin}")
    units = {"m_z": " GeV", "width": " GeV", "resolution": " GeV", "signal": "", "slope": " / GeV"}
    print(f"{len(mass)} masses between {LOW:g} and {HIGH:g} GeV")
    for name, unit in units.items():
        print(f"{name:>10} = {minuit.values[name]:.3f} ± {minuit.errors[name]:.3f}{unit}")
    plot(mass, dict(zip(objective.names, np.array(minuit.values), strict=True)), "fit_mass_peak.png")
    print("Plot: fit_mass_peak.png")


if __name__ == "__main__":
    main()
