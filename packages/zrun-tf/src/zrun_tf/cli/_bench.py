"""`zrun bench`: rounds in which every way takes its turn, and the ratios of their medians."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ._bar import bar
from ._bench_cases import MAKERS, Case
from ._bench_report import print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_ROUNDS, _ROUNDS_QUICK = 25, 7
_SECONDS, _SECONDS_QUICK = 20.0, 4.0
_FEWEST = 3


@dataclass(frozen=True)
class Result:
    """What one way took.

    Attributes:
        way: its name.
        seconds: of one run, in each round.
        per_run: what a run consists of: how many calls, toys or evaluations.
    """

    way: str
    seconds: tuple[float, ...]
    per_run: int

    @property
    def median(self) -> float:
        """Seconds for one call, toy or evaluation."""
        return statistics.median(self.seconds) / self.per_run


@dataclass(frozen=True)
class Comparison:
    """One case, measured.

    Attributes:
        case: what was compared.
        results: one per way; zrun's is the first.
        disagreement: how two ways differ in their results; empty where they agree.
    """

    case: Case
    results: tuple[Result, ...]
    disagreement: str = ""

    def ratio(self, result: Result) -> tuple[float, float, float]:
        """How many times longer a way takes than zrun: the median over rounds, and the quartiles.

        Args:
            result: of the way.
        """
        ratios = [other / own for other, own in zip(result.seconds, self.results[0].seconds, strict=True)]
        low, middle, high = np.percentile(ratios, [25, 50, 75])
        return float(middle), float(low), float(high)


def measure(case: Case, *, quick: bool) -> Comparison:
    """Run each way of a case in turn, round after round.

    Args:
        case: what is compared; each of its ways has run once already, so that everything is traced.
        quick: fewer rounds.

    Returns:
        The times, or how the ways disagree.
    """
    values = {way: np.asarray(run()) for way, run in case.ways.items()}
    first, *others = values.items()
    for name, value in others:
        if not np.allclose(value, first[1], rtol=case.tolerance, atol=case.tolerance):
            worst = np.max(np.abs(value - first[1]))
            return Comparison(case, (), f"{name} and {first[0]} differ by up to {worst:.3g}")
    seconds: dict[str, list[float]] = {way: [] for way in case.ways}
    began = time.perf_counter()
    rounds, limit = (_ROUNDS_QUICK, _SECONDS_QUICK) if quick else (_ROUNDS, _SECONDS)
    for number in range(rounds):
        if number >= _FEWEST and time.perf_counter() - began > limit:
            break
        for way, run in case.ways.items():
            start = time.perf_counter()
            run()
            seconds[way].append(time.perf_counter() - start)
    return Comparison(case, tuple(Result(way, tuple(took), case.per_run[way]) for way, took in seconds.items()))


def run_bench(names: Sequence[str], *, quick: bool, plot: Path | None, as_json: bool) -> int:
    """Run comparisons and print them.

    Args:
        names: of the cases.
        quick: fewer rounds.
        plot: where to save the picture; None: no picture.
        as_json: print JSON instead of a table.

    Returns:
        The exit code: 1 if two ways disagreed, else 0.
    """
    comparisons = []
    with bar("comparing") as progress:
        task = progress.add_task("", total=len(names))
        for name in dict.fromkeys(names):
            progress.update(task, description=f"{name}: tracing")
            case = MAKERS[name]()
            progress.update(task, description=f"{name}: {case.title}")
            comparisons.append(measure(case, quick=quick))
            progress.advance(task)
    if plot is not None:
        from ._bench_plot import draw

        draw(comparisons, plot)
    (print_json if as_json else print_table)(comparisons, plot)
    return 1 if any(comparison.disagreement for comparison in comparisons) else 0
