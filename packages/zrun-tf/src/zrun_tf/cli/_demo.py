"""`zrun demo`: fit the shipped problems, one of them in four ways, report, draw."""

from __future__ import annotations

import statistics
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.progress import MofNCompleteColumn

from ._bar import bar
from ._fit import WAYS, Fit, Way, fit, make_objective
from ._nist import SHIPPED, Problem, load
from ._report import print_json, print_report

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_MOST_REPEATS = 5
_SECONDS_OF_REPEATS = 1.0
_TOO_LONG_TO_REPEAT = 5.0


@dataclass(frozen=True, eq=False)
class Outcome:
    """One problem, fitted several times in one way.

    Attributes:
        first: the first fit, which builds what graphs there are.
        further: fits with the same objective after it; empty where one fit alone takes long.
    """

    problem: Problem
    way: Way
    first: Fit
    further: tuple[Fit, ...]

    @property
    def seconds(self) -> float:
        """Median wall time of the further fits; that of the first fit where there are none."""
        return statistics.median(fit.seconds for fit in self.further or (self.first,))

    @property
    def further_traces(self) -> int:
        """Graphs built by all fits after the first one."""
        return sum(fit.traces for fit in self.further)

    @property
    def passed(self) -> bool:
        """Whether every fit reached the digits that its kind of derivative should."""
        return all(fit.worst_digits >= self.way.target for fit in (self.first, *self.further))


def measure(problem: Problem, way: Way) -> Outcome:
    """Fit a problem in one way, from NIST's second starting point, as often as a second allows.

    Args:
        problem: the problem.
        way: graph or eager, automatic or numerical derivatives.

    Returns:
        The fits.
    """
    objective = make_objective(problem)
    first = fit(problem, way, objective=objective)
    further: list[Fit] = []
    began = time.perf_counter()
    if first.seconds < _TOO_LONG_TO_REPEAT:
        while len(further) < _MOST_REPEATS and time.perf_counter() - began < _SECONDS_OF_REPEATS:
            further.append(fit(problem, way, objective=objective))
    return Outcome(problem, way, first, tuple(further))


def plan(names: Sequence[str]) -> list[tuple[str, Way]]:
    """What to measure: the first problem in all four ways, the others as graphs, since eager fits take long.

    Args:
        names: names of shipped problems, at least one.

    Returns:
        A name and a way for each measurement.
    """
    return [(name, way) for name in names for way in WAYS if way.graph or name == names[0]]


def measure_all(names: Sequence[str], on_progress: Callable[[str], None] = lambda _: None) -> list[Outcome]:
    """Make all measurements of a plan.

    Args:
        names: names of shipped problems, at least one.
        on_progress: called before each measurement with what it is.

    Returns:
        An outcome per measurement.
    """
    outcomes = []
    for name, way in plan(names):
        on_progress(f"{name}, {way.label}")
        outcomes.append(measure(load(name), way))
    return outcomes


def run_demo(names: Sequence[str], picture: Path | None, *, as_json: bool = False) -> int:
    """Run the demo and print its report.

    Args:
        names: names of shipped problems; empty: all of them.
        picture: where to save the picture; None: no picture.
        as_json: print JSON instead of tables.

    Returns:
        The exit code: 0 if all fits reached their digits and the picture was saved, else 1.
    """
    names = tuple(names) or SHIPPED
    began = time.perf_counter()
    with bar("fitting", MofNCompleteColumn()) as progress:
        task = progress.add_task("", total=len(plan(names)))
        done = -1

        def show(what: str) -> None:
            nonlocal done
            done += 1
            progress.update(task, description=what, completed=done)

        outcomes = measure_all(names, show)
    unsaved = None
    if picture is not None:
        try:
            draw_outcomes(outcomes, picture)
        except OSError as error:
            # The fits took long; what they found is still to be seen.
            unsaved = f"zrun: the picture could not be saved as {picture}: {error.strerror or error}.\n"
            picture = None
    seconds = time.perf_counter() - began
    (print_json if as_json else print_report)(outcomes, picture, seconds)
    if unsaved is not None:
        sys.stderr.write(unsaved)
    return 0 if unsaved is None and all(outcome.passed for outcome in outcomes) else 1


def draw_outcomes(outcomes: Sequence[Outcome], picture: Path) -> None:
    """Draw each problem with the parameters that its fit as a graph with automatic derivatives found.

    Args:
        outcomes: the outcomes of `measure_all`.
        picture: where to save the picture.

    Raises:
        OSError: it cannot be saved there.
    """
    from ._picture import draw

    best = [outcome for outcome in outcomes if outcome.way == WAYS[0]]
    draw([(outcome.problem, outcome.first.values) for outcome in best], picture)
