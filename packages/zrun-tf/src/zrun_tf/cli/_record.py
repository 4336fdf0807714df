"""What a program did, as far as zrun sees it: plain messages, and the record that they add up to.

The messages are what JSON can carry, so that another process can keep the record too, for the case that this one dies.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

# A bin per quarter of a second at first; merged by two whenever there are more than these.
BIN_SECONDS = 0.25
_MOST_BINS = 1200
# Each trace is kept up to this many; later ones are counted only.
MOST_TRACES = 20_000
_MOST_LINES = 20

Message = dict[str, Any]


class Cause(NamedTuple):
    """One part of the arguments that differed when a function was traced again.

    Attributes:
        argument: which, named from the argument on: `data.weights`.
        change: what it was and became.
        hint: what to do about it; empty where that is not known.
    """

    argument: str
    change: str
    hint: str


@dataclass(frozen=True)
class Trace:
    """One graph that was built.

    Attributes:
        start: seconds since the program began.
        seconds: what it took.
        function: the qualified name.
        kind: its kind.
        owner: tells functions of one name apart.
        reason: why, in words.
        causes: what differed; empty for the first of a function.
        retrace: whether the function had been traced before.
        line: where in the program it was called; empty where that is not known.
        thread: the name of the thread.
    """

    start: float
    seconds: float
    function: str
    kind: str
    owner: int
    reason: str
    causes: tuple[Cause, ...]
    retrace: bool
    line: str
    thread: str

    @property
    def end(self) -> float:
        """Seconds since the program began."""
        return self.start + self.seconds


@dataclass
class Traced:
    """Traces summed up: those of one function, or those with one cause.

    Attributes:
        times: how many.
        again: how many of them were not the first of their function.
        seconds: what they took together.
        lines: how often where in the program it was called, for the first `_MOST_LINES` such places.
        first: how the argument changed the first time; empty for a function.
        last: how it changed the last time.
        hint: what to do about it.
    """

    times: int = 0
    again: int = 0
    seconds: float = 0.0
    lines: Counter[str] = field(default_factory=Counter)
    first: str = ""
    last: str = ""
    hint: str = ""

    def add(self, trace: Trace, cause: Cause | None = None) -> None:
        """Count a trace in."""
        self.times += 1
        self.again += trace.retrace
        self.seconds += trace.seconds
        if trace.line and (trace.line in self.lines or len(self.lines) < _MOST_LINES):
            self.lines[trace.line] += 1
        if cause is not None:
            self.first = self.first or cause.change
            self.last = cause.change
            self.hint = cause.hint or self.hint


@dataclass
class Bin:
    """What was counted from `start` to `end`, in seconds since the program began.

    Attributes:
        counts: how often, by event and function.
        memory: resident bytes at the end; None where the platform does not tell.
    """

    start: float
    end: float
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    memory: int | None = None


@dataclass
class Record:
    """Everything that was seen.

    Attributes:
        about: the program and what it was started with.
        traces: each trace, in the order in which they ended, up to `MOST_TRACES`.
        further_traces: how many more there were.
        functions: all of them, summed up by function.
        causes: all of them, summed up by function and argument that changed.
        totals: how often, by event and function.
        kinds: the kind of each function.
        drops: why graphs were dropped, by function and reason.
        gradients: derivatives by function, what was computed and how.
        bins: calls and memory in the course of time.
        peak_memory: most resident bytes so far; None where the platform does not tell.
        end: how it ended, with wall and CPU time in seconds and what was in force then; None before that, or if it
            ended without a word.
        died_after: wall time in seconds of a program that ended without a word, about.
    """

    about: Message = field(default_factory=dict)
    traces: list[Trace] = field(default_factory=list)
    further_traces: int = 0
    functions: defaultdict[str, Traced] = field(default_factory=lambda: defaultdict(Traced))
    causes: defaultdict[tuple[str, str], Traced] = field(default_factory=lambda: defaultdict(Traced))
    totals: Counter[tuple[str, str]] = field(default_factory=Counter)
    kinds: dict[str, str] = field(default_factory=dict)
    drops: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    gradients: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    bins: list[Bin] = field(default_factory=list)
    bin_seconds: float = BIN_SECONDS
    peak_memory: int | None = None
    end: Message | None = None
    died_after: float | None = None

    @property
    def seconds(self) -> float:
        """Wall time of the program, so far as it is known."""
        if self.end is not None:
            return float(self.end["seconds"])
        if self.died_after is not None:
            return self.died_after
        return max([0.0, *(each.end for each in self.bins[-1:]), *(each.end for each in self.traces[-1:])])

    def apply(self, message: Message) -> None:
        """Add what a message says."""
        what: Literal["about", "trace", "bin", "end"] = message["is"]
        if what == "about":
            self.about = message
        elif what == "trace":
            self._add_trace(message)
        elif what == "bin":
            self._add_bin(message)
        else:
            self.end = message
            self.peak_memory = message["peak_memory"]

    def _add_trace(self, message: Message) -> None:
        causes = tuple(Cause(*cause) for cause in message["causes"])
        fields = {name: message[name] for name in Trace.__dataclass_fields__ if name != "causes"}
        trace = Trace(**fields, causes=causes)
        self.kinds.setdefault(trace.function, trace.kind)
        self.totals["build", trace.function] += 1
        self.functions[trace.function].add(trace)
        for cause in causes:
            self.causes[trace.function, cause.argument].add(trace, cause)
        if len(self.traces) < MOST_TRACES:
            self.traces.append(trace)
        else:
            self.further_traces += 1

    def _add_bin(self, message: Message) -> None:
        counts: Counter[tuple[str, str]] = Counter()
        for event, function, kind, reason, number in message["counts"]:
            if event == "gradient":
                self.gradients[function, kind, reason] += number
            else:
                self.kinds.setdefault(function, kind)
            if event in ("evict", "invalidate"):
                self.drops[function][reason] += number
            counts[event, function] += number
        self.totals.update(counts)
        self.peak_memory = message["peak_memory"]
        self.bins.append(Bin(message["start"], message["end"], counts, message["memory"]))
        if len(self.bins) > _MOST_BINS:
            self._merge_bins()

    def _merge_bins(self) -> None:
        merged = []
        for first, second in zip(self.bins[::2], self.bins[1::2], strict=False):
            merged.append(Bin(first.start, second.end, first.counts + second.counts, second.memory))
        self.bins = merged + self.bins[2 * len(merged) :]
        self.bin_seconds *= 2
