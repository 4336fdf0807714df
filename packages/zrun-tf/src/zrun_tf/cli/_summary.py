"""What a record comes down to: a row per function, the causes of retraces, and the few sentences that matter."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._record import Record, Trace

# As many traces of one function within a short time make zrun warn.
_MANY = 5
_WITHOUT_A_WORD = "ended without a word: killed by a signal, a crash in native code, or os._exit"


class FunctionRow(NamedTuple):
    """What one function did.

    Attributes:
        function: the qualified name.
        kind: its kind.
        traces: graphs that were built.
        retraces: those that were not the first of their function.
        trace_seconds: what building took together.
        calls: calls that ran a graph, the ones that built it included.
        hits: those that found it in the cache.
        eager: calls that ran as Python.
        inlined: calls while another function was traced.
        evicted: graphs dropped by a budget, by age or by clearing.
        dropped: graphs dropped because what they had read changed or died.
        lines: where it was called when it was traced, the most frequent first.
    """

    function: str
    kind: str
    traces: int
    retraces: int
    trace_seconds: float
    calls: int
    hits: int
    eager: int
    inlined: int
    evicted: int
    dropped: int
    lines: tuple[str, ...]


class CauseRow(NamedTuple):
    """Why one function was traced again.

    Attributes:
        function: the qualified name.
        argument: the part of the arguments that changed.
        times: how often.
        seconds: what these traces took together.
        first: how it changed the first time.
        last: how it changed the last time.
        hint: what to do about it; empty where that is not known.
        lines: where the function was called, the most frequent first.
    """

    function: str
    argument: str
    times: int
    seconds: float
    first: str
    last: str
    hint: str
    lines: tuple[str, ...]


class Finding(NamedTuple):
    """Something to act on.

    Attributes:
        headline: what, in a few words: the function and the argument.
        detail: where, at what cost, and what to do about it.
    """

    headline: str
    detail: str

    def __str__(self) -> str:
        return f"{self.headline}: {self.detail}"


@dataclass(frozen=True)
class Summary:
    """A record, summed up.

    Attributes:
        record: what was seen.
        outcome: how the program ended, in words.
        failed: whether it failed.
        functions: a row per function, the one with the longest time in traces first.
        causes: a row per function and argument, the one with the most retraces first.
        findings: what to act on, the most important first; empty where all is well.
        gradients: number of derivatives by `"automatic"` and `"numerical"`.
        totals: number of events by name.
    """

    record: Record
    outcome: str
    failed: bool
    functions: tuple[FunctionRow, ...]
    causes: tuple[CauseRow, ...]
    findings: tuple[Finding, ...]
    gradients: dict[str, int]
    totals: dict[str, int]

    @property
    def traces(self) -> int:
        """Graphs that were built."""
        return self.totals.get("build", 0)

    @property
    def retraces(self) -> int:
        """Graphs that were not the first of their function."""
        return sum(row.retraces for row in self.functions)

    @property
    def trace_seconds(self) -> float:
        """Time spent building graphs."""
        return sum(row.trace_seconds for row in self.functions)


def summarise(record: Record) -> Summary:
    """Sum up a record.

    Args:
        record: what was seen; it may be that of a program that died.

    Returns:
        The summary.
    """
    by_function: defaultdict[str, list[Trace]] = defaultdict(list)
    for trace in record.traces:
        by_function[trace.function].append(trace)
    rows = [_row(name, kind, by_function[name], record) for name, kind in record.kinds.items()]
    rows.sort(key=lambda row: (-row.trace_seconds, row.function))
    causes = _causes(record.traces)
    gradients: Counter[str] = Counter()
    for (_, _, how), number in record.gradients.items():
        gradients[how] += number
    totals: Counter[str] = Counter()
    for (event, _), number in record.totals.items():
        totals[event] += number
    outcome, failed = (record.end["outcome"], record.end["failed"]) if record.end else (_WITHOUT_A_WORD, True)
    findings = (*_on_retraces(rows, causes), *_on_anew(rows, by_function))
    return Summary(record, outcome, failed, tuple(rows), causes, findings, dict(gradients), dict(totals))


def _row(name: str, kind: str, traces: list[Trace], record: Record) -> FunctionRow:
    count = {event: record.totals[event, name] for event in ("build", "hit", "eager", "inline", "evict", "invalidate")}
    return FunctionRow(
        function=name,
        kind=kind,
        traces=count["build"],
        retraces=sum(trace.retrace for trace in traces),
        trace_seconds=sum(trace.seconds for trace in traces),
        calls=count["build"] + count["hit"],
        hits=count["hit"],
        eager=count["eager"],
        inlined=count["inline"],
        evicted=count["evict"],
        dropped=count["invalidate"],
        lines=_most_frequent(trace.line for trace in traces),
    )


def _causes(traces: Iterable[Trace]) -> tuple[CauseRow, ...]:
    found: defaultdict[tuple[str, str], list[Trace]] = defaultdict(list)
    for trace in traces:
        for cause in trace.causes:
            found[trace.function, cause.argument].append(trace)
    rows = []
    for (function, argument), of_cause in found.items():
        changes = [cause for trace in of_cause for cause in trace.causes if cause.argument == argument]
        rows.append(
            CauseRow(
                function=function,
                argument=argument,
                times=len(of_cause),
                seconds=sum(trace.seconds for trace in of_cause),
                first=changes[0].change,
                last=changes[-1].change,
                hint=next((cause.hint for cause in reversed(changes) if cause.hint), ""),
                lines=_most_frequent(trace.line for trace in of_cause),
            )
        )
    return tuple(sorted(rows, key=lambda row: (-row.times, -row.seconds)))


def _most_frequent(lines: Iterable[str]) -> tuple[str, ...]:
    return tuple(line for line, _ in Counter(line for line in lines if line).most_common(3))


def _on_retraces(rows: list[FunctionRow], causes: tuple[CauseRow, ...]) -> list[Finding]:
    """One for each argument that has a function traced again and again."""
    traces = {row.function: row.traces for row in rows}
    found = []
    for cause in causes:
        if cause.times < _MANY:
            continue
        if cause.argument == "(dropped)":
            headline = f"{cause.function} was traced again {cause.times} times because its graph had been dropped"
        elif cause.argument.startswith("("):
            headline = f"{cause.function} was traced again {cause.times} times"
        else:
            headline = f"{cause.function} was traced again {cause.times} times because {cause.argument} changed"
        of = f"last {cause.last}, of {traces[cause.function]} traces in all"
        found.append(Finding(headline, _detail(of, cause.lines, cause.seconds, cause.hint)))
    return found


def _on_anew(rows: list[FunctionRow], by_function: dict[str, list[Trace]]) -> list[Finding]:
    """One for each function that is decorated again and again, so that no graph is ever found."""
    found = []
    for row in rows:
        owners = {trace.owner for trace in by_function[row.function]}
        if len(owners) < _MANY:
            continue
        headline = f"{row.function} was decorated anew {len(owners)} times, and traced each time"
        hint = "decorate it once, outside of the loop or function that makes it"
        found.append(Finding(headline, _detail("no graph was found again", row.lines, row.trace_seconds, hint)))
    return found


def _detail(what: str, lines: tuple[str, ...], seconds: float, hint: str) -> str:
    at = f", called at {lines[0]}" if lines else ""
    return f"{what}{at}; that took {seconds:.3g} s.{f' Next step: {hint}.' if hint else ''}"
