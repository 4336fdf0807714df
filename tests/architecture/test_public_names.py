"""What is public is what the reference pages document: nothing more, nothing less."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("zrun_core", "zrun_tf", "zrun_compat")
# The interface of this module is the `zrun` command, not a function to call.
NOT_FOR_IMPORT = {"zrun_tf.cli"}


def public_modules(package):
    """The importable modules of a package that have no underscore in their path, the package itself first."""
    (source,) = ROOT.glob(f"packages/*/src/{package}")
    names = {package}
    for path in source.rglob("*.py"):
        parts = path.relative_to(source.parent).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if not any(part.startswith("_") for part in parts):
            names.add(".".join(parts))
    return sorted(name for name in names if not any(f"{name}.".startswith(f"{skip}.") for skip in NOT_FOR_IMPORT))


def documented(package):
    """The dotted names that the package's reference page has an entry for, in its order."""
    page = ROOT / "docs" / "site" / "reference" / f"{package}.md"
    return re.findall(r"^::: ([\w.]+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)


def public(module_name):
    """`__all__` without dunder names, which need no entry."""
    return [name for name in importlib.import_module(module_name).__all__ if not name.startswith("__")]


MODULES = [name for package in PACKAGES for name in public_modules(package)]


@pytest.mark.parametrize("package", PACKAGES)
def test_the_reference_documents_exactly_what_the_package_exports(package):
    entries = [name for name in documented(package) if name.count(".") == 1]
    assert sorted(entries) == sorted(f"{package}.{name}" for name in public(package))


@pytest.mark.parametrize("module_name", [name for name in MODULES if "." in name])
def test_the_reference_documents_what_a_public_module_adds(module_name):
    # Check that a public module has an entry as a whole, or that each name the package does not re-export has one.
    package = module_name.split(".")[0]
    if module_name in documented(package):
        return
    added = {f"{module_name}.{name}" for name in public(module_name) if name not in public(package)}
    entries = {name for name in documented(package) if name.rpartition(".")[0] == module_name}
    assert entries == added


@pytest.mark.parametrize("package", PACKAGES)
def test_no_entry_names_something_else(package):
    assert {name.rpartition(".")[0] for name in documented(package)} <= set(public_modules(package))


@pytest.mark.parametrize("module_name", MODULES)
def test_all_has_no_name_twice_and_each_resolves(module_name):
    module = importlib.import_module(module_name)
    assert len(module.__all__) == len(set(module.__all__))
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


@pytest.mark.parametrize("module_name", MODULES)
def test_everything_public_has_a_docstring(module_name):
    module = importlib.import_module(module_name)
    undocumented = [
        name for name in public(module_name) if callable(getattr(module, name)) and not getattr(module, name).__doc__
    ]
    assert undocumented == []
    assert module.__doc__
