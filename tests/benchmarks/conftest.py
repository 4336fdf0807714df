"""Comparisons of costs: interleaved rounds, medians, one table of ratios at the end of the run."""

from __future__ import annotations

import contextlib
import gc
import importlib.metadata
import json
import os
import platform
import re
import statistics
import time
from pathlib import Path

import pytest

OUT = Path(__file__).parents[2] / "build" / "bench"
CPUS = Path("/proc/cpuinfo")
COMPARED = ("tensorflow", "numpy", "jax", "zfit", "iminuit", "numba-stats", "numdifftools", "jacobi", "scipy")
ROWS = pytest.StashKey[list]()
NOTES = pytest.StashKey[list]()
_REST = 0.05


class Comparison:
    """Times several ways to do one thing, in turn, so that a machine that slows down slows all of them."""

    def __init__(self, rows, notes):
        self._rows, self._notes = rows, notes

    def note(self, text):
        """Have a sentence under the table."""
        self._notes.append(text)

    def __call__(self, work, ours, peers, *, number=2000, rounds=25, errors=None):
        """Time `ours` and each of `peers` (name -> callable); returns the ratio ours / peer by name.

        `errors` are the largest errors of what they give, by name, for the table.
        """
        ways = {"zrun": ours, **peers}
        times = {name: [] for name in ways}
        for way in ways.values():
            _seconds(way, number)
        # Each round begins with another, so that none is always timed after the same one.
        names = list(ways)
        for turn in range(rounds):
            first = turn % len(names)
            for name in names[first:] + names[:first]:
                times[name].append(_seconds(ways[name], number))
        return self.from_times(
            work, {name: [each / number for each in values] for name, values in times.items()}, errors=errors
        )

    def from_times(self, work, times, *, errors=None):
        """Compare seconds that were taken elsewhere in turn (`"zrun"` and each peer -> list); returns the ratios."""
        medians = {name: statistics.median(values) for name, values in times.items()}
        peers = [name for name in times if name != "zrun"]
        ratios = {name: medians["zrun"] / medians[name] for name in peers}
        microseconds = {name: seconds * 1e6 for name, seconds in medians.items()}
        self._rows.append({"work": work, "microseconds": microseconds, "ratios": ratios, "errors": errors or {}})
        return ratios


def _seconds(way, number):
    repeat = range(number)
    enabled = gc.isenabled()
    gc.disable()
    # Threads of OpenMP, which numba uses, spin for some time after their work, and take a CPU from what is next.
    time.sleep(_REST)
    try:
        start = time.perf_counter()
        for _ in repeat:
            way()
        return time.perf_counter() - start
    finally:
        if enabled:
            gc.enable()


def _machine():
    """The processor and the versions of what is compared."""
    named = re.search(r"model name\s*:\s*(.+)", CPUS.read_text(encoding="utf-8")) if CPUS.exists() else None
    processor = named[1] if named else platform.processor() or platform.machine()
    versions = [f"Python {platform.python_version()}"]
    for name in COMPARED:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{name} {importlib.metadata.version(name)}")
    return f"{processor}, {os.cpu_count()} CPUs, {platform.system()}, {', '.join(versions)}"


def pytest_configure(config):
    config.stash[ROWS], config.stash[NOTES] = [], []


@pytest.fixture
def compare(pytestconfig):
    return Comparison(pytestconfig.stash[ROWS], pytestconfig.stash[NOTES])


def pytest_terminal_summary(terminalreporter, config):
    rows, notes = config.stash[ROWS], config.stash[NOTES]
    if not rows and not notes:
        return
    lines = ["| work | zrun, µs | peer | peer, µs | zrun / peer | errors |", "|---|---|---|---|---|---|"]
    for row in rows:
        times, errors = row["microseconds"], row["errors"]
        for peer, ratio in (row["ratios"] or {"—": float("nan")}).items():
            found = " / ".join(f"{errors[name]:.1e}" for name in ("zrun", peer) if name in errors)
            own, theirs = times["zrun"], times.get(peer, float("nan"))
            lines.append(f"| {row['work']} | {own:.2f} | {peer} | {theirs:.2f} | {ratio:.3f} | {found} |")
    machine = f"{_machine()}; medians of interleaved rounds"
    lines += ["", *notes] if notes else []
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "ratios.md").write_text("\n".join([*lines, "", machine, ""]), encoding="utf-8")
    saved = {"machine": machine, "rows": rows, "notes": notes}
    (OUT / "ratios.json").write_text(json.dumps(saved, indent=1), encoding="utf-8")
    terminalreporter.write_sep("=", "costs, as ratios")
    for line in [*lines, "", machine, f"saved in {OUT}"]:
        terminalreporter.write_line(line)
