"""Checks what is to be published: the sdists and wheels of two builds in two folders.

`python .ci/wheels.py FOLDER AGAIN` compares the two builds byte by byte and looks into each file; `--tested FOLDER`
compares the wheels that the tests install as well, and `--later FOLDER` has an installer refuse a package beside
another one that is one minor version newer.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("zrun-core", "zrun-tf", "zrun-compat")
NEEDS = {"zrun-core": None, "zrun-tf": "zrun-core", "zrun-compat": "zrun-tf"}
# What an sdist has beside the package, relative to its own folder.
BESIDE = {"PKG-INFO", "README.md", "LICENSE", "pyproject.toml", "hatch_build.py", ".gitignore"}
VERSION = re.compile(r'(?<=__version__ = ")[^"]+')


def module(package: str) -> str:
    """The import name of a package."""
    return package.replace("-", "_")


def in_tree(package: str) -> set[str]:
    """The files that git knows of a package's modules, relative to `src`."""
    source = f"packages/{package}/src"
    listed = subprocess.run(["git", "ls-files", "-z", source], cwd=ROOT, capture_output=True, check=True, text=True)
    return {path.removeprefix(f"{source}/") for path in listed.stdout.split("\0") if path}


def differences(first: Path, second: Path, pattern: str = "*") -> list[str]:
    """What two builds do not have in common, of the files whose name matches a pattern."""
    names = sorted({path.name for folder in (first, second) for path in folder.glob(pattern)})
    return [
        f"{name} is not the same in two builds of the same sources"
        for name in names
        if not all((folder / name).is_file() for folder in (first, second))
        or (first / name).read_bytes() != (second / name).read_bytes()
    ]


def faults(package: str, folder: Path) -> list[str]:
    """What is wrong with the sdist and the wheel of a package."""
    (wheel,) = folder.glob(f"{module(package)}-*.whl")
    (sdist,) = folder.glob(f"{module(package)}-*.tar.gz")
    stem = sdist.name.removesuffix(".tar.gz")
    expected = in_tree(package)
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    with tarfile.open(sdist) as archive:
        packed = {member.name.removeprefix(f"{stem}/") for member in archive if member.isfile()}
    information = f"{stem}.dist-info/"
    inside = {name for name in names if not name.startswith(information)}
    found = [f"{wheel.name} lacks {name}" for name in expected - inside]
    found += [f"{wheel.name} has {name}, which is not in the checkout" for name in inside - expected]
    found += [
        f"{wheel.name} lacks {name}"
        for name in (f"{module(package)}/py.typed", f"{information}licenses/LICENSE", f"{information}METADATA")
        if name not in names
    ]
    wanted = {f"src/{name}" for name in expected} | BESIDE
    found += [f"{sdist.name} has {name}, which it needs not" for name in packed - wanted]
    found += [f"{sdist.name} lacks {name}" for name in wanted - BESIDE - packed]
    return found


def later(out: Path) -> list[Path]:
    """Wheels of the packages as they would be one minor version from now.

    Args:
        out: an empty folder for a copy of the packages and what is built from it.
    """
    copy = out / "packages"
    ignored = shutil.ignore_patterns("__pycache__", "dist", "*.egg-info")
    shutil.copytree(ROOT / "packages", copy, ignore=ignored)
    stated = copy / "zrun-core" / "src" / "zrun_core" / "_version.py"
    text = stated.read_text(encoding="utf-8")
    major, minor, *_ = VERSION.search(text)[0].split(".")  # type: ignore[index]
    stated.write_text(VERSION.sub(f"{major}.{int(minor) + 1}.0", text), encoding="utf-8")
    for package in PACKAGES:
        build = [sys.executable, "-m", "build", "--wheel", "--outdir", str(out / "dist"), str(copy / package)]
        subprocess.run(build, check=True, capture_output=True)
    return sorted((out / "dist").iterdir())


def mixtures(folder: Path, newer: list[Path]) -> list[str]:
    """Ask the resolver for each package beside a newer one that it needs, and for all of one version."""

    def ask(*wheels: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", *map(str, wheels)]
        return subprocess.run(command, check=False, capture_output=True, text=True)

    found = []
    for package, needed in NEEDS.items():
        if needed is None:
            continue
        (mine,) = folder.glob(f"{module(package)}-*.whl")
        (other,) = (path for path in newer if path.name.startswith(f"{module(needed)}-"))
        asked = ask(mine, other)
        said = f"{asked.stdout}\n{asked.stderr}"
        if asked.returncode == 0 or "conflict" not in said or f"depends on {needed}==" not in said:
            found.append(f"{mine.name} beside {other.name} is not refused as a conflict:\n{said}")
    asked = ask(*folder.glob("*.whl"))
    if asked.returncode != 0:
        found.append(f"The wheels of one version are refused:\n{asked.stdout}\n{asked.stderr}")
    return found


def main() -> int:
    """Check, print what was found; the value is the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where a build is")
    parser.add_argument("again", type=Path, help="where another build of the same sources is")
    parser.add_argument("--tested", type=Path, metavar="FOLDER", help="where the wheels are that the tests install")
    parser.add_argument("--later", type=Path, metavar="FOLDER", help="where to build the next minor version")
    options = parser.parse_args()
    found = differences(options.folder, options.again)
    if options.tested is not None:
        found += differences(options.folder, options.tested, "*.whl")
    for package in PACKAGES:
        found += faults(package, options.folder)
    if options.later is not None:
        found += mixtures(options.folder, later(options.later))
    for line in found:
        sys.stdout.write(f"{line}\n")
    if not found:
        sizes = ", ".join(f"{path.name} ({path.stat().st_size} bytes)" for path in sorted(options.folder.iterdir()))
        sys.stdout.write(f"The same bytes twice, and nothing but what belongs there: {sizes}\n")
    return int(bool(found))


if __name__ == "__main__":
    raise SystemExit(main())
