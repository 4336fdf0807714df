"""zfit's own tests, once as released and once on zrun, compared test by test.

Run by `nox -s downstream_zfit`. zfit's source distribution comes from the package index; its tests run a file at a
time, and what ran is kept in `--work`, so that a run that was interrupted goes on where it was, and a file is run again
only when something changed that it depends on. A test that passes as released and fails on zrun is run again, alone, in
both ways, up to two times; it counts as worse only if it never passed on zrun.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tarfile
import time
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
VERSION = "0.28.0"
# Caches, execution, derivatives, losses, minimisers: what zrun is under.
FAST = (
    "tests/test_cache.py",
    "tests/test_graph.py",
    "tests/test_execution.py",
    "tests/test_temporary.py",
    "tests/test_math.py",
    "tests/backend/test_autograd_params.py",
    "tests/backend/test_caching_backend.py",
    "tests/backend/test_custom_jit.py",
    "tests/loss/test_loss_validation.py",
    "tests/test_loss.py",
    "tests/minimize/test_minimizer_validation.py",
)
MODES = ("released", "zrun")
GOOD = frozenset({"passed", "xpassed"})


def fetch(work: Path) -> Path:
    """The unpacked source distribution; fetched where it is not there yet."""
    source = work / f"zfit-{VERSION}"
    if not source.is_dir():
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "zfit"]
        subprocess.run([*command, "--dest", str(work), f"zfit=={VERSION}"], check=True)
        with tarfile.open(work / f"zfit-{VERSION}.tar.gz") as archive:
            archive.extractall(work, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
        (source / "docs" / "images").mkdir(exist_ok=True, parents=True)
    return source


def depends_on(mode: str) -> str:
    """What the outcomes of a run in this mode depend on, as a digest."""
    packages = (
        "zfit",
        "tensorflow",
        "numpy",
        "boost-histogram",
        "iminuit",
        "scipy",
        "tensorflow-probability",
        "pytest",
    )
    digest = hashlib.sha256(repr((sys.version_info[:3], [version(name) for name in packages])).encode())
    files = [HERE / "zfit_outcomes.py"]
    if mode == "zrun":
        files += sorted((ROOT / "packages").glob("*/src/**/*.py"))
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def run(source: Path, work: Path, mode: str, selection: list[str], timeout: float) -> dict[str, dict[str, object]]:
    """Run some tests in one mode, in a process of their own; returns the outcomes by test."""
    out = work / "outcomes.json"
    out.unlink(missing_ok=True)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH")))),
        "ZRUN_DOWNSTREAM_MODE": mode,
        "ZRUN_DOWNSTREAM_OUT": str(out),
        "ZFIT_DISABLE_TF_WARNINGS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "MPLBACKEND": "Agg",
    }
    options = ["-q", "-m", "not slow", "--timeout", str(timeout), "--timeout-method", "signal", "--tb", "short"]
    command = [sys.executable, "-m", "pytest", "-p", "zfit_outcomes", "-p", "no:randomly", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, *options, *selection], cwd=source, env=environment, capture_output=True, text=True, check=False
    )
    if not out.is_file():
        end = (done.stdout + done.stderr)[-1500:]
        return {f"{selection[0]}::(the process)": {"outcome": "crashed", "seconds": 0.0, "why": end}}
    outcomes: dict[str, dict[str, object]] = json.loads(out.read_text())
    if not outcomes and done.returncode not in (0, 5):
        end = (done.stdout + done.stderr)[-1500:]
        return {f"{selection[0]}::(collection)": {"outcome": "error", "seconds": 0.0, "why": end}}
    return outcomes


def run_files(
    source: Path, work: Path, mode: str, files: list[str], timeout: float
) -> dict[str, dict[str, dict[str, object]]]:
    """Run files in one process; where that ends before all have run, each of the rest in its own."""
    outcomes = run(source, work, mode, files, timeout)
    split = {file: {test: said for test, said in outcomes.items() if test.startswith(f"{file}::")} for file in files}
    crashed = any(said["outcome"] == "crashed" for said in outcomes.values())
    for file in files:
        if len(files) > 1 and (crashed or not split[file]):
            split[file] = run(source, work, mode, [file], timeout)
    return split


class Results:
    """What ran, kept in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._parts = json.loads(path.read_text()) if path.is_file() else {}

    def get(self, mode: str, part: str, key: str) -> dict[str, dict[str, object]] | None:
        """The outcomes of a part, if it ran under the same circumstances."""
        found = self._parts.get(f"{mode} {part}")
        return found["tests"] if found and found["key"] == key else None

    def put(self, mode: str, part: str, key: str, tests: dict[str, dict[str, object]], seconds: float) -> None:
        """Keep the outcomes of a part."""
        self._parts[f"{mode} {part}"] = {"key": key, "tests": tests, "seconds": round(seconds, 1)}
        partial = self._path.with_suffix(".part")
        partial.write_text(json.dumps(self._parts, indent=1))
        partial.replace(self._path)

    def seconds(self, mode: str, part: str) -> float:
        """How long a part took."""
        return float(self._parts[f"{mode} {part}"]["seconds"])


def again(source: Path, work: Path, tests: list[str], by_mode: dict[str, dict[str, dict[str, object]]]) -> None:
    """Run tests that differ again, each alone, and note what came of it."""
    for test in tests:
        for _ in range(2):
            once = {mode: run(source, work, mode, [test], 300).get(test, {"outcome": "crashed"}) for mode in MODES}
            if once["zrun"]["outcome"] in GOOD or once["released"]["outcome"] not in GOOD:
                note = f"alone: {once['released']['outcome']} as released, {once['zrun']['outcome']} on zrun"
                by_mode["zrun"][test] |= {"outcome": "unsteady", "why": note}
                break


def judge(released: str, on_zrun: str) -> str:
    """One word for a pair of outcomes."""
    if released in GOOD and on_zrun not in GOOD:
        return "unsteady" if on_zrun == "unsteady" else "worse"
    if on_zrun in GOOD and released not in GOOD:
        return "better"
    return "equal"


def main() -> int:
    """Run, compare, print a table; the exit code is 1 where a test is worse."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="only caches, execution, derivatives, losses, minimisers")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "downstream", help="where everything is kept")
    parser.add_argument("--minutes", type=float, default=None, help="start no new file after this time")
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds that one test may take")
    parser.add_argument("--together", type=int, default=6, help="how many files run in one process")
    parser.add_argument("parts", nargs="*", help="test files to run, from the root of zfit's sources; default: all")
    given = parser.parse_args()
    # The tests run in another folder.
    given.work = given.work.resolve()
    given.work.mkdir(parents=True, exist_ok=True)
    source = fetch(given.work)
    everything = sorted(str(path.relative_to(source)) for path in source.glob("tests/**/test_*.py"))
    parts = given.parts or (list(FAST) if given.fast else everything)
    if unknown := [part for part in parts if part not in everything]:
        parser.error(f"zfit {VERSION} has no {', '.join(unknown)}.")
    results = Results(given.work / f"zfit-{VERSION}.json")
    keys = {mode: depends_on(mode) for mode in MODES}
    began, left, counts, worse = time.monotonic(), [], {}, []
    width = max(map(len, parts))
    print(f"{'':{width}} released   zrun  equal better worse unsteady   seconds as released, on zrun", flush=True)
    for part in parts:
        by_mode = {mode: results.get(mode, part, keys[mode]) for mode in MODES}
        if given.minutes is not None and None in by_mode.values() and time.monotonic() - began > 60 * given.minutes:
            left.append(part)
            continue
        for mode in MODES:
            if by_mode[mode] is None:
                # Starting takes longer than many a file, so several run in one process.
                later = [each for each in parts[parts.index(part) :] if results.get(mode, each, keys[mode]) is None]
                together = later[: given.together]
                for each, tests in run_files(source, given.work, mode, together, given.timeout).items():
                    spent = sum(float(str(test["seconds"])) for test in tests.values())
                    results.put(mode, each, keys[mode], tests, spent)
                by_mode[mode] = results.get(mode, part, keys[mode])
        said = compare(by_mode)
        if said["worse"]:
            again(source, given.work, said["worse"], by_mode)
            results.put("zrun", part, keys["zrun"], by_mode["zrun"], results.seconds("zrun", part))
            said = compare(by_mode)
        passed = [sum(each["outcome"] in GOOD for each in by_mode[mode].values()) for mode in MODES]
        for word, tests in said.items():
            counts[word] = counts.get(word, 0) + len(tests)
        worse += said["worse"]
        seconds = ", ".join(f"{results.seconds(mode, part):.0f}" for mode in MODES)
        numbers = " ".join(f"{len(said[word]):6}" for word in ("equal", "better", "worse", "unsteady"))
        print(f"{part:{width}} {passed[0]:8} {passed[1]:6} {numbers}   {seconds}", flush=True)
        for word in ("better", "worse", "unsteady"):
            for test in said[word]:
                print(f"  {word}: {test}", flush=True)
    print(f"{sum(counts.values())} tests: " + ", ".join(f"{number} {word}" for word, number in counts.items()))
    if left:
        print(f"not run, for lack of time: {len(left)} files; run the same command again")
    for test in worse:
        print(f"WORSE {test}")
    return 1 if worse else 0


def compare(by_mode: dict[str, dict[str, dict[str, object]]]) -> dict[str, list[str]]:
    """Tests by how they compare."""
    found: dict[str, list[str]] = {"equal": [], "better": [], "worse": [], "unsteady": []}
    missing = {"outcome": "missing"}
    for test in sorted({*by_mode["released"], *by_mode["zrun"]}):
        pair = [str(by_mode[mode].get(test, missing)["outcome"]) for mode in MODES]
        found[judge(*pair)].append(test)
    return found


if __name__ == "__main__":
    sys.exit(main())
