"""The record as a trace of events, in the format that ui.perfetto.dev and chrome://tracing open.

The format is the JSON of "Trace Event Format": times are in microseconds, `X` is a complete event, `C` a counter, `M`
metadata.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._record import Record

_PROCESS = 1
_MOST_COUNTERS = 40


def trace_events(record: Record) -> list[dict[str, Any]]:
    """The record as trace events.

    Args:
        record: what was seen.

    Returns:
        Metadata first, then events in order of time.
    """
    threads = {name: number for number, name in enumerate(dict.fromkeys(t.thread for t in record.traces), start=1)}
    names = [("process_name", 0, record.about.get("program", "program"))]
    names += [("thread_name", number, name) for name, number in threads.items()]
    metadata = [
        {"ph": "M", "name": what, "pid": _PROCESS, "tid": tid, "args": {"name": name}} for what, tid, name in names
    ]
    events: list[dict[str, Any]] = [
        {
            "ph": "X",
            "name": f"trace {trace.function}",
            "cat": "retrace" if trace.retrace else "trace",
            "ts": round(1e6 * trace.start, 3),
            "dur": round(1e6 * trace.seconds, 3),
            "pid": _PROCESS,
            "tid": threads[trace.thread],
            "args": {
                "reason": trace.reason,
                "kind": trace.kind,
                "called at": trace.line,
                **{cause.argument: cause.change for cause in trace.causes},
            },
        }
        for trace in record.traces
    ]
    events.extend(_counters(record))
    events.sort(key=lambda event: event["ts"])
    return metadata + events


def _counters(record: Record) -> Iterator[dict[str, Any]]:
    """Calls per second of the functions that are called most, and memory; a point only where a value changes."""
    totals: Counter[tuple[str, str]] = Counter()
    for each in record.bins:
        totals.update(each.counts)
    for key, _ in totals.most_common(_MOST_COUNTERS):
        name = f"{key[0]} {key[1]} per s"
        last, until = 0.0, 0.0
        for each in record.bins:
            rate = each.counts[key] / max(each.end - each.start, 1e-6)
            if last and each.start > until:
                yield _counter(name, until, 0.0)
                last = 0.0
            if rate != last:
                yield _counter(name, each.start, rate)
            last, until = rate, each.end
        if last:
            yield _counter(name, until, 0.0)
    for each in record.bins:
        if each.memory is not None:
            yield _counter("resident memory (MB)", each.end, each.memory / 2**20)


def _counter(name: str, seconds: float, value: float) -> dict[str, Any]:
    stamp = round(1e6 * seconds, 3)
    return {"ph": "C", "name": name, "ts": stamp, "pid": _PROCESS, "tid": 0, "args": {"value": round(value, 3)}}


def write_trace(record: Record, path: str) -> None:
    """Write the trace.

    Args:
        record: what was seen.
        path: of the file.

    Raises:
        OSError: it cannot be written.
    """
    ended = {"outcome": record.end["outcome"]} if record.end is not None else {}
    content = {
        "traceEvents": trace_events(record),
        "displayTimeUnit": "ms",
        "otherData": {"program": record.about.get("program", ""), **ended},
    }
    Path(path).write_text(json.dumps(content), encoding="utf-8")
