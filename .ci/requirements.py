"""Has deptry compare what the packages import with what their wheels require: `python .ci/requirements.py WHEEL...`.

The requirements of two packages are completed when they are built, so their `pyproject.toml` does not have all of them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import zipfile
from email.parser import Parser
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
# By package: imports that its wheel does not name, and why that is right.
KNOWN = {
    # rich is used where it is there already, and pytest only by pytest itself.
    "zrun-core": {"DEP001": ["rich", "pytest"]},
    # Required through zrun-tf, which is pinned to one version; and zfit, which has to be there to be put on zrun.
    "zrun-compat": {
        "DEP001": ["zrun_core", "tensorflow", "numpy", "zfit"],
        "DEP003": ["zrun_core", "tensorflow", "numpy"],
    },
    # `zrun bench` compares with them where they are installed.
    "zrun-tf": {"DEP001": ["jacobi", "numdifftools"]},
}


def required(wheel: Path) -> tuple[str, list[str]]:
    """The name of a wheel's package and what it requires, extras included."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        said = Parser().parsestr(archive.read(name).decode())
    lines = {str(Requirement(line).name) for line in said.get_all("Requires-Dist", [])}
    return said["Name"], sorted(lines - {said["Name"]})


def main() -> int:
    """Check each wheel's package; the value is the exit status."""
    status = 0
    for wheel in map(Path, sys.argv[1:]):
        package, names = required(wheel)
        module = package.replace("-", "_")
        with tempfile.TemporaryDirectory() as folder:
            stated = Path(folder) / "pyproject.toml"
            stated.write_text(
                f"[project]\nname = {package!r}\nversion = '0'\ndependencies = {json.dumps(names)}\n"
                f"[tool.deptry]\nknown_first_party = [{module!r}]\n"
                f"[tool.deptry.per_rule_ignores]\n"
                + "".join(f"{rule} = {json.dumps(ignored)}\n" for rule, ignored in KNOWN[package].items()),
                encoding="utf-8",
            )
            command = ["deptry", "--config", str(stated), str(ROOT / "packages" / package / "src")]
            status |= subprocess.run(command, cwd=folder, check=False).returncode
    return status


if __name__ == "__main__":
    raise SystemExit(main())
