"""Puts the results of the matrix together: a table as Markdown and JSON in `build/matrix`, and on the screen.

A row that was not run is listed as not run. The exit status is 1 where a test failed in a row that may not fail, or
where a test was skipped in every row; with `--complete` also where a row that may not fail was not run.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import textwrap
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from generate import matrix
from row import RESULTS, fingerprint

Entry = dict[str, Any]
TAKEN = ("python", "tensorflow", "numpy", "tests", "seconds", "status", "failed")
COLUMNS = ("row", "Python", "TensorFlow", "NumPy", "mode", "tests", "failures", "skips", "seconds", "")


def results(folder: Path, source: str) -> dict[tuple[str, str], Entry]:
    """The results of these sources, by row and mode."""
    kept = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("**/*.*.json"))]
    return {(one["row"], one["mode"]): one for one in kept if one["source"] == source}


def chosen(arguments: list[str], corner: list[str]) -> str:
    """What was run of a row, in a few words.

    Args:
        arguments: those of pytest.
        corner: the tests of the corners.
    """
    if {"not slow", *corner} <= set(arguments):
        return "the tests of the corners"
    return f"chosen: `{textwrap.shorten(' '.join(arguments), 60, placeholder=' …')}`"


def entries(settings: Entry, found: dict[tuple[str, str], Entry], missing: list[str]) -> list[Entry]:
    """One entry for each row and mode, in the order of the rows.

    Args:
        settings: the table `[tool.zrun.matrix]`.
        found: the results, by row and mode.
        missing: the Python versions that this machine has no interpreter of.
    """
    made = []
    for row in settings["rows"]:
        for mode in settings["modes"] if "tensorflow" in row else ["default"]:
            result = found.get((row["name"], mode))
            entry: Entry = {
                "row": row["name"],
                "python": row["python"],
                "tensorflow": row.get("tensorflow"),
                "numpy": row.get("numpy"),
                "mode": mode,
                "ran": result is not None,
                "may_fail": row.get("may-fail"),
            }
            if result is None:
                entry["note"] = f"not run: no Python {row['python']} here" if row["python"] in missing else "not run"
            else:
                entry |= {name: result[name] for name in TAKEN}
                entry |= {"failures": len(result["failed"]), "skips": len(result["skipped"])}
                notes = [chosen(result["arguments"], settings.get("corner-tests", []))] if result["arguments"] else []
                notes += [f"pytest ended with {result['status']}"] if result["status"] not in (0, 1) else []
                entry["note"] = "; ".join(notes)
            made.append(entry)
    return made


def always_skipped(found: dict[tuple[str, str], Entry]) -> dict[str, str] | None:
    """The tests that were skipped wherever they were collected, with the reason; None where nothing was run whole."""
    whole = [one for one in found.values() if not one["arguments"]]
    if not any(one["mode"] == "default" for one in whole):
        return None
    ran = {test for one in found.values() for test in one["ran"]}
    return {test: why for one in whole for test, why in one["skipped"].items() if test not in ran}


def markdown(made: list[Entry]) -> str:
    """The entries as a table."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for one in made:
        counts = [str(one.get(name, "")) for name in ("tests", "failures", "skips", "seconds")]
        note = "; ".join(part for part in (one["note"], "may fail" if one["may_fail"] else "") if part)
        cells = [one["row"], one["python"], one["tensorflow"] or "none", one["numpy"] or "", one["mode"], *counts, note]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write and print the summary; the value is the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--missing", action="append", default=[], help="a Python version that is not on this machine")
    parser.add_argument("--complete", action="store_true", help="fail where a row was not run")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder with the results")
    options = parser.parse_args()
    settings = matrix()
    found = results(options.results, fingerprint())
    made = entries(settings, found, options.missing)
    bad = [one for one in made if one["ran"] and one["status"] != 0 and not one["may_fail"]]
    absent = [one for one in made if not one["ran"] and not one["may_fail"]]
    skipped = always_skipped(found)
    said = [markdown(made), ""]
    said += [f"FAILED {one['row']}, {one['mode']}: {test}" for one in made for test in one.get("failed", [])]
    done = sum(one["ran"] for one in made)
    said.append(f"{done} of {len(made)} runs done, {len(bad)} failed; {len(made) - done} not run.")
    idle: dict[str, str] = {}
    if skipped is None:
        said.append("No row was run whole, so it is not known whether a test is skipped in every row.")
    else:
        excused = () if os.environ.get("CI") else tuple(settings["machine-skips"])
        idle = {test: why for test, why in skipped.items() if not any(part in why for part in excused)}
        said += [f"SKIPPED IN EVERY ROW: {test}: {why}" for test, why in idle.items()]
        excused_count = len(skipped) - len(idle)
        said.append(f"{len(skipped)} tests skipped in every row, {excused_count} of them for the machine's sake.")
    text = "\n".join(said) + "\n"
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "summary.md").write_text(text, encoding="utf-8")
    (RESULTS / "summary.json").write_text(
        json.dumps({"runs": made, "skipped in every row": skipped}, indent=1) + "\n", encoding="utf-8"
    )
    sys.stdout.write(text)
    return int(bool(bad or idle or (options.complete and absent)))


if __name__ == "__main__":
    raise SystemExit(main())
