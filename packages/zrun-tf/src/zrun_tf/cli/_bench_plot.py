"""The picture of `zrun bench`: a panel per comparison, a bar per way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from ._bench_report import in_time_units

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ._bench import Comparison

# Blue and vermilion of Okabe and Ito, which people with any colour vision tell apart.
_OWN, _OTHER = "#0072B2", "#D55E00"


def draw(comparisons: Sequence[Comparison], path: Path) -> None:
    """Draw the ratios and save the picture.

    Args:
        comparisons: what was measured; those that disagreed have no panel.
        path: of the picture; its ending says the format.
    """
    shown = [comparison for comparison in comparisons if comparison.results]
    heights = [len(comparison.results) + 1.6 for comparison in shown] or [1.0]
    figure = Figure(figsize=(9.0, 0.62 * sum(heights) + 0.8), dpi=150, layout="constrained")
    figure.suptitle("Time relative to zrun (bars: median of the rounds; lines: quartiles)", x=0.01, ha="left")
    if shown:
        panels: Any = figure.subplots(len(shown), 1, squeeze=False, gridspec_kw={"height_ratios": heights})
        for axes, comparison in zip(panels[:, 0], shown, strict=True):
            _panel(axes, comparison)
    figure.savefig(path)


def _panel(axes: Any, comparison: Comparison) -> None:
    names = [result.way for result in comparison.results]
    ratios = [comparison.ratio(result) for result in comparison.results]
    middles = [ratio[0] for ratio in ratios]
    spread = [[max(m - low, 0.0) for m, low, _ in ratios], [max(high - m, 0.0) for m, _, high in ratios]]
    colours = [_OWN, *[_OTHER] * (len(names) - 1)]
    axes.barh(names, middles, color=colours, xerr=spread, ecolor="0.25", capsize=3, height=0.62)
    room = 0.015 * max(middles)
    for place, (ratio, result) in enumerate(zip(ratios, comparison.results, strict=True)):
        text = f"{ratio[0]:.2f}×  ({in_time_units(result.median)} per {comparison.case.unit})"
        axes.text(max(ratio[0], ratio[2]) + room, place, text, va="center", fontsize=9)
    axes.axvline(1.0, color="0.5", linewidth=0.8, linestyle="--")
    axes.set_xlim(0, 1.35 * max(high for _, _, high in ratios))
    axes.set_title(comparison.case.title, fontsize=10, loc="left")
    axes.invert_yaxis()
    axes.tick_params(labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)
