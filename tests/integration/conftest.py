"""The table of digits of the NIST problems: printed at the end of a run, and written into a page on request."""

from __future__ import annotations

import re
from pathlib import Path

HEADER = """\
| problem | level | data | start 1, autograd | start 1, numerical | start 2, autograd | start 2, numerical |
|---|---|---|---|---|---|---|
"""
TABLE = re.compile(r"(<!-- digits -->\n).*(<!-- end of digits -->)", re.DOTALL)


def pytest_addoption(parser):
    parser.addoption("--nist-table", metavar="FILE", help="write the digits of the NIST problems into this page")


def pytest_terminal_summary(terminalreporter, config):
    # The reports carry the digits, so that the table is whole when other processes ran the tests.
    digits = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            for key, value in getattr(report, "user_properties", ()) if getattr(report, "when", "") == "call" else ():
                if key == "nist":
                    digits.setdefault(tuple(value[:3]), {}).update(value[3])
    if not digits:
        return
    rows = [
        f"| {' | '.join(problem)} | "
        + " | ".join(found.get(f"{start} {way}", "") for start in (1, 2) for way in ("autograd", "numerical"))
        + " |"
        for problem, found in sorted(digits.items())
    ]
    table = HEADER + "\n".join(rows) + "\n"
    terminalreporter.section("agreeing digits, NIST problems")
    terminalreporter.write(table)
    page = config.getoption("nist_table", None)
    if page:
        text = Path(page).read_text(encoding="utf-8")
        Path(page).write_text(TABLE.sub(lambda found: found[1] + table + found[2], text), encoding="utf-8")
