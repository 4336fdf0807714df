"""What `zrun run` reports of a program with two hundred accidental retraces: which function, and which argument."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from html import unescape
from html.parser import HTMLParser
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

from .browser import dom, needs_browser, picture

# The number of a toy is an int, and so a part of the key.
PROGRAM = textwrap.dedent("""
    import sys
    import numpy as np
    import tensorflow as tf
    import zrun_tf as zrun

    @zrun.function(kind="loss")
    def nll(mu, data, toy):
        return tf.reduce_sum((data - mu) ** 2) + 0.0 * toy

    @zrun.function
    def smear(x):
        return x + 1.0

    @zrun.function(kind="model")
    def density(x):
        return x * x

    zrun.run.set_retrace_policy("allow")
    data = np.linspace(0.0, 1.0, 100)
    for toy in range(201):
        nll(0.5, data, toy)
    for _ in range(300):
        smear(data)
    for _ in range(7):
        density(data)
    loss = zrun.objective(lambda mu: tf.reduce_sum((data - mu) ** 2), {"mu": 0.0})
    for mu in (0.1, 0.2, 0.3):
        loss.gradient([mu])
    with zrun.run.using(autograd=False):
        loss.gradient([0.4])
        zrun.gradient(lambda x: x * x, 2.0)
    zrun.run.set_graph_cache_size(5)
    if "--fail" in sys.argv:
        raise ValueError("<b>not & a tag</b>")
""")


class Tables(HTMLParser):
    """The tables of a page: the text of each cell of each row, by the id of the table."""

    def __init__(self, text):
        super().__init__()
        self.tables, self._rows, self._cell, self.links = {}, None, None, []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.links += [attributes[name] for name in ("href", "src", "action") if name in attributes]
        if tag == "table":
            self._rows = self.tables.setdefault(attributes.get("id"), [])
        elif tag == "tr" and self._rows is not None:
            self._rows.append([])
        elif tag in ("td", "th"):
            self._cell = []

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self._rows[-1].append(" ".join("".join(self._cell).split()))
            self._cell = None

    def handle_data(self, data):
        if self._cell is not None:
            self._cell.append(data)


def zrun_run(folder, *args, **env):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ZRUN_")}
    command = [sys.executable, "-m", "zrun_tf.cli", "run", *args]
    return subprocess.run(
        command, cwd=folder, env=clean | env, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """One run of the program with all its reports."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "fit.py").write_text(PROGRAM)
    page, trace = folder / "page.html", folder / "trace.json"
    done = zrun_run(folder, "--report", str(page), "--trace", str(trace), "--cpus", "1", "fit.py", "--seed", "1")
    assert done.returncode == 0, done.stderr
    html = page.read_text(encoding="utf-8")
    return SimpleNamespace(
        page=page, html=html, tables=Tables(html), said=done.stderr, trace=json.loads(trace.read_text())
    )


def plain(html):
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def test_the_page_says_at_once_which_function_and_which_argument(reported):
    findings = re.search(r'<ul class="findings">(.*?)</ul>', reported.html).group(1)
    headline, *others = re.findall(r"<li><b>(.*?)</b>", findings)
    assert headline == "nll was traced again 200 times because toy changed"
    assert others == []
    assert "last 199 -&gt; 200, static, of 201 traces in all, called at fit.py:22" in findings
    assert "Next step: pass toy as a float or an array to make it an input." in findings
    # It stands above everything but the name of the program.
    assert reported.html.index('class="findings"') < reported.html.index('class="tiles"') < reported.html.index("<svg")


def test_the_terminal_says_it_too(reported):
    said = " ".join(reported.said.split())
    assert "zrun: fit.py --seed 1 ended normally" in said
    assert "nll was traced again 200 times because toy changed: last 199 -> 200" in said
    assert re.search(r"nll 201 200 [\d.]+ 0 0 \d+ toy ×200", said)
    assert re.search(r"derivatives 5 \(3 automatic, 2 numerical\)", said)
    assert "eager calls 7" in said


def test_the_tables_hold_what_happened(reported):
    tables = reported.tables.tables
    rows = {row[0]: row for row in tables["functions"][1:]}
    assert rows["nll"][1:4] == ["loss", "201", "200"]
    assert rows["smear"][1:4] + rows["smear"][5:7] == ["tensor", "1", "0", "299", "0"]
    assert rows["density"][1:4] + rows["density"][5:7] == ["model", "0", "0", "0", "7"]
    # Five graphs are kept in the end, of nll, smear, and the three of the objective or what it needed.
    assert sum(int(row[8]) for row in rows.values()) > 190
    assert tables["retraces"][1][:3] == ["nll", "toy", "200"]
    assert tables["retraces"][1][4:] == [
        "0 -> 1, static199 -> 200, static",
        "pass toy as a float or an array to make it an input",
        "fit.py:22",
    ]
    derivatives = {tuple(row[1:3]): row[3] for row in tables["derivatives"][1:] if "loss" not in row[0]}
    assert derivatives[("gradient", "automatic")] == "3"
    traces = [row for row in tables["traces"][1:] if row[1] == "nll"]
    assert len(traces) == 201
    assert [row[3] for row in traces[:3]] == ["first call", "toy: 0 -> 1, static", "toy: 1 -> 2, static"]


def test_the_page_says_under_what_conditions_it_ran(reported):
    text = plain(reported.html)
    assert "1 CPU, limited by ZRUN_CPUS" in text
    assert re.search(r"TensorFlow has started, at fit.py:\d+, with 1 thread within operations and 1 between them", text)
    assert "retrace 'allow' code" in text
    assert "autograd True default" in text
    assert re.search(r"zrun [\d.]+, python [\d.]+, tensorflow 2", text)


def test_the_timeline_is_a_picture_of_the_run(reported):
    svg = re.search(r"<svg.*?</svg>", reported.html, re.DOTALL).group()
    assert "Timeline of" in svg
    bars = re.findall(r'<rect class="(first|again|calls)" x="([\d.]+)".*?width="([\d.]+)"', svg)
    kinds = {kind for kind, _, _ in bars}
    assert kinds == {"first", "again", "calls"}
    assert all(float(x) >= 230 and float(x) + float(width) <= 1100 for _, x, width in bars)
    assert svg.count('class="memory"') == 1


def test_the_page_needs_nothing_else(reported):
    assert reported.tables.links == []
    assert not re.search(r"https?://|@import|url\(", reported.html)
    assert "<script src" not in reported.html


def test_the_trace_has_the_structure_that_perfetto_reads(reported):
    events = reported.trace["traceEvents"]
    assert reported.trace["otherData"] == {"program": "fit.py --seed 1", "outcome": "ended normally"}
    for event in events:
        assert event["ph"] in "MXC"
        assert isinstance(event["name"], str)
        assert isinstance(event["pid"], int)
        assert isinstance(event["tid"], int)
        if event["ph"] != "M":
            assert event["ts"] >= 0
    times = [event["ts"] for event in events if event["ph"] != "M"]
    assert times == sorted(times)
    traces = [event for event in events if event["ph"] == "X" and event["name"] == "trace nll"]
    assert len(traces) == 201
    assert [event["cat"] for event in traces] == ["trace"] + ["retrace"] * 200
    assert all(event["dur"] > 0 for event in traces)
    assert traces[5]["args"]["toy"] == "4 -> 5, static"
    assert traces[5]["args"]["called at"] == "fit.py:22"
    # Traces of one thread follow each other: Perfetto draws what overlaps wrongly.
    assert all(one["ts"] + one["dur"] <= two["ts"] + 1 for one, two in pairwise(traces))
    counters = [event for event in events if event["ph"] == "C"]
    assert {"hit smear per s", "resident memory (MB)"} <= {event["name"] for event in counters}
    assert all(np.isfinite(event["args"]["value"]) for event in counters)


def test_a_crash_is_reported_and_what_it_says_is_no_html(tmp_path):
    (tmp_path / "fit.py").write_text(PROGRAM.replace("range(201)", "range(3)"))
    done = zrun_run(tmp_path, "--report", "page.html", "fit.py", "--fail")
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 1
    assert "zrun_tf/cli" not in done.stderr
    assert "failed with ValueError: <b>not & a tag</b>, at" in " ".join(done.stderr.split())
    html = (tmp_path / "page.html").read_text()
    assert "failed with ValueError: &lt;b&gt;not &amp; a tag&lt;/b&gt;" in html
    assert "<b>not" not in html
    assert 'class="failed"' in html


def test_a_crash_inside_a_library_is_placed_in_the_users_own_line(tmp_path):
    program = "import tensorflow as tf\n\n\ndef work():\n    tf.constant(1.0) + tf.constant(1, tf.int32)\n\n\nwork()\n"
    (tmp_path / "fit.py").write_text(program)
    done = zrun_run(tmp_path, "fit.py")
    assert done.returncode == 1
    assert "fit.py:5" in "".join(done.stderr.split("fit.py failed with")[1].split())


def test_a_trace_is_what_the_trace_event_format_asks_for(reported):
    """The rules of that format's description which its readers rely on; Perfetto itself needs the network."""
    assert set(reported.trace) == {"traceEvents", "displayTimeUnit", "otherData"}
    assert reported.trace["displayTimeUnit"] in ("ms", "ns")
    known = {"M": {"args"}, "X": {"cat", "ts", "dur", "args"}, "C": {"ts", "args"}}
    named = set()
    for event in reported.trace["traceEvents"]:
        assert set(event) == {"ph", "name", "pid", "tid"} | known[event["ph"]]
        assert all(isinstance(event[key], (int, float)) and event[key] >= 0 for key in ("ts", "dur") if key in event)
        assert isinstance(event["args"], dict)
        if event["ph"] == "M":
            assert event["name"] in ("process_name", "thread_name")
            assert isinstance(event["args"]["name"], str)
            named.add((event["name"], event["tid"]))
        if event["ph"] == "C":
            assert event["args"]
            assert all(isinstance(value, (int, float)) for value in event["args"].values())
        if event["ph"] == "X":
            assert ("thread_name", event["tid"]) in named
    assert ("process_name", 0) in named


@needs_browser
def test_the_tables_sort_in_a_browser(reported):
    def order(clicks):
        script = "".join(f"document.querySelectorAll('#functions th button')[{column}].click();" for column in clicks)
        text, console = dom(reported.page, script)
        assert console == []
        return [row[0] for row in Tables(text).tables["functions"][1:]], text

    names = [row[0] for row in reported.tables.tables["functions"][1:]]
    assert order([])[0] == names
    # Names from A on, then from Z on.
    assert order([0])[0] == sorted(names, key=str.lower)
    assert order([0, 0])[0] == sorted(names, key=str.lower, reverse=True)
    # Numbers from the largest on, by value and not as text.
    by_hits, text = order([5])
    assert by_hits[0] == "smear"
    assert len(re.findall(r'<th[^>]* aria-sort="descending"', text)) == 1
    assert order([5, 5])[0][-1] == "smear"


@needs_browser
def test_the_page_looks_as_it_should_in_a_browser(reported, tmp_path):
    from matplotlib.image import imread

    light = imread(picture(reported.page, tmp_path / "light.png"))[..., :3]
    dark = imread(picture(reported.page, tmp_path / "dark.png", dark=True))[..., :3]
    assert light.shape == dark.shape == (1500, 1250, 3)
    assert light[5, 5].mean() > 0.95
    assert dark[5, 5].mean() < 0.15
    # Text and pictures are there: a page that failed to draw is one colour.
    for image in (light, dark):
        assert np.mean(np.abs(image - image[5, 5]).max(axis=-1) > 0.2) > 0.02
    # The colour of retraces is in the finding's edge, in the timeline and in the table.
    again = np.abs(light - np.array([0xD5, 0x5E, 0x00]) / 255).max(axis=-1) < 0.02
    assert again.sum() > 2000


@needs_browser
def test_the_page_fits_a_narrow_window(reported):
    script = (
        "document.body.style.width = '400px';"
        "document.body.dataset.overflow = document.documentElement.scrollWidth > innerWidth;"
    )
    text, _ = dom(reported.page, script)
    assert 'data-overflow="false"' in text
