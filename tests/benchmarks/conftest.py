"""Comparisons of costs: interleaved rounds, medians, one table of ratios at the end of the run."""

from __future__ import annotations

import gc
import json
import platform
import statistics
import sys
import time
from pathlib import Path

import pytest

OUT = Path(__file__).parents[2] / "build" / "bench"
ROWS = pytest.StashKey[list]()


class Comparison:
    """Times several ways to do one thing, in turn, so that a machine that slows down slows all of them."""

    def __init__(self, rows):
        self._rows = rows

    def __call__(self, work, ours, peers, *, number=2000, rounds=25):
        """Time `ours` and each of `peers` (name -> callable); returns the ratio ours / peer by name."""
        ways = {"zrun": ours, **peers}
        times = {name: [] for name in ways}
        for way in ways.values():
            _seconds(way, number)
        for _ in range(rounds):
            for name, way in ways.items():
                times[name].append(_seconds(way, number))
        medians = {name: statistics.median(values) / number for name, values in times.items()}
        ratios = {name: medians["zrun"] / medians[name] for name in peers}
        self._rows.append({"work": work, "microseconds": {n: s * 1e6 for n, s in medians.items()}, "ratios": ratios})
        return ratios


def _seconds(way, number):
    repeat = range(number)
    enabled = gc.isenabled()
    gc.disable()
    try:
        start = time.perf_counter()
        for _ in repeat:
            way()
        return time.perf_counter() - start
    finally:
        if enabled:
            gc.enable()


def pytest_configure(config):
    config.stash[ROWS] = []


@pytest.fixture
def compare(pytestconfig):
    return Comparison(pytestconfig.stash[ROWS])


def pytest_terminal_summary(terminalreporter, config):
    rows = config.stash[ROWS]
    if not rows:
        return
    lines = ["| work | zrun, µs | peer | peer, µs | zrun / peer |", "|---|---|---|---|---|"]
    for row in rows:
        own = row["microseconds"]["zrun"]
        for peer, ratio in row["ratios"].items():
            lines.append(f"| {row['work']} | {own:.2f} | {peer} | {row['microseconds'][peer]:.2f} | {ratio:.2f} |")
    machine = (
        f"{platform.machine()}, {platform.system()}, Python {sys.version.split()[0]}; medians of interleaved rounds"
    )
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "ratios.md").write_text("\n".join([*lines, "", machine, ""]), encoding="utf-8")
    (OUT / "ratios.json").write_text(json.dumps({"machine": machine, "rows": rows}, indent=1), encoding="utf-8")
    terminalreporter.write_sep("=", "costs, as ratios")
    for line in [*lines, "", machine, f"saved in {OUT}"]:
        terminalreporter.write_line(line)
