"""The picture of the demo: one panel per problem, with the data, the fitted curve and the residuals."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from ._nist import Problem
    from ._strd import Vector

# Blue and vermilion of Okabe and Ito, which people with any colour vision tell apart; the shapes differ as well.
_DATA: dict[str, Any] = {
    "color": "#0072B2",
    "marker": "o",
    "linestyle": "none",
    "markersize": 4.4,
    "markeredgewidth": 0,
}
_CURVE: dict[str, Any] = {"color": "#D55E00", "linewidth": 1.6}
_GRID_POINTS = 1000
_MOST_COLUMNS = 4


def draw(fits: Sequence[tuple[Problem, Vector]], path: Path) -> None:
    """Draw every fit into one picture and save it.

    Args:
        fits: each problem with its fitted parameters; at least one.
        path: where to save the picture, as PNG.
    """
    columns = _columns(len(fits))
    rows = math.ceil(len(fits) / columns)
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08)
    figure = Figure(figsize=(max(4.0 * columns, 10.0), 4.4 * rows + 0.7), dpi=150, layout=layout)
    grid = figure.add_gridspec(rows, columns)
    for place, (problem, values) in enumerate(fits):
        inner = grid[place // columns, place % columns].subgridspec(2, 1, height_ratios=(3, 1), hspace=0.02)
        axes: Any = inner.subplots(sharex=True)
        top, bottom = axes
        _panel(top, bottom, problem, values)
        figure.align_ylabels([top, bottom])
    figure.legend(
        handles=[Line2D([], [], **_DATA, label="measured"), Line2D([], [], **_CURVE, label="fit")],
        loc="outside upper right",
        ncols=2,
        frameon=False,
        fontsize=12,
    )
    figure.suptitle("Measured data of NIST's reference problems, fitted with zrun", fontsize=14, x=0.01, ha="left")
    figure.savefig(path, format="png")


def _columns(panels: int) -> int:
    if panels == _MOST_COLUMNS:
        return 2
    return min(panels, 3) if panels <= 6 else _MOST_COLUMNS


def _panel(top: Axes, bottom: Axes, problem: Problem, values: Vector) -> None:
    fine = np.linspace(problem.x.min(), problem.x.max(), _GRID_POINTS)
    top.plot(problem.x, problem.y, **_DATA)
    top.plot(fine, np.asarray(problem.model(fine, *values)), **_CURVE)
    bottom.axhline(0.0, **_CURVE)
    bottom.plot(problem.x, problem.y - np.asarray(problem.model(problem.x, *values)), **_DATA)
    limit = 1.15 * max(abs(low_high) for low_high in bottom.dataLim.intervaly)
    bottom.set_ylim(-limit, limit)
    top.set_title(f"{problem.name}: {problem.title}", fontsize=11, loc="left")
    top.set_ylabel(problem.y_label, fontsize=11)
    bottom.set_ylabel("residual", fontsize=11)
    bottom.set_xlabel(problem.x_label, fontsize=11)
    for axes in (top, bottom):
        axes.tick_params(labelsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="0.92", linewidth=0.8)
        axes.set_axisbelow(True)
