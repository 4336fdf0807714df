"""Draws the diagrams of the documentation: boxes and arrows, as small SVG files.

    python docs/diagrams.py docs/site

writes `diagram-*.svg` there; a test compares them with what this script writes. Each has a background of its own, so
that it can be read on light and on dark pages, and is narrow enough for a phone.
"""

from __future__ import annotations

import sys
from pathlib import Path
from xml.sax.saxutils import escape

WIDTH = 480
LINE = 19
ROW = 43
STYLE = """\
svg { background: #ffffff; font: 14px sans-serif; }
.box { fill: #eef2fb; stroke: #5b6fb3; }
.result { fill: #e5f4ea; stroke: #3d8b5a; }
.end { fill: #fdf0e3; stroke: #b9772c; }
.plain { fill: none; stroke: none; }
text { fill: #1d2333; }
.code { font-family: monospace; font-size: 12.5px; }
.note { fill: #5a6175; font-size: 13px; }
path { stroke: #5a6175; fill: none; stroke-width: 1.5; }
.head { fill: #5a6175; stroke: none; }
@media (prefers-color-scheme: dark) {
svg { background: #1d2029; }
.box { fill: #2a3350; stroke: #8b9fe0; }
.result { fill: #1f3a2b; stroke: #6cc08b; }
.end { fill: #40301d; stroke: #dfa35c; }
text { fill: #e8eaf2; }
.note { fill: #b4bacb; }
path { stroke: #b4bacb; }
.head { fill: #b4bacb; }
}"""


class Picture:
    """A drawing in the making; `name` is the file's, `says` what it shows, for who cannot see it."""

    def __init__(self, name, height, says):
        self.name, self.height, self.says = name, height, says
        self.parts = []

    def box(self, x, y, width, *lines, kind="box"):
        """A box with centred lines; a line in backquotes is code, one in parentheses a note."""
        height = LINE * len(lines) + 14
        self.parts.append(f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="6"/>')
        for number, line in enumerate(lines):
            self.text(x + width / 2, y + 21 + LINE * number, line)
        return y + height

    def text(self, x, y, line, anchor="middle"):
        """One line of text."""
        kind = "code" if line.startswith("`") else "note" if line.startswith("(") else ""
        line = line[1:-1] if kind else line
        self.parts.append(f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(line)}</text>')

    def arrow(self, *points, label=None, at=None):
        """An arrow through points, with a label beside its middle or at a given place."""
        (x0, y0), (x1, y1) = points[-2:]
        size = max(abs(x1 - x0), abs(y1 - y0))
        dx, dy = 7 * (x1 - x0) / size, 7 * (y1 - y0) / size
        ends = [*points[:-1], (x1 - dx, y1 - dy)]
        self.parts.append(f'<path d="M{" L".join(f"{x:g} {y:g}" for x, y in ends)}"/>')
        left, right = (x1 - dx - dy * 0.6, y1 - dy + dx * 0.6), (x1 - dx + dy * 0.6, y1 - dy - dx * 0.6)
        self.parts.append(
            f'<path class="head" d="M{x1:g} {y1:g} L{left[0]:g} {left[1]:g} L{right[0]:g} {right[1]:g}Z"/>'
        )
        if label:
            x, y = at or ((x0 + x1) / 2 + 8, (y0 + y1) / 2 + 4)
            self.text(x, y, label, "start")

    def svg(self):
        """The file's text."""
        body = "\n".join(self.parts)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {self.height}" width="{WIDTH}" '
            f'height="{self.height}" role="img"><title>{escape(self.says)}</title>\n'
            f"<style>{STYLE}</style>\n{body}\n</svg>\n"
        )


def policy():
    """Where the policy of a call comes from."""
    picture = Picture(
        "policy", 424, "The nearest setting wins: an argument, a block, the process default, the environment"
    )
    picture.text(16, 24, "nearest to the call, and first asked", "start")
    rows = [
        ("`zrun.gradient(..., autograd=False)`", "(this call)"),
        ("`with run.using(graph=False):`", "(this block, in this thread or task)"),
        ("`run.set_mode(graph=True)`", "(the process, for good)"),
        ("`ZRUN_GRAPH=false python fit.py`", "(the process, from its start)"),
    ]
    y = 36
    for code, note in rows:
        bottom = picture.box(16, y, 300, code, note)
        if code != rows[-1][0]:
            picture.arrow((166, bottom), (166, bottom + 20), label="(says nothing)")
        y = bottom + 20
    picture.box(346, 100, 118, "worker thread", "(has the default;)", "`run.bind(f)`", "(hands this over)", kind="end")
    picture.arrow((316, 134), (346, 134))
    picture.arrow((405, 190), (405, 206), (316, 206))
    picture.arrow((166, bottom), (166, 352), label="(all four silent: auto)")
    picture.box(
        16,
        352,
        448,
        "a frozen value, read once when a call starts",
        "(losses and sampling: graphs; derivatives: automatic)",
        kind="result",
    )
    return picture


def structure():
    """How a call is taken apart."""
    picture = Picture(
        "structure", 452, "A call is taken apart into a static key, which finds the graph, and leaves, which it runs on"
    )
    picture.box(45, 12, 390, '`Gauss(mu=0.1, sigma=1.2, name="g").half_chi2(data)`')
    picture.arrow((150, 45), (110, 82))
    picture.arrow((330, 45), (370, 82))
    picture.text(240, 70, "(flatten)")
    picture.box(
        12,
        82,
        216,
        "key: what it is",
        '`Gauss.half_chi2, name="g"`',
        "`mu, sigma: float64 ()`",
        "`data: float64 (1000,)`",
        kind="end",
    )
    picture.box(252, 82, 216, "leaves: how much", "`0.1`", "`1.2`", "`array of 1000 floats`", kind="end")
    picture.arrow((120, 172), (120, 222), label="looked up")
    picture.box(12, 222, 216, "cache", "(one graph for each key)")
    picture.arrow((120, 274), (120, 312), label="(hit, or traced)")
    picture.arrow((360, 172), (360, 336), (228, 336), label="(inputs)", at=(368, 260))
    picture.box(12, 312, 216, "graph")
    picture.arrow((120, 345), (120, 384))
    picture.box(12, 384, 216, "result", kind="result")
    picture.box(
        252,
        370,
        216,
        "(other numbers: same key)",
        "(other shape, dtype, name:)",
        "(another key, another graph)",
        kind="plain",
    )
    return picture


def caches():
    """How a graph comes and goes."""
    picture = Picture(
        "caches",
        470,
        "A graph is built once for its key and goes with a budget, with an object it needs or with state it read",
    )
    picture.box(150, 12, 180, "a call, with its key")
    picture.arrow((240, 45), (240, 80))
    picture.box(150, 80, 180, "is there a graph?")
    picture.arrow((330, 97), (392, 97), (392, 140), label="yes", at=(345, 90))
    picture.arrow((150, 97), (98, 97), (98, 140), label="no", at=(116, 90))
    picture.box(12, 140, 190, "trace", "(one thread; others wait)", "(for this key only)")
    picture.box(320, 140, 148, "run it", kind="result")
    picture.arrow((202, 157), (320, 157), label="(it is kept)", at=(222, 150))
    picture.arrow((98, 211), (98, 256))
    picture.box(12, 256, 456, "the graphs that are kept: 256, those used last")
    picture.text(240, 314, "what drops one")
    columns = [
        (12, ["the budget", "(number of graphs)", "(or their bytes)"]),
        (166, ["an object dies", "(one that the key)", "(knows by identity)"]),
        (320, ["state changes", "`zrun.tracked`", "(that was read)"]),
    ]
    for x, lines in columns:
        if x != 166:  # The heading is in the middle.
            picture.arrow((x + 74, 289), (x + 74, 326))
        picture.box(x, 326, 148, *lines, kind="end")
    picture.text(240, 426, "`run.clear_graph_cache()`")
    picture.text(240, 448, "(drops all; results never change)")
    return picture


def derivatives():
    """Which derivative is taken where."""
    picture = Picture(
        "derivatives",
        430,
        "Automatic derivatives go through the graph, with differences of NumPy blocks; numerical ones take the whole",
    )
    picture.box(110, 12, 260, "`zrun.gradient(func, params)`", "(Jacobian, Hessian, ...)")
    picture.arrow((150, 64), (114, 116), label="`autograd=True`", at=(12, 92))
    picture.arrow((330, 64), (366, 116), label="`autograd=False`", at=(362, 92))
    picture.box(12, 116, 204, "automatic", "(backwards through)", "(the operations of the graph)")
    picture.box(264, 116, 204, "numerical", "(all points of a stencil in)", "(one batch, Richardson)")
    picture.arrow((114, 187), (114, 224), label="(a block of NumPy on the way)")
    picture.box(
        12, 224, 204, "`zrun.numpy_function`", "(its Jacobian, or differences)", "(of that block alone)", kind="end"
    )
    picture.arrow((114, 295), (114, 332))
    picture.arrow((366, 187), (366, 332))
    picture.box(12, 332, 204, "exact, but for such a block", kind="result")
    picture.box(264, 332, 204, "with an error estimate", "`return_error=True`", kind="result")
    picture.text(240, 410, "No derivative at all: an error that names the function, never a zero")
    return picture


def house():
    """The packages, their parts, and which way imports go."""
    picture = Picture("house", 822, "zrun_compat imports zrun_tf, which imports zrun_core; nothing points back")
    y = picture.box(
        12,
        12,
        456,
        "zrun_compat",
        "(the old run manager's names: _run, execution, _deprecate)",
        "(the codemod: _migrate; zfit on zrun: zfit)",
    )
    picture.arrow((240, y), (240, y + 26), label="(imports)")
    y = picture.box(12, y + 26, 456, "zrun_tf", kind="box")
    parts = [
        ("_function, _dispatch, _backend", "the decorator, the fast way, TensorFlow's switches"),
        ("_objective, _losses, _parameters", "the bridge to minimisers"),
        ("gradients", "automatic, numerical, check_gradient"),
        ("_pyfunc", "NumPy and Python inside graphs"),
        ("_chunked*", "sums and maps over many rows"),
        ("_threads, _blas, _forked", "thread counts that arrive"),
        ("cli", "the zrun command"),
    ]
    y = _rows(picture, y, parts)
    picture.arrow((240, y), (240, y + 26), label="(imports)")
    y = picture.box(12, y + 26, 456, "zrun_core", kind="box")
    parts = [
        ("_policy, _kinds, _scope", "the policy: a value, its default, its blocks"),
        ("_structure, _struct, _containers", "arguments into key and leaves"),
        ("_cache, _builder, _budgets", "graphs that are kept, and for how long"),
        ("_tracked, _reads, _invalidates", "state that drops what read it"),
        ("_cpus, _cgroups, _leases", "how many CPUs, and who has them"),
        ("_manager*, _function, _backend", "RunManager and the protocol of backends"),
        ("_events, _explain, testing", "what happened, and why"),
    ]
    _rows(picture, y, parts)
    return picture


def _rows(picture, y, parts):
    picture.parts.append(
        f'<rect class="plain" style="stroke:#8b9fe0" x="12" y="{y}" width="456" height="{len(parts) * ROW + 8}"/>'
    )
    for number, (modules, what) in enumerate(parts):
        picture.text(24, y + 22 + ROW * number, f"`{modules}`", "start")
        picture.text(24, y + 40 + ROW * number, f"({what})", "start")
    return y + len(parts) * ROW + 8


PICTURES = (policy, structure, caches, derivatives, house)


def main(folder):
    """Write each picture into a folder."""
    for draw in PICTURES:
        picture = draw()
        (folder / f"diagram-{picture.name}.svg").write_text(picture.svg(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
