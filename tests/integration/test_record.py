"""The record of a run: what it keeps, how large it and its reports get, and what it makes of odd names."""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter

import pytest

from zrun_core import KeyRow
from zrun_core._events import Event, emit
from zrun_tf.cli import _launch, _perfetto, _record, _recorder, _watcher
from zrun_tf.cli._html import page
from zrun_tf.cli._perfetto import trace_events, write_trace
from zrun_tf.cli._record import Record
from zrun_tf.cli._recorder import Recorder
from zrun_tf.cli._summary import summarise
from zrun_tf.cli._svg import timeline
from zrun_tf.cli._text import print_summary


def trace(start=0.0, seconds=0.01, function="loss", *, owner=1, cause=None, line="fit.py:3", thread="MainThread"):
    """A message about a trace; with a cause (argument, change, hint) it is a retrace."""
    return {
        "is": "trace",
        "start": start,
        "seconds": seconds,
        "function": function,
        "kind": "loss",
        "owner": owner,
        "reason": "first call" if cause is None else f"{cause[0]}: {cause[1]}",
        "causes": [] if cause is None else [cause],
        "retrace": cause is not None,
        "line": line,
        "thread": thread,
    }


def counted(start, end, *counts, memory=1 << 20):
    return {"is": "bin", "start": start, "end": end, "counts": list(counts), "memory": memory, "peak_memory": memory}


def ended(seconds=10.0, outcome="ended normally"):
    return {
        "is": "end",
        "seconds": seconds,
        "cpu_seconds": seconds,
        "peak_memory": 1 << 30,
        "outcome": outcome,
        "failed": False,
        "state": {"policy": [["graph", "'auto'", "default"]], "threads": None, "versions": {"zrun": "1"}},
    }


def recorded(*messages):
    record = Record()
    for message in messages:
        # As it arrives in another process.
        record.apply(json.loads(json.dumps(message)))
    return record


@pytest.fixture
def recorder():
    recorder = Recorder()
    recorder.start({"program": "test"})
    yield recorder
    recorder.stop()


def test_events_are_heard_as_traces_and_counts(recorder):
    rows = (KeyRow("n", "1", True),)
    emit(Event("build", "f", "loss", "first call", 0.5, rows, owner=7))
    emit(Event("build", "f", "loss", "n: 1 -> 2, static", 0.25, (KeyRow("n", "2", True),), retrace=True, owner=7))
    emit(Event("build", "f", "loss", "its graph was dropped: max_entries=1", 0.1, rows, retrace=True, owner=7))
    for name in ("hit", "hit", "eager", "evict", "invalidate", "inline"):
        emit(Event(name, "f", "loss", "max_entries=1" if name == "evict" else ""))
    emit(Event("gradient", "f", "hessian", "numerical"))
    emit(Event("chunks", "f", "loss", "4 chunks of 10 rows", count=4))
    recorder.stop()
    record = recorder.record
    first, second, third = record.traces
    assert (first.causes, first.retrace, first.seconds) == ((), False, 0.5)
    assert [tuple(cause) for cause in second.causes] == [
        ("n", "1 -> 2, static", "pass n as a float or an array to make it an input")
    ]
    assert third.causes[0][:2] == ("(dropped)", "max_entries=1")
    assert "run.set_graph_cache_size" in third.causes[0].hint
    assert first.line.startswith(("tests/integration/test_record.py:", "/"))
    assert dict(record.totals) == {
        ("build", "f"): 3,
        ("hit", "f"): 2,
        **{(name, "f"): 1 for name in ("eager", "evict", "invalidate", "inline", "gradient")},
        ("chunks", "f"): 4,
    }
    assert record.gradients == Counter({("f", "hessian", "numerical"): 1})
    assert record.drops["f"]["max_entries=1"] == 1
    summary = summarise(record)
    assert (summary.traces, summary.retraces, summary.gradients) == (3, 2, {"numerical": 1})
    assert summary.totals["chunks"] == 4


def test_events_of_many_threads_are_all_counted(recorder):
    def work():
        for _ in range(500):
            emit(Event("hit", "f", "loss"))
        emit(Event("build", "f", "loss", "first call", 0.001))

    workers = [threading.Thread(target=work, name=f"worker {number}") for number in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    recorder.stop()
    assert recorder.record.totals["hit", "f"] == 4000
    assert {one.thread for one in recorder.record.traces} == {f"worker {number}" for number in range(8)}


def test_nothing_is_heard_after_the_end(recorder):
    recorder.stop()
    emit(Event("hit", "f", "loss"))
    assert recorder.record.totals == Counter()


def test_a_function_that_is_decorated_anew_each_time_is_found():
    record = recorded(*(trace(0.1 * n, owner=n) for n in range(20)), ended())
    (finding,) = summarise(record).findings
    assert finding.headline == "loss was decorated anew 20 times, and traced each time"
    assert "decorate it once" in finding.detail


def test_graphs_that_are_dropped_and_built_again_are_found():
    cause = ("(dropped)", "max_graphs=1", "raise max_graphs of this function, or have fewer different structures")
    (finding,) = summarise(recorded(trace(), *(trace(cause=cause) for _ in range(9)), ended())).findings
    assert finding.headline == "loss was traced again 9 times because its graph had been dropped"
    assert "max_graphs=1" in finding.detail
    assert "Next step: raise max_graphs" in finding.detail


def test_a_few_retraces_are_nothing_to_act_on():
    record = recorded(trace(), *(trace(cause=("x", "a -> b", "")) for _ in range(4)), ended())
    assert summarise(record).findings == ()
    assert summarise(record).causes[0].times == 4


def test_the_worst_is_named_first():
    causes = [("a", "1 -> 2", "")] * 6 + [("b", "1 -> 2", "")] * 60
    record = recorded(trace(), *(trace(cause=cause) for cause in causes), ended())
    assert [finding.headline[-9:] for finding in summarise(record).findings] == ["b changed", "a changed"]


def test_a_long_run_takes_bounded_memory_and_makes_a_bounded_page(monkeypatch):
    monkeypatch.setattr(_record, "MOST_TRACES", 2000)
    record = Record()
    for number in range(10_000):
        name = f"function{number % 400}"
        record.apply(trace(number / 10, 0.09, name, cause=("n", f"{number} -> {number + 1}", "")))
        record.apply(counted(number / 10, number / 10 + 0.1, ["hit", name, "loss", "", 5]))
    record.apply(ended(1000.0))
    assert len(record.traces) == 2000
    assert record.further_traces == 8000
    assert len(record.bins) <= 1201
    assert record.totals["build", "function1"] == 25
    # Merging loses no count and leaves no gap.
    assert sum(sum(each.counts.values()) for each in record.bins) == 50_000
    assert all(one.end == pytest.approx(two.start) for one, two in zip(record.bins, record.bins[1:], strict=False))
    summary = summarise(record)
    text = page(summary)
    assert len(text) < 2_000_000
    # What is summed up counts them all.
    assert sum(row.retraces for row in summary.functions) == sum(row.times for row in summary.causes) == 10_000
    assert "The first 1000 of 2000 rows." in text
    assert "8000 later ones were counted only." in text
    assert timeline(summary).count("<rect") < 5000
    assert len(trace_events(record)) < 2000 + 2 * _perfetto._MOST_COUNTERS * 1300


def test_bars_that_would_touch_are_one():
    record = recorded(*(trace(n / 1000, 0.001, cause=("n", "1 -> 2", "")) for n in range(5000)), ended(5.0))
    bars = re.findall(r'<rect class="again".*?</rect>', timeline(summarise(record)))
    assert len(bars) < 10
    assert "5000 traces" in bars[-1] or len(bars) > 1


ODD = "</script><script>alert(1)</script>\"'&<é\u2028\udcff"


def test_odd_names_do_no_harm(tmp_path, capsys):
    record = recorded(
        {"is": "about", "program": ODD, "options": {"--graph": ODD}, "began": time.time(), "folder": ODD},
        trace(function=ODD, line=ODD, thread=ODD),
        *(trace(1.0, function=ODD, cause=(ODD, ODD, ODD), line=ODD) for _ in range(6)),
        counted(0.0, 2.0, ["hit", ODD, ODD, ODD, 3], ["gradient", ODD, ODD, ODD, 1]),
        ended(outcome=ODD),
    )
    summary = summarise(record)
    html, events = tmp_path / "page.html", tmp_path / "trace.json"
    _launch.Reports(html=str(html), trace=str(events)).make(record)
    assert capsys.readouterr().err.count("could not be written") == 0
    text = html.read_text(encoding="utf-8")
    assert text.count("<script>") == 1
    assert "alert(1)" in text
    assert json.loads(events.read_text())["otherData"]["outcome"] == ODD
    assert summary.findings[0].headline.startswith("</script>")


def test_rich_markup_in_names_is_text(capsys):
    record = recorded(trace(function="f[bold]x[/bold][/]"), ended())
    print_summary(summarise(record), html=None, trace=None)
    assert "f[bold]x[/bold][/]" in capsys.readouterr().err


def test_an_empty_record_has_a_page_and_a_trace(tmp_path, capsys):
    summary = summarise(Record())
    assert "ended without a word" in page(summary)
    assert timeline(summary) == ""
    write_trace(Record(), str(tmp_path / "trace.json"))
    print_summary(summary, html=None, trace=None)
    assert "No call of a zrun function came to an end" in capsys.readouterr().err


def test_a_watcher_that_does_not_read_holds_nobody_up(monkeypatch):
    import socket

    monkeypatch.setattr(_watcher, "_MOST_PENDING", 1 << 18)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    watcher = _watcher.Watcher(ours)
    for number in range(5000):
        watcher.send(trace(float(number)))
    # It gave up on the watcher, and not on the program.
    assert watcher._line is None
    assert not watcher._pending
    watcher.send(trace())
    watcher.end()
    theirs.close()


def test_a_watcher_that_is_gone_harms_nobody():
    import socket

    ours, theirs = socket.socketpair()
    theirs.close()
    watcher = _watcher.Watcher(ours)
    watcher.send(trace())
    watcher.end()
    assert watcher._line is None


def test_functions_without_number_are_not_kept_for_ever(recorder, monkeypatch):
    monkeypatch.setattr(_recorder, "_MOST_OWNERS", 10)
    for owner in range(50):
        emit(Event("build", "f", "loss", "first call", 0.0, (KeyRow("x", "1", True),), owner=owner))
    assert len(recorder._seen) <= 10
