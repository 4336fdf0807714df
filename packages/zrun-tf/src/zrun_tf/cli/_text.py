"""The summary of a run on the terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from zrun_core._cache_info import in_units

if TYPE_CHECKING:
    from ._summary import Summary

_MOST_ROWS = 12
_MOST_FINDINGS = 5
_WIDTH = 100
NOTHING = "No call of a zrun function came to an end: there was none, or each raised an error."
_ALWAYS = ("time", "traces")


class Fact(NamedTuple):
    """One number of a run.

    Attributes:
        name: what it is.
        value: the number with its unit.
        detail: what belongs to it; may be empty.
    """

    name: str
    value: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.value} ({self.detail})" if self.detail else self.value


def facts(summary: Summary) -> list[Fact]:
    """The run in a few numbers.

    Args:
        summary: of the run.
    """
    record, totals = summary.record, summary.totals
    hits = totals.get("hit", 0)
    share = f"{summary.trace_seconds / record.seconds:.0%} of the time" if summary.traces and record.seconds else ""
    lost = totals.get("evict", 0) + totals.get("invalidate", 0)
    return [
        Fact("time", f"{record.seconds:.3g} s", f"{record.end['cpu_seconds']:.3g} s of CPU" if record.end else ""),
        Fact("traces", str(summary.traces), f"{summary.retraces} again" if summary.traces else ""),
        Fact("time in traces", f"{summary.trace_seconds:.3g} s", share),
        Fact("cache hits", str(hits), f"{hits / (hits + summary.traces):.1%} of look-ups" if hits else ""),
        Fact("graphs lost", str(lost), f"{totals.get('evict', 0)} evicted" if lost else ""),
        Fact("eager calls", str(totals.get("eager", 0))),
        Fact(
            "derivatives",
            str(sum(summary.gradients.values())),
            ", ".join(f"{number} {how}" for how, number in sorted(summary.gradients.items())),
        ),
        Fact("chunks", str(totals.get("chunks", 0))),
        Fact("peak memory", "not known" if record.peak_memory is None else in_units(record.peak_memory)),
    ]


def print_summary(summary: Summary, *, html: str | None, trace: str | None) -> None:
    """Print a summary to standard error.

    Args:
        summary: of the run.
        html: where the page was written, or None.
        trace: where the trace was written, or None.
    """
    stream = sys.stderr if sys.stderr is not None else sys.__stderr__
    if stream is None:
        return
    console = Console(file=stream, highlight=False, width=None if stream.isatty() else _WIDTH)
    with console.capture() as captured:
        _print(summary, console)
        for what, path in (("Page", html), ("Trace for ui.perfetto.dev", trace)):
            if path is not None:
                console.print(Text(f"{what}: {path}"), soft_wrap=True)
    # Names may hold what the terminal cannot show.
    encoding = stream.encoding or "utf-8"
    stream.write(captured.get().encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


def _print(summary: Summary, console: Console) -> None:
    style = "bold red" if summary.failed else "bold"
    console.print(Text(f"\nzrun: {summary.record.about.get('program', 'the program')} {summary.outcome}", style))
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    # Most programs have nothing to say on most of these.
    for fact in (fact for fact in facts(summary) if fact.name in _ALWAYS or fact.value not in ("0", "0 s")):
        table.add_row(Text(fact.name, "dim"), Text(str(fact)))
    console.print(table)
    if summary.functions:
        console.print(_functions(summary))
    for finding in summary.findings[:_MOST_FINDINGS]:
        console.print(Text(f"! {finding}", "yellow"))
    if len(summary.findings) > _MOST_FINDINGS:
        console.print(Text(f"! and {len(summary.findings) - _MOST_FINDINGS} more of the kind", "yellow"))
    if not summary.functions:
        console.print(Text(NOTHING, "dim"))


def _functions(summary: Summary) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("function", overflow="fold")
    for heading in ("traces", "again", "trace s", "hits", "eager", "evicted"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("traced again for", overflow="fold")
    causes: dict[str, list[str]] = {}
    for cause in summary.causes:
        causes.setdefault(cause.function, []).append(f"{cause.argument} ×{cause.times}")
    for row in summary.functions[:_MOST_ROWS]:
        numbers = (row.traces, row.retraces, f"{row.trace_seconds:.3f}", row.hits, row.eager, row.evicted + row.dropped)
        why = ", ".join(causes.get(row.function, ())[:3])
        table.add_row(Text(row.function), *map(str, numbers), Text(why))
    if len(summary.functions) > _MOST_ROWS:
        table.caption = f"and {len(summary.functions) - _MOST_ROWS} more functions"
    return table
