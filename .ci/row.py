"""Runs the tests in this environment as one row of the matrix, once for each mode, and keeps what came of it.

`python .ci/row.py NAME --mode default --mode eager -- ARGUMENTS OF PYTEST` leaves a file for each mode in
`build/matrix`, which `.ci/summary.py` reads. Without arguments for pytest the run counts as whole. `--core` makes the
tests of zrun-core a part of the whole although TensorFlow is here.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "build" / "matrix"
# What a result depends on, the pages among it, whose examples are run; a result of other sources does not count.
SOURCES = ("packages", "tests", "docs", "README.md", "CONTRIBUTING.md", "pyproject.toml")
# The tests of a part, and its packages: by name, so that the examples of what is installed are run, not the checkout's.
CORE = (["tests/core"], ["zrun_core"])
OTHERS = (["tests/tf", "tests/compat", "tests/integration", "tests/regressions"], ["zrun_tf", "zrun_compat"])
# The session zfit runs these, with zfit, which not every row can have.
ELSEWHERE = "--ignore-glob=tests/compat/test_zfit*.py"
NO_TESTS = 5


def fingerprint() -> str:
    """A hash of every file that results depend on, committed or not."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *SOURCES]
    paths = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    digest = hashlib.sha256()
    for path in sorted({ROOT / path for path in paths if path}):
        if path.is_file():
            digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def from_the_checkout(*names: str) -> list[str]:
    """Those of several packages that an import would take from the checkout, whose wheels are to be tested."""
    specs = {name: importlib.util.find_spec(name) for name in names}
    return [name for name, spec in specs.items() if spec and (ROOT / "packages") in Path(spec.origin or "/").parents]


def version(*names: str) -> str | None:
    """The version of the first of several distributions that is installed; None where none is."""
    installed = {one.name.lower().replace("-", "_"): one.version for one in importlib.metadata.distributions()}
    return next((installed[name] for name in names if name in installed), None)


def counted(report: Path) -> dict[str, Any]:
    """What a report of pytest in the format of JUnit says.

    Args:
        report: the file.

    Returns:
        The number of tests, of failures with errors, the skipped tests with their reasons, and which were not skipped.
    """
    failed: list[str] = []
    skipped: dict[str, str] = {}
    ran: list[str] = []
    for case in ET.parse(report).getroot().iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        skip = case.find("skipped")
        if skip is not None:
            skipped[name] = skip.get("message") or ""
            continue
        ran.append(name)
        if case.find("failure") is not None or case.find("error") is not None:
            failed.append(name)
    return {"tests": len(ran) + len(skipped), "failed": failed, "skipped": skipped, "ran": ran}


def everything(has_tensorflow: bool, core: bool) -> list[str]:
    """The arguments for pytest of a whole run.

    Args:
        has_tensorflow: whether TensorFlow is here, without which zrun-core is all there is.
        core: whether to test zrun-core although it is. Nothing of it looks at TensorFlow, and for each Python version
            there is a row without.
    """
    parts = ([CORE] if core or not has_tensorflow else []) + ([OTHERS] if has_tensorflow else [])
    return [
        *(path for tests, _ in parts for path in tests),
        ELSEWHERE,
        "--pyargs",
        *(name for _, names in parts for name in names),
    ]


def run(name: str, mode: str, arguments: list[str], core: bool) -> bool:
    """Run the tests in one mode, keep the result and say whether all passed."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    kept, report = RESULTS / f"{name}.{mode}.json", RESULTS / f"{name}.{mode}.xml"
    # What an interrupted run leaves is no result.
    kept.unlink(missing_ok=True)
    report.unlink(missing_ok=True)
    tensorflow = version("tensorflow", "tf_nightly")
    chosen = arguments or everything(tensorflow is not None, core)
    source = fingerprint()
    begin = time.monotonic()
    command = [sys.executable, "-m", "pytest", f"--junitxml={report}", *chosen]
    status = subprocess.run(command, cwd=ROOT, env={**os.environ, "TESTS_MODE": mode}, check=False).returncode
    seconds = time.monotonic() - begin
    # Not by default: a file that is not there also ends a run like this.
    if status == NO_TESTS and arguments and mode != "default":
        sys.stdout.write(f"{name}, {mode}: none of the chosen tests belongs to this mode.\n")
        return True
    result = {
        "row": name,
        "mode": mode,
        "source": source,
        "arguments": arguments,
        "status": status,
        "seconds": round(seconds, 1),
        "python": platform.python_version(),
        "tensorflow": tensorflow,
        "numpy": version("numpy"),
        **(counted(report) if report.exists() else {"tests": 0, "failed": [], "skipped": {}, "ran": []}),
    }
    kept.write_text(json.dumps(result, indent=1), encoding="utf-8")
    return status == 0


def main() -> int:
    """Run the modes that are asked for; the value is the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("row", help="the name of the row")
    parser.add_argument("--mode", action="append", required=True, help="a mode; may be given several times")
    parser.add_argument("--core", action="store_true", help="test zrun-core although TensorFlow is here")
    # argparse would take options of pytest for its own.
    given = sys.argv[1:]
    end = given.index("--") if "--" in given else len(given)
    options = parser.parse_args(given[:end])
    found = from_the_checkout(*CORE[1], *OTHERS[1])
    if found:
        raise SystemExit(f"{', '.join(found)} would be imported from the checkout: install the wheels, as nox does.")
    passed = [run(options.row, mode, given[end + 1 :], options.core) for mode in options.mode]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    raise SystemExit(main())
