"""Fault 20: methods that only raise, in the class that everybody uses."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import zrun_compat
import zrun_core
import zrun_tf

ROOT = Path(__file__).parents[2]
MODULES = sorted(ROOT.glob("packages/*/src/*/*.py"))
GONE = ["experimental_disable_param_update", "hashing_data", "set_data_hashing"]
OLD = ["aquire_cpu", "experimental_is_eager", "get_graph_mode", "numeric_checks", "set_graph_mode"]


def only_raises(function):
    body = [node for node in function.body if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))]
    # A message that is put together first changes nothing.
    body = [node for node in body if not isinstance(node, ast.Assign)]
    return len(body) == 1 and isinstance(body[0], ast.Raise) and "NotImplementedError" not in ast.dump(body[0])


def tombstones(tree):
    return [
        f"{cls.name}.{node.name}"
        for cls in ast.walk(tree)
        if isinstance(cls, ast.ClassDef)
        for node in cls.body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and only_raises(node)
    ]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_public_method_only_raises(path):
    # Six methods of the run manager used to do nothing else, four of them after a warning that they would go.
    assert tombstones(ast.parse(path.read_text(encoding="utf-8"))) == []


TOMBSTONE = """
class RunManager:
    def gone(self):
        'Gone.'
        msg = 'gone'
        raise RuntimeError(msg)
"""


def test_a_tombstone_would_be_found():
    assert tombstones(ast.parse(TOMBSTONE)) == ["RunManager.gone"]


@pytest.mark.parametrize("package", [zrun_core, zrun_tf], ids=lambda package: package.__name__)
@pytest.mark.parametrize("name", [*GONE, *OLD])
def test_old_names_are_in_the_shim_only(package, name):
    assert not hasattr(package.run, name)
    assert not hasattr(package.RunManager, name)
    with pytest.raises(AttributeError) as caught:
        getattr(package.run, name)
    assert type(caught.value) is AttributeError


@pytest.mark.parametrize("name", GONE)
def test_what_is_gone_is_not_there_and_says_why(name):
    # `hasattr` used to raise.
    assert not hasattr(zrun_compat.run, name)
    assert name not in dir(zrun_compat.run)
    with pytest.raises(zrun_compat.RemovedNameError, match="is gone for good"):
        getattr(zrun_compat.run, name)
