"""The page of a run: one file that needs nothing else, with a timeline and tables that sort."""

from __future__ import annotations

import shlex
import time
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ._svg import first_moment, timeline
from ._text import NOTHING, Fact, facts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ._summary import CauseRow, FunctionRow, Summary

_MOST_ROWS = 1000
_LONG = 15
_MOST_FINDINGS = 10
_LEGEND = (
    ("first", "traced for the first time"),
    ("again", "traced again"),
    ("calls", "calls (darker: more per second)"),
    ("memory", "resident memory"),
)


class _Cell(NamedTuple):
    """A cell: what it shows, what it sorts by, and whether that is a number."""

    html: str
    value: float | str
    number: bool = False


def write_page(summary: Summary, path: str) -> None:
    """Write the page.

    Args:
        summary: of the run.
        path: of the file.

    Raises:
        OSError: it cannot be written.
    """
    Path(path).write_text(page(summary), encoding="utf-8", errors="xmlcharrefreplace")


def page(summary: Summary) -> str:
    """The page of a run.

    Args:
        summary: of the run.

    Returns:
        HTML that refers to nothing outside of itself.
    """
    about = summary.record.about
    data = files("zrun_tf.cli") / "data"
    style, script = ((data / f"report.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    title = escape(str(about.get("program", "a program")))
    began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(about["began"])) if "began" in about else ""
    options = "".join(f", {name} {shlex.quote(value)}" for name, value in about.get("options", {}).items())
    where = f"Begun {began} in {about.get('folder', '')}{options}"
    body = [
        f"<h1>{title}</h1>",
        f'<p class="{"failed" if summary.failed else "muted"}">{escape(summary.outcome)}</p>',
        f'<p class="muted">{escape(where)}</p>',
        _findings(summary),
        '<div class="tiles">',
        *map(_tile, facts(summary)),
        "</div>",
        _picture(summary),
        _causes(summary.causes),
        _functions(summary.functions),
        _gradients(summary),
        _conditions(summary),
        _traces(summary),
    ]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>zrun: {title}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{style}</style></head>'
        f"<body>{''.join(body)}<script>{script}</script></body></html>\n"
    )


def _tile(fact: Fact) -> str:
    return f'<div class="tile">{escape(fact.name)}<b>{escape(fact.value)}</b>{escape(fact.detail)}</div>'


def _findings(summary: Summary) -> str:
    if not summary.findings:
        return ""
    items = (f"<li><b>{escape(f.headline)}</b>{escape(f.detail)}</li>" for f in summary.findings[:_MOST_FINDINGS])
    return f'<ul class="findings">{"".join(items)}</ul>'


def _picture(summary: Summary) -> str:
    start = first_moment(summary)
    picture = timeline(summary, start)
    if not picture:
        return f'<p class="muted">{NOTHING}</p>'
    legend = "".join(f'<span><i style="background: var(--{name})"></i>{escape(text)}</span>' for name, text in _LEGEND)
    note = f"<span>It begins at {start:.3g} s; before that, zrun had nothing to do.</span>" if start else ""
    return f'<h2>Timeline</h2><p class="legend">{legend}{note}</p><div class="scroll">{picture}</div>'


def _table(name: str, caption: str, heads: Sequence[str], rows: Iterable[Sequence[_Cell]]) -> str:
    """A table that sorts; the first row says which columns are numbers."""
    rows = list(rows)
    if not rows:
        return ""
    shown = rows[:_MOST_ROWS]
    more = "" if len(shown) == len(rows) else f" The first {len(shown)} of {len(rows)} rows."
    classes = [' class="number"' if cell.number else "" for cell in rows[0]]
    head = "".join(
        f'<th{kind} scope="col"><button type="button">{escape(text)}</button></th>'
        for text, kind in zip(heads, classes, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f'<td{kind or _words(cell)} data-value="{escape(str(cell.value), quote=True)}">{cell.html}</td>'
            for cell, kind in zip(row, classes, strict=True)
        )
        + "</tr>"
        for row in shown
    )
    note = f"<caption><span>{escape(caption)}{escape(more)}</span></caption>" if caption or more else ""
    return (
        f'<h2>{escape(name)}</h2><div class="scroll"><table class="sortable" id="{name.lower()}">{note}'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _words(cell: _Cell) -> str:
    """The class of cells whose text would fall into a column of single words on a narrow screen."""
    return ' class="words"' if len(str(cell.value)) > _LONG else ""


def _text(text: str) -> _Cell:
    return _Cell(escape(text), text)


def _code(text: str) -> _Cell:
    return _Cell(f"<code>{escape(text)}</code>" if text else "", text)


def _number(number: float, text: str = "") -> _Cell:
    return _Cell(escape(text or str(number)), number, number=True)


def _seconds(seconds: float) -> _Cell:
    return _number(seconds, f"{seconds:.3f}")


def _causes(causes: Sequence[CauseRow]) -> str:
    most = max((cause.times for cause in causes), default=1)
    rows = [
        (
            _code(cause.function),
            _code(cause.argument),
            _Cell(
                f'<div class="share"><i style="width: {100 * cause.times / most:.1f}%"></i>'
                f"<span>{cause.times}</span></div>",
                cause.times,
                number=True,
            ),
            _seconds(cause.seconds),
            _Cell("<br>".join(escape(change) for change in dict.fromkeys((cause.first, cause.last))), cause.last),
            _text(cause.hint),
            _code(", ".join(cause.lines)),
        )
        for cause in causes
    ]
    heads = ("function", "argument", "times", "seconds", "how it changed first and last", "what to do", "called at")
    return _table("Retraces", "What differed from the nearest graph when a function was traced again.", heads, rows)


def _functions(functions: Sequence[FunctionRow]) -> str:
    rows = [
        (
            _code(row.function),
            _text(row.kind),
            _number(row.traces),
            _number(row.retraces),
            _seconds(row.trace_seconds),
            _number(row.hits),
            _number(row.eager),
            _number(row.inlined),
            _number(row.evicted),
            _number(row.dropped),
        )
        for row in functions
    ]
    heads = ("function", "kind", "traces", "again", "trace seconds", "hits", "eager", "inlined", "evicted", "dropped")
    caption = "Evicted: dropped by a budget or cleared. Dropped: what the graph had read changed or died."
    return _table("Functions", caption, heads, rows)


def _gradients(summary: Summary) -> str:
    found = summary.record.gradients
    rows = [
        (_code(function), _text(what), _text(how), _number(number))
        for (function, what, how), number in sorted(found.items(), key=lambda item: -item[1])
    ]
    return _table("Derivatives", "Computed from outside of a graph.", ("function", "what", "how", "times"), rows)


def _traces(summary: Summary) -> str:
    record = summary.record
    rows = [
        (
            _seconds(trace.start),
            _code(trace.function),
            _seconds(trace.seconds),
            _text(trace.reason),
            _code(trace.line),
            _text(trace.thread),
        )
        for trace in record.traces
    ]
    caption = f"{record.further_traces} later ones were counted only." if record.further_traces else ""
    return _table("Traces", caption, ("at second", "function", "seconds", "why", "called at", "thread"), rows)


def _conditions(summary: Summary) -> str:
    end = summary.record.end or {}
    state: dict[str, Any] = end.get("state") or {}
    said = [f"{name} {version}" for name, version in state.get("versions", {}).items()]
    parts = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td><code>{escape(value)}</code></td><td>{escape(origin)}</td></tr>"
        for name, value, origin in state.get("policy") or ()
    )
    policy = f"<table><thead><tr><th>policy</th><th>value</th><th>from</th></tr></thead><tbody>{parts}</tbody></table>"
    cpus = str(summary.record.about.get("cpus", ""))
    threads = (state.get("threads") or {}).get("text", "")
    notes = [cpus, threads, ", ".join(said), str(end.get("state_error", ""))]
    text = "".join(f"<p>{escape(note)}</p>" for note in notes if note)
    return f"<h2>Conditions at the end</h2>{text}{policy if parts else ''}"
