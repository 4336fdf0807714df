"""A toy study through zfit's own API, with zfit as released and on zrun: new data and a new loss for each toy."""

from __future__ import annotations

import gc
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from zrun_compat import zfit as on_zrun
from zrun_core.testing import count_traces

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))

import toys

# zfit warns about its own calls.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
BLOCKS, AS_RELEASED, ON_ZRUN, TRACING = 4, 3, 6, 2


@pytest.fixture(scope="module")
def fit():
    """Fits one toy; returns the minimum and the parameters there."""
    zfit = pytest.importorskip("zfit", exc_type=ImportError)
    space = zfit.Space("x", limits=(toys.LOW, toys.HIGH))
    fraction = zfit.Parameter("toy_fraction", 0.3, 0.01, 0.99)
    mu = zfit.Parameter("toy_mu", 5.0, 2.0, 8.0)
    sigma = zfit.Parameter("toy_sigma", 1.0, 0.2, 3.0)
    slope = zfit.Parameter("toy_slope", -0.3, -2.0, -0.01)
    params, start = [fraction, mu, sigma, slope], [0.3, 5.0, 1.0, -0.3]
    peak = zfit.pdf.Gauss(mu=mu, sigma=sigma, obs=space)
    model = zfit.pdf.SumPDF([peak, zfit.pdf.Exponential(slope, obs=space)], fracs=fraction)
    minimizer = zfit.minimize.Minuit()

    def run(array):
        zfit.param.set_values(params, start)
        loss = zfit.loss.UnbinnedNLL(model, zfit.Data.from_numpy(obs=space, array=array))
        result = minimizer.minimize(loss)
        assert result.valid
        return np.array([result.fmin, *(result.params[each]["value"] for each in params)])

    return run


def _timed(fit, samples):
    seconds, minima = [], []
    for array in samples:
        begin = time.perf_counter()
        minima.append(fit(array))
        seconds.append(time.perf_counter() - begin)
    return seconds, minima


def test_toys_as_released_and_on_zrun(compare, fit):
    rng = np.random.default_rng(7)
    times, differences = {"zrun": [], "zfit as released": []}, []
    fit(toys.sample(rng))
    for _ in range(BLOCKS):
        samples = [toys.sample(rng) for _ in range(ON_ZRUN)]
        seconds, released = _timed(fit, samples[:AS_RELEASED])
        times["zfit as released"] += seconds
        on_zrun.install()
        try:
            # Taking it away drops the graphs, so the first ones of each block trace.
            _timed(fit, samples[:TRACING])
            seconds, minima = _timed(fit, samples)
        finally:
            on_zrun.uninstall()
        times["zrun"] += seconds
        np.testing.assert_allclose(minima[:AS_RELEASED], released, rtol=1e-8)
        differences.append(np.abs(np.subtract(minima[:AS_RELEASED], released) / released).max())
    compare.from_times("one toy through zfit: new data, new loss", times)
    compare.note(f"Largest relative difference of minima and parameters of zfit on zrun: {max(differences):.1e}.")


def test_memory_of_300_toys(fit, compare):
    rng = np.random.default_rng(8)
    on_zrun.install()
    try:
        for _ in range(10):
            fit(toys.sample(rng))
        with count_traces() as traces:
            megabytes = [_resident()]
            for _ in range(5):
                for _ in range(58):
                    fit(toys.sample(rng))
                megabytes.append(_resident())
    finally:
        on_zrun.uninstall()
    found = ", ".join(f"{each:.1f}" for each in megabytes)
    compare.note(f"Megabytes after 10, 68, 126, 184, 242 and 300 toys of zfit on zrun: {found}.")
    assert traces.total == 0, traces.by_function
    assert megabytes[-1] - megabytes[0] < 10.0


def _resident():
    status = Path("/proc/self/status")
    if not status.is_file():
        pytest.skip("needs /proc")
    gc.collect()
    return int(status.read_text().split("VmRSS:")[1].split()[0]) / 1024
