"""What a record comes down to: a row per function, the causes of retraces, and the few sentences that matter."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ._record import Traced

if TYPE_CHECKING:
    from ._record import Record

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
    rows = [_row(name, kind, record) for name, kind in record.kinds.items()]
    rows.sort(key=lambda row: (-row.trace_seconds, row.function))
    causes = _causes(record)
    gradients: Counter[str] = Counter()
    for (_, _, how), number in record.gradients.items():
        gradients[how] += number
    totals: Counter[str] = Counter()
    for (event, _), number in record.totals.items():
        totals[event] += number
    outcome, failed = (record.end["outcome"], record.end["failed"]) if record.end else (_WITHOUT_A_WORD, True)
    findings = (*_on_retraces(rows, causes), *_on_anew(rows))
    return Summary(record, outcome, failed, tuple(rows), causes, findings, dict(gradients), dict(totals))


def _row(name: str, kind: str, record: Record) -> FunctionRow:
    count = {event: record.totals[event, name] for event in ("build", "hit", "eager", "inline", "evict", "invalidate")}
    traced = record.functions.get(name, Traced())
    return FunctionRow(
        function=name,
        kind=kind,
        traces=count["build"],
        retraces=traced.again,
        trace_seconds=traced.seconds,
        calls=count["build"] + count["hit"],
        hits=count["hit"],
        eager=count["eager"],
        inlined=count["inline"],
        evicted=count["evict"],
        dropped=count["invalidate"],
        lines=_most_frequent(traced),
    )


def _causes(record: Record) -> tuple[CauseRow, ...]:
    rows = [
        CauseRow(
            function=function,
            argument=argument,
            times=traced.times,
            seconds=traced.seconds,
            first=traced.first,
            last=traced.last,
            hint=traced.hint,
            lines=_most_frequent(traced),
        )
        for (function, argument), traced in record.causes.items()
    ]
    return tuple(sorted(rows, key=lambda row: (-row.times, -row.seconds)))


def _most_frequent(traced: Traced) -> tuple[str, ...]:
    return tuple(line for line, _ in traced.lines.most_common(3))


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


def _on_anew(rows: list[FunctionRow]) -> list[Finding]:
    """One for each function that is decorated again and again, so that no graph is ever found."""
    found = []
    for row in rows:
        functions = row.traces - row.retraces
        if functions < _MANY:
            continue
        headline = f"{row.function} was decorated anew {functions} times, and traced each time"
        hint = "decorate it once, outside of the loop or function that makes it"
        found.append(Finding(headline, _detail("no graph was found again", row.lines, row.trace_seconds, hint)))
    return found


def _detail(what: str, lines: tuple[str, ...], seconds: float, hint: str) -> str:
    at = f", called at {lines[0]}" if lines else ""
    return f"{what}{at}; that took {seconds:.3g} s.{f' Next step: {hint}.' if hint else ''}"
