"""The comparisons of `zrun bench` as tables and as JSON."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ._report import versions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ._bench import Comparison

_WIDTH = 100
_BAR = 24


def in_time_units(seconds: float) -> str:
    """Seconds with a unit that reads well: 0.0012 -> "1.2 ms"."""
    for factor, unit in ((1, "s"), (1e3, "ms")):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def print_table(comparisons: Sequence[Comparison], plot: Path | None) -> None:
    """Print a table per comparison, with a bar per ratio.

    Args:
        comparisons: what was measured.
        plot: where the picture was saved, or None.
    """
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH)
    for comparison in comparisons:
        console.print(_table(comparison))
    console.print(
        Text("Ratios: how many times longer a way takes than zrun, the median over rounds and its quartiles.", "dim")
    )
    if plot is not None:
        console.print(f"Picture: {plot}", soft_wrap=True)


def _table(comparison: Comparison) -> Table | Text:
    case = comparison.case
    if comparison.disagreement:
        return Text(f"{case.title}: not measured, because {comparison.disagreement}.", "bold red")
    table = Table(
        title=case.title,
        caption=case.note,
        title_justify="left",
        caption_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("")
    table.add_column(f"per {case.unit}", justify="right", no_wrap=True)
    table.add_column("ratio", justify="right", no_wrap=True)
    table.add_column("quartiles", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    most = max(comparison.ratio(result)[0] for result in comparison.results)
    for result in comparison.results:
        ratio, low, high = comparison.ratio(result)
        bar = "█" * max(1, round(_BAR * ratio / most))
        table.add_row(
            result.way, in_time_units(result.median), f"{ratio:.2f}", f"{low:.2f}–{high:.2f}", Text(bar, "cyan")
        )
    return table


def print_json(comparisons: Sequence[Comparison], plot: Path | None) -> None:
    """Print everything as one JSON object.

    Args:
        comparisons: what was measured.
        plot: where the picture was saved, or None.
    """
    report = {
        "versions": versions(),
        "picture": None if plot is None else str(plot),
        "comparisons": [
            {
                "name": comparison.case.name,
                "title": comparison.case.title,
                "unit": comparison.case.unit,
                "note": comparison.case.note,
                "disagreement": comparison.disagreement or None,
                "ways": [
                    {
                        "way": result.way,
                        "seconds": result.median,
                        "rounds": len(result.seconds),
                        **dict(zip(("ratio", "low", "high"), comparison.ratio(result), strict=True)),
                    }
                    for result in comparison.results
                ],
            }
            for comparison in comparisons
        ],
    }
    sys.stdout.write(json.dumps(report, indent=2, allow_nan=False) + "\n")
