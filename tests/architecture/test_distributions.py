"""What is built from the checkout, and from an sdist that lies somewhere else with no sibling beside it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from zrun_core import __version__ as version

ROOT = Path(__file__).parents[2]
PACKAGES = ("zrun-core", "zrun-tf", "zrun-compat")
PINNED = {"zrun-core": None, "zrun-tf": f"zrun-core=={version}", "zrun-compat": f"zrun-tf=={version}"}


def build(folder, out, *targets):
    """Build with the backend itself: no isolated environment, so no network."""
    arguments = [argument for target in targets for argument in ("-t", target)]
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(out), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def contents(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def metadata(files):
    (name,) = (name for name in files if name.endswith(".dist-info/METADATA"))
    return Parser().parsestr(files[name].decode())


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with a copy of the checkout's packages, and in `dist` an sdist and a wheel built from each."""
    folder = tmp_path_factory.mktemp("checkout")
    copy, out = folder / "packages", folder / "dist"
    shutil.copytree(ROOT / "packages", copy, ignore=shutil.ignore_patterns("__pycache__", "dist"))
    for name in PACKAGES:
        build(copy / name, out, "sdist", "wheel")
    return folder


@pytest.mark.parametrize("name", PACKAGES)
def test_a_wheel_from_the_sdist_equals_one_from_the_checkout(name, built, tmp_path):
    stem = f"{name.replace('-', '_')}-{version}"
    with tarfile.open(built / "dist" / f"{stem}.tar.gz") as archive:
        for member in archive:
            archive.extract(member, tmp_path)
    build(tmp_path / stem, tmp_path, "wheel")
    wheel = f"{stem}-py3-none-any.whl"
    assert contents(tmp_path / wheel) == contents(built / "dist" / wheel)


@pytest.mark.parametrize("name", PACKAGES)
def test_a_wheel_holds_the_package_and_nothing_else(name, built):
    module = name.replace("-", "_")
    source = built / "packages" / name / "src"
    files = contents(built / "dist" / f"{module}-{version}-py3-none-any.whl")
    packaged = {path for path in files if not path.startswith(f"{module}-{version}.dist-info/")}
    in_tree = {path.relative_to(source).as_posix() for path in (source / module).rglob("*") if path.is_file()}
    assert packaged == in_tree
    assert f"{module}/py.typed" in packaged
    assert f"{module}-{version}.dist-info/licenses/LICENSE" in files


@pytest.mark.parametrize("name", PACKAGES)
def test_a_wheel_requires_its_sibling_of_the_same_version(name, built):
    files = contents(built / "dist" / f"{name.replace('-', '_')}-{version}-py3-none-any.whl")
    said = metadata(files)
    siblings = [line for line in said.get_all("Requires-Dist") if line.startswith("zrun-") and "extra ==" not in line]
    assert siblings == [PINNED[name]] if PINNED[name] else siblings == []
    assert (said["Version"], said["License-Expression"]) == (version, "BSD-3-Clause")
