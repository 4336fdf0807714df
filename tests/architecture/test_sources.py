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


def test_what_depends_on_versions_is_in_one_module_of_each_package():
    # Comparing is what is looked for, with what others have; printing a version is not.
    asks = re.compile(
        r"\bversion_info\b|\b(has|get)attr\((sys|sys\.flags|typing|np|tf),"
        r"|\b(np|tf|numpy|tensorflow)\.(__version__|version\.\w+) *[<>=!]="
    )
    own = {path for path in MODULES if path.name == "_compat.py"}
    assert {path.parent.name for path in own} == {"zrun_core", "zrun_tf", "zrun_compat"}
    assert {path for path in MODULES if asks.search(path.read_text(encoding="utf-8"))} <= own


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_every_difference_of_versions_says_when_it_ends(package):
    (path,) = package.rglob("_compat.py")
    text = path.read_text(encoding="utf-8")
    differences = re.findall(r"\bif (?:sys|hasattr\()|\bgetattr\(sys|^[A-Z]+ = frozenset", text, flags=re.MULTILINE)
    assert differences
    assert len(re.findall(r"[Uu]ntil \w+ [\d.]+ is dropped", text)) >= len(differences)
