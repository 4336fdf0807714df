"""Fault 17: lines that nobody ran, among them a deprecation that never warned."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

import zrun_compat
from zrun_compat import ZrunDeprecationWarning, run

SOURCE = Path(zrun_compat.__file__).parent
MODULES = sorted(SOURCE.glob("*.py"))


def decorators(node):
    return [getattr(one.func, "id", None) for one in node.decorator_list if isinstance(one, ast.Call)]


def marked(path):
    """The functions of a module that are marked as deprecated, without overloads, which nobody calls."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            overloads = [one for one in node.decorator_list if getattr(one, "id", None) == "overload"]
            if {"deprecated", "old"} & {*decorators(node)} and not overloads:
                yield node


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_whatever_is_marked_as_deprecated_warns_too(path):
    # The call that deprecated a function used to stand alone, without the @, and the function never warned.
    for node in marked(path):
        assert decorators(node) == ["deprecated", "old"], f"{path.name}:{node.lineno}"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    alone = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and getattr(node.value.func, "id", None) in {"deprecated", "old"}
    ]
    assert alone == []


def test_there_is_something_to_check():
    assert sum(len([*marked(path)]) for path in MODULES) >= 15


def test_a_deprecation_does_warn():
    with pytest.warns(ZrunDeprecationWarning, match=r"run\.get_autograd_mode\(\) is deprecated"):
        assert run.get_autograd_mode() is True


@pytest.mark.parametrize("module", ["zrun_compat", "zrun_compat.execution"])
def test_all_names_nothing_that_is_missing(module):
    # `__all__` used to name a function that did not exist.
    loaded = importlib.import_module(module)
    assert [name for name in loaded.__all__ if not hasattr(loaded, name)] == []
