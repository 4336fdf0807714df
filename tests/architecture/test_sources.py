"""Modules are short, and the version and the licence are stated once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import zrun_compat
import zrun_core
import zrun_tf

ROOT = Path(__file__).parents[2]
PACKAGES = sorted((ROOT / "packages").iterdir())
MODULES = sorted(ROOT.glob("packages/*/src/**/*.py"))
STATED_IN = ROOT / "packages" / "zrun-core" / "src" / "zrun_core" / "_version.py"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_module_is_under_300_lines(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines < 300


def test_the_three_packages_have_one_version():
    assert zrun_core.__version__ == zrun_tf.__version__ == zrun_compat.__version__
    assert f'__version__ = "{zrun_core.__version__}"' in STATED_IN.read_text(encoding="utf-8")


def test_the_version_is_stated_once():
    # Check that no other module and no pyproject.toml assigns a version of its own.
    assigns = re.compile(r"^(__version__|version)\s*[:=].*\d+\.\d+\.\d+", flags=re.MULTILINE)
    files = [*MODULES, *ROOT.glob("packages/*/pyproject.toml"), ROOT / "pyproject.toml"]
    assert [path for path in files if assigns.search(path.read_text(encoding="utf-8"))] == [STATED_IN]


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_each_package_carries_the_licence(package):
    assert (package / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_the_build_hooks_are_the_same():
    # An sdist must hold its own hook, so the file exists twice.
    assert len({path.read_bytes() for path in ROOT.glob("packages/*/hatch_build.py")}) == 1
