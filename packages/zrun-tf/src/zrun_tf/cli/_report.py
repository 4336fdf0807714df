"""The demo's results as tables and as JSON."""

from __future__ import annotations

import json
import os
import platform
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy
import tensorflow as tf
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from zrun_core import __version__

from ._fit import WAYS
from ._strd import agreeing_digits

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ._demo import Outcome

_WIDTH = 80


def versions() -> dict[str, str]:
    """Return the versions of zrun and of what the fits ran on."""
    return {
        "zrun": __version__,
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
    }


def print_report(outcomes: Sequence[Outcome], picture: Path | None, seconds: float) -> None:
    """Print one table per problem, one of the four ways, and the verdict.

    Args:
        outcomes: the outcomes of `measure_all`.
        picture: where the picture was saved, or None.
        seconds: wall time of the demo.
    """
    # What reads a pipe has no width. A narrow terminal wraps lines; rich would leave out digits to make them fit.
    width = Console().width if sys.stdout.isatty() or "COLUMNS" in os.environ else _WIDTH
    console = Console(width=max(width, _WIDTH), highlight=False)
    for outcome in outcomes:
        if outcome.way == WAYS[0]:
            console.print(_problem_table(outcome), "")
    console.print(_ways_table([outcome for outcome in outcomes if outcome.problem is outcomes[0].problem]), "")
    if picture is not None:
        console.print(f"Picture: {picture}", soft_wrap=True)
    short = [outcome for outcome in outcomes if not outcome.passed]
    for outcome in short:
        digits = min(fit.worst_digits for fit in (outcome.first, *outcome.further))
        console.print(
            f"Fell short: {outcome.problem.name} ({outcome.way.label}) agrees to {digits:.1f} digits; "
            f"{outcome.way.target:.0f} are expected.",
            style="bold red",
        )
    if not short:
        console.print(f"All parameters agree with NIST's certified values. {seconds:.0f} s in all.", style="green")


def _problem_table(outcome: Outcome) -> Table:
    problem, fit = outcome.problem, outcome.first
    table = Table(
        title=f"{problem.name}: {problem.title}\ny = {problem.formula}\n"
        f"{len(problem.y)} measured points, {problem.level} level of difficulty",
        title_justify="left",
        title_style="",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("")
    table.add_column("fitted ± standard error", justify="right", no_wrap=True)
    table.add_column("certified by NIST ± error", justify="right", no_wrap=True)
    for heading in ("value\ndigits", "error\ndigits"):
        table.add_column(heading, justify="right", no_wrap=True, min_width=6)
    for row, name in enumerate(problem.parameters):
        certified = f"{problem.certified[row]:.10e}"
        fitted = _mark_agreement(f"{fit.values[row]:.10e}", certified)
        table.add_row(
            name,
            fitted.append(f" ± {fit.errors[row]:.2e}"),
            f"{certified} ± {problem.certified_errors[row]:.2e}",
            f"{fit.digits[row]:.1f}",
            f"{fit.error_digits[row]:.1f}",
        )
    return table


def _mark_agreement(fitted: str, certified: str) -> Text:
    """Show in bold the leading characters of a number that are those of the certified one."""
    same = next((i for i, (one, other) in enumerate(zip(fitted, certified, strict=False)) if one != other), len(fitted))
    return Text().append(fitted[:same], style="bold").append(fitted[same:], style="dim")


def _ways_table(outcomes: Sequence[Outcome]) -> Table:
    table = Table(
        title=f"The same fit of {outcomes[0].problem.name} in four ways",
        caption="Later fits use the graphs that the first one built; their time is the median (–: none was made). "
        "An evaluation computes all residuals at one point: once for a value, once for a Jacobian by autograd, and at "
        "every point of the differences for a numerical one.",
        title_justify="left",
        caption_justify="left",
        title_style="",
        caption_style="",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("")
    for heading in (
        "first\nms",
        "later\nms",
        "traces",
        "later\ntraces",
        "value\ncalls",
        "Jacobian\ncalls",
        "evalu-\nations",
    ):
        table.add_column(heading, justify="right")
    table.add_column("fewest\ndigits", justify="right")
    for outcome in outcomes:
        fit = outcome.first
        table.add_row(
            outcome.way.label,
            f"{1e3 * fit.seconds:.0f}",
            # One fit alone where that takes long: nothing was measured then that could stand here.
            f"{1e3 * outcome.seconds:.0f}" if outcome.further else "–",
            str(fit.traces),
            str(outcome.further_traces) if outcome.further else "–",
            str(fit.value_calls),
            str(fit.jacobian_calls),
            str(fit.evaluations),
            f"{fit.worst_digits:.1f}",
        )
    return table


def print_json(outcomes: Sequence[Outcome], picture: Path | None, seconds: float) -> None:
    """Print everything that the tables show, and each single fit, as one JSON object.

    Args:
        outcomes: the outcomes of `measure_all`.
        picture: where the picture was saved, or None.
        seconds: wall time of the demo.
    """
    report = {
        "versions": versions(),
        "passed": all(outcome.passed for outcome in outcomes),
        "seconds": round(seconds, 3),
        "picture": None if picture is None else str(picture),
        "fits": [_as_dict(outcome) for outcome in outcomes],
    }
    sys.stdout.write(json.dumps(report, indent=2, allow_nan=False) + "\n")


def _as_dict(outcome: Outcome) -> dict[str, Any]:
    problem, fit = outcome.problem, outcome.first
    return {
        "problem": problem.name,
        "graph": outcome.way.graph,
        "autograd": outcome.way.autograd,
        "target_digits": outcome.way.target,
        "passed": outcome.passed,
        "parameters": {
            name: {
                "value": float(fit.values[row]),
                "error": float(fit.errors[row]),
                "certified": float(problem.certified[row]),
                "certified_error": float(problem.certified_errors[row]),
                "digits": float(fit.digits[row]),
                "error_digits": float(fit.error_digits[row]),
            }
            for row, name in enumerate(problem.parameters)
        },
        "residual_sum_of_squares": fit.rss,
        "certified_residual_sum_of_squares": problem.certified_rss,
        "residual_sum_of_squares_digits": float(agreeing_digits(np.array(fit.rss), np.array(problem.certified_rss))),
        "first_ms": 1e3 * fit.seconds,
        "later_ms": [1e3 * further.seconds for further in outcome.further],
        "traces": fit.traces,
        "later_traces": outcome.further_traces,
        "value_calls": fit.value_calls,
        "jacobian_calls": fit.jacobian_calls,
        "evaluations": fit.evaluations,
    }
