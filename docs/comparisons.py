"""Turns what `nox -s bench` saved into the tables and pictures of the page of comparisons.

    python -m nox -s bench
    python docs/comparisons.py build/bench/ratios.json docs/site/comparisons.md

Each saved run becomes a table on the page, between the two comments that name it (`<!-- measured: NAME -->`, NAME being
the file's), and a picture beside the page. Both say how many times as long each peer takes. It needs Matplotlib.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import textwrap
from pathlib import Path

import matplotlib as mpl

# Peers differ in colour and in shape.
COLOURS = ("#1f6fb4", "#d55e00", "#3d8b5a", "#8b4fa8", "#7a6a2f", "#c03a6b")
MARKERS = "osD^vP"


def peers(saved):
    """The names of what zrun was compared with, each once, in the order of the run."""
    named = list(dict.fromkeys(peer for row in saved["rows"] for peer in row["ratios"]))
    if not named:
        raise SystemExit("Nothing was compared in this run: every row has zrun alone.")
    return named


def factors(row):
    """How many times as long each peer takes, by name."""
    return {peer: 1 / ratio for peer, ratio in row["ratios"].items()}


def table(saved):
    """The comparisons as a table in Markdown, with the machine below it."""
    named = peers(saved)
    lines = [f"| work | zrun | {' | '.join(named)} |", "|---|---" + "|---" * len(named) + "|"]
    for row in saved["rows"]:
        found = factors(row)
        cells = [_digits(found[peer]) if peer in found else "" for peer in named]
        lines.append(f"| {row['work']} | {_time(row['microseconds']['zrun'])} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"*{saved['machine']}.*"])


def _digits(factor):
    return f"{factor:.0f}" if factor >= 9.95 else f"{factor:.1f}" if factor >= 0.995 else f"{factor:.2f}"


def _time(microseconds):
    return f"{microseconds / 1000:.1f} ms" if microseconds >= 1000 else f"{microseconds:.0f} µs"


def draw(saved, out):
    """Draw a row for each work and a mark for each peer, on a logarithmic scale: right of 1, zrun is faster."""
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    # The same picture has the same bytes; text stays text, which is small.
    mpl.rcParams.update({"svg.hashsalt": "zrun", "svg.fonttype": "none", "font.size": 9})
    os.environ["SOURCE_DATE_EPOCH"] = "0"
    named, works = peers(saved), saved["rows"]
    figure, axis = plt.subplots(figsize=(6, 1.2 + 0.4 * len(works)), layout="constrained")
    for peer, colour, marker in zip(named, COLOURS, MARKERS, strict=False):
        points = [(factors(row)[peer], place) for place, row in enumerate(works) if peer in row["ratios"]]
        axis.plot(*zip(*points, strict=True), marker, color=colour, markersize=5, label=peer)
    everything = [factor for row in works for factor in factors(row).values()]
    axis.set(xscale="log", xlim=(min(0.5, *everything) / 1.3, max(2.0, *everything) * 1.3))
    axis.set_xlabel("time of the peer / time of zrun")
    axis.set_yticks(range(len(works)), [textwrap.fill(row["work"], 38) for row in works], fontsize=7)
    axis.invert_yaxis()
    axis.axvline(1, color="0.2", linewidth=1)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.xaxis.set_minor_formatter("")
    axis.grid(axis="both", color="0.88")
    axis.set_axisbelow(True)
    axis.spines[["top", "right", "left"]].set_visible(False)
    figure.legend(loc="outside upper left", ncols=2, frameon=False, fontsize=8)
    figure.savefig(out)
    plt.close(figure)


def fill(page, name, text):
    """Put a text between the comments of a name on a page; an error where the page has none."""
    content = page.read_text(encoding="utf-8")
    pattern = re.compile(rf"(<!-- measured: {re.escape(name)} -->\n).*?(<!-- end of {re.escape(name)} -->)", re.DOTALL)
    if not pattern.search(content):
        raise SystemExit(
            f"{page} has no place for {name}: write `<!-- measured: {name} -->` and `<!-- end of {name} -->`."
        )
    page.write_text(pattern.sub(lambda found: f"{found[1]}\n{text}\n\n{found[2]}", content), encoding="utf-8")


def main():
    """Fill the page with each of the saved runs, and draw their pictures beside it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("saved", nargs="+", type=Path, help="what `nox -s bench` saved")
    parser.add_argument("page", type=Path, help="the page to fill")
    options = parser.parse_args()
    for path in options.saved:
        saved = json.loads(path.read_text(encoding="utf-8"))
        picture = options.page.with_name(f"comparison-{path.stem}.svg")
        draw(saved, picture)
        factor, peer = max((factor, peer) for row in saved["rows"] for peer, factor in factors(row).items())
        says = f"The table below as a picture, on a scale of factors; the largest is {peer}, {_digits(factor)} times."
        fill(options.page, path.stem, f"![{says}]({picture.name})\n\n{table(saved)}")


if __name__ == "__main__":
    main()
