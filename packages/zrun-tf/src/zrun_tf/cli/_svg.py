"""The timeline of a run: a lane per function with its traces and calls, and the memory below."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from zrun_core._cache_info import in_units

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ._record import Record, Trace
    from ._summary import Summary

_WIDTH, _LEFT, _RIGHT = 1100, 230, 20
_LANE, _BAR, _CALLS = 36, 18, 6
_MEMORY = 54
_TOP, _BOTTOM = 8, 26
_MOST_LANES = 14
_LETTERS = 32
# Bars closer than this are one bar: a picture with a bar per trace of a long run would not open.
_GAP = 0.75
_EVENTS_OF_CALLS = ("hit", "build", "eager", "chunks")


class _Scale:
    def __init__(self, start: float, end: float) -> None:
        self.start = start
        self.seconds = max(end - start, 1e-6)
        self._factor = (_WIDTH - _LEFT - _RIGHT) / self.seconds

    def __call__(self, seconds: float) -> float:
        return _LEFT + self._factor * min(max(seconds - self.start, 0.0), self.seconds)


def first_moment(summary: Summary) -> float:
    """Where the timeline begins, in seconds: 0, or a little before the first trace where much passed before it."""
    record = summary.record
    firsts = [trace.start for trace in record.traces[:1]] + [each.start for each in record.bins[:1] if each.start]
    first = min(firsts, default=0.0)
    return first - 0.02 * (record.seconds - first) if first > 0.1 * record.seconds else 0.0


def timeline(summary: Summary, start: float = 0.0) -> str:
    """Draw the timeline.

    Args:
        summary: of the run.
        start: where it begins, in seconds.

    Returns:
        An SVG element; empty where there is nothing to draw.
    """
    record = summary.record
    names = [row.function for row in summary.functions[:_MOST_LANES]]
    if not names:
        return ""
    scale = _Scale(start, record.seconds)
    with_memory = [each for each in record.bins if each.memory is not None]
    height = _TOP + _LANE * len(names) + (_MEMORY if with_memory else 0) + _BOTTOM
    parts = list(_axis(scale, height))
    for index, name in enumerate(names):
        parts.extend(_lane(name, _TOP + _LANE * index, scale, record))
    if with_memory:
        parts.extend(_memory(_TOP + _LANE * len(names), scale, record))
    label = f"Timeline of {scale.seconds:.3g} s: traces and calls of {len(names)} functions"
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'


def _axis(scale: _Scale, height: float) -> Iterator[str]:
    step = _round_step(scale.seconds / 8)
    for number in range(math.ceil(scale.start / step), int((scale.start + scale.seconds) / step) + 1):
        at = scale(number * step)
        yield f'<line class="rule" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP}" y2="{height - _BOTTOM}"/>'
        yield f'<text class="faint" x="{at:.1f}" y="{height - 8}" text-anchor="middle">{number * step:g} s</text>'


def _round_step(least: float) -> float:
    """The next of 1, 2, 5, 10, ... that is no less."""
    power = 1.0
    while power > least:
        power /= 10
    while power * 10 <= least:
        power *= 10
    return float(next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least * (1 - 1e-9)))


def _lane(name: str, top: float, scale: _Scale, record: Record) -> Iterator[str]:
    short = name if len(name) <= _LETTERS else f"…{name[1 - _LETTERS :]}"
    yield f'<text x="{_LEFT - 12}" y="{top + 16}" text-anchor="end">{escape(short)}<title>{escape(name)}</title></text>'
    yield f'<line class="rule" x1="0" x2="{_WIDTH}" y1="{top + _LANE - 3}" y2="{top + _LANE - 3}"/>'
    for first, last, again, said in _merged([trace for trace in record.traces if trace.function == name], scale):
        yield (
            f'<rect class="{"again" if again else "first"}" x="{first:.1f}" y="{top + 2}" '
            f'width="{max(last - first, 1.4):.1f}" height="{_BAR}" rx="1"><title>{escape(said)}</title></rect>'
        )
    rates = [(each, sum(each.counts[event, name] for event in _EVENTS_OF_CALLS)) for each in record.bins]
    most = max((number / max(each.end - each.start, 1e-6) for each, number in rates), default=0.0)
    for each, number in rates:
        if number:
            length = max(each.end - each.start, 1e-6)
            left, right = scale(each.start), scale(each.end)
            yield (
                f'<rect class="calls" x="{left:.1f}" y="{top + _BAR + 5}" width="{max(right - left, 1.0):.1f}" '
                f'height="{_CALLS}" opacity="{0.25 + 0.75 * number / length / most:.2f}"><title>'
                f"{number} calls from {each.start:.3g} to {each.end:.3g} s</title></rect>"
            )


def _merged(traces: Iterable[Trace], scale: _Scale) -> Iterator[tuple[float, float, bool, str]]:
    """Bars as (left, right, whether they are retraces, text); those that would touch are one."""
    bar: tuple[float, float, bool, str] | None = None
    number = 0
    for trace in sorted(traces, key=lambda trace: trace.start):
        left, right = scale(trace.start), scale(trace.end)
        if bar is not None and bar[2] == trace.retrace and left - bar[1] < _GAP:
            number += 1
            bar = (
                bar[0],
                max(right, bar[1]),
                trace.retrace,
                f"{number} traces up to {trace.end:.3g} s; the last: {trace.reason}",
            )
            continue
        if bar is not None:
            yield bar
        number = 1
        bar = (left, right, trace.retrace, f"traced in {trace.seconds:.3g} s at {trace.start:.3g} s: {trace.reason}")
    if bar is not None:
        yield bar


def _memory(top: float, scale: _Scale, record: Record) -> Iterator[str]:
    points = [(each.end, each.memory) for each in record.bins if each.memory is not None]
    most = max(memory for _, memory in points)
    base = top + _MEMORY - 6
    path = [f"M{scale(points[0][0]):.1f},{base:.1f}"]
    path += [f"L{scale(at):.1f},{base - (_MEMORY - 16) * memory / most:.1f}" for at, memory in points]
    path.append(f"L{scale(points[-1][0]):.1f},{base:.1f}Z")
    said = f"resident memory, at most {in_units(most)}"
    yield f'<text class="faint" x="{_LEFT - 12}" y="{top + 24}" text-anchor="end">memory</text>'
    yield f'<text class="faint" x="{_LEFT - 12}" y="{top + 40}" text-anchor="end">up to {in_units(most)}</text>'
    yield f'<path class="memory" d="{"".join(path)}"><title>{escape(said)}</title></path>'
