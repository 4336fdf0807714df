"""Writes what follows from the rows of `[tool.zrun.matrix]`: the workflow's jobs, the docs' table, the classifiers.

`python .ci/generate.py` writes; with `--check` it only says what differs, and fails where something does.
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    # Until Python 3.10 is dropped.
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
WORKFLOW = ".github/workflows/ci.yml"
PAGE = "docs/site/versions.md"
WITH_TENSORFLOW = ("zrun-tf", "zrun-compat")
PACKAGES = ("zrun-core", *WITH_TENSORFLOW)

Row = dict[str, Any]


def matrix() -> dict[str, Any]:
    """The table `[tool.zrun.matrix]`."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found: dict[str, Any] = settings["tool"]["zrun"]["matrix"]
    return found


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def pythons(rows: list[Row], package: str) -> list[str]:
    """The Python versions a package is tested with, from old to new."""
    takes = [row for row in rows if "may-fail" not in row and (package == "zrun-core" or "tensorflow" in row)]
    return sorted({row["python"] for row in takes}, key=_order)


def classifiers(text: str, rows: list[Row], package: str) -> str:
    """A package's `pyproject.toml` with the classifiers of the Python versions it is tested with."""
    line = '    "Programming Language :: Python :: {}",\n'
    made = "".join(line.format(version) for version in pythons(rows, package))
    return re.sub(r'(    "Programming Language :: Python :: 3\.\d+",\n)+', lambda _: made, text)


def between(text: str, mark: str, made: str) -> str:
    """A text with what stands between the comments `MARK` and `end of MARK` exchanged."""
    pattern = rf"(?<={re.escape(mark)})(?P<end>[^\n]*\n)(?s:.*?)(?P<last>[^\n]*end of {re.escape(mark)})"
    replaced, count = re.subn(pattern, lambda found: found["end"] + made + found["last"], text)
    if count != 1:
        raise SystemExit(f"The comments {mark!r} and 'end of {mark}' stand {count} times in a text; needed: once.")
    return replaced


def jobs(rows: list[Row]) -> str:
    """The entries of the workflow's matrix: one for each row."""
    return "".join(
        f'          - {{ row: {row["name"]}, python: "{row["python"]}", may-fail: {str("may-fail" in row).lower()} }}\n'
        for row in rows
    )


def table(rows: list[Row]) -> str:
    """The rows as a table for the docs, from the oldest versions to the newest, those with TensorFlow first."""

    def key(row: Row) -> tuple[Any, ...]:
        tensorflow = row.get("tensorflow", "")
        return (not tensorflow, tensorflow == "nightly", tensorflow, _order(row["python"]), row["name"])

    lines = ["| row | Python | TensorFlow | NumPy | |", "|---|---|---|---|---|"]
    for row in sorted(rows, key=key):
        tensorflow = row.get("tensorflow")
        numpy = (row.get("numpy") or "newest").removeprefix("==").removesuffix(".*") if tensorflow else "none"
        notes = ["zrun-core alone"] if not tensorflow else []
        notes += ["every direct requirement as old as is allowed"] if row.get("lowest") else []
        notes += [f"with `{wanted}`" for wanted in row.get("with", [])]
        notes += [f"may fail: {row['may-fail']}"] if "may-fail" in row else []
        cells = [row["name"], row["python"], tensorflow or "none", numpy, "; ".join(notes)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def generated() -> dict[str, str]:
    """Each file that holds something made from the rows, by its path in the checkout, as it should be."""
    rows: list[Row] = matrix()["rows"]
    made = {
        WORKFLOW: between((ROOT / WORKFLOW).read_text(encoding="utf-8"), "rows of the matrix", jobs(rows)),
        PAGE: between((ROOT / PAGE).read_text(encoding="utf-8"), "rows of the matrix", table(rows)),
    }
    for package in PACKAGES:
        path = f"packages/{package}/pyproject.toml"
        made[path] = classifiers((ROOT / path).read_text(encoding="utf-8"), rows, package)
    return made


def main(arguments: list[str] | None = None) -> int:
    """Write the files, or say what differs; the value is the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a file differs")
    check = parser.parse_args(arguments).check
    changed = 0
    for path, text in generated().items():
        before = (ROOT / path).read_text(encoding="utf-8")
        if text == before:
            continue
        changed += 1
        if check:
            sys.stdout.writelines(
                difflib.unified_diff(before.splitlines(True), text.splitlines(True), path, "as the rows say")
            )
        else:
            (ROOT / path).write_text(text, encoding="utf-8")
            sys.stdout.write(f"wrote {path}\n")
    if check and changed:
        sys.stdout.write("`nox -s generate` writes these files anew from [tool.zrun.matrix] in pyproject.toml.\n")
    return int(check and changed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
