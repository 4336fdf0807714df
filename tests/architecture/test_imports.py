"""Imports run zrun_compat -> zrun_tf -> zrun_core -> typing_extensions, and never back."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGES = Path(__file__).parents[2] / "packages"
MODULES = sorted(PACKAGES.glob("*/src/**/*.py"))
# A package may import what it requires, and what the package below it requires.
CORE = {"typing_extensions"}
TENSORFLOW = CORE | {"zrun_core", "numpy", "tensorflow"}
ALLOWED = {"zrun_core": CORE, "zrun_tf": TENSORFLOW, "zrun_compat": TENSORFLOW | {"zrun_tf", "deprecation"}}
EXTRAS = {
    # rich asks an object for `__rich__`, so it is there when that runs.
    "zrun_core": {"pytest", "rich"},
    "zrun_tf": {
        "click",
        "jacobi",
        "matplotlib",
        "numdifftools",
        "packaging",
        "pyarrow",
        "rich",
        "scipy",
        "threadpoolctl",
        "tqdm",
    },
    "zrun_compat": {"click", "libcst", "tqdm", "zfit"},
}
# Modules that only an extra makes usable: they may import it at the top.
EXTRA_MODULES = ("zrun_core/_pytest_plugin.py", "zrun_tf/cli/", "zrun_compat/_migrate/")
PRIVATE_TENSORFLOW_MODULE = "zrun_tf/_dispatch.py"


class Import(NamedTuple):
    """One imported module, dotted, and whether that happens only when a function is called."""

    name: str
    line: int
    in_function: bool


class ImportFinder(ast.NodeVisitor):
    """Collects the absolute imports of a module, including `import_module("…")`; relative ones stay in the package."""

    def __init__(self):
        self.found: list[Import] = []
        self.private_attributes: list[int] = []
        self._functions = 0

    def _add(self, name, node):
        self.found.append(Import(name, node.lineno, self._functions > 0))

    def _enter_function(self, node):
        self._functions += 1
        self.generic_visit(node)
        self._functions -= 1

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = _enter_function

    def visit_Import(self, node):
        for alias in node.names:
            self._add(alias.name, node)

    def visit_ImportFrom(self, node):
        if node.level == 0:
            for alias in node.names:
                self._add(f"{node.module}.{alias.name}", node)

    def visit_Call(self, node):
        called = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if called in {"import_module", "__import__"} and node.args and isinstance(node.args[0], ast.Constant):
            self._add(node.args[0].value, node)
        self.generic_visit(node)

    def visit_Attribute(self, node):
        of_tensorflow = isinstance(node.value, ast.Name) and node.value.id in {"tf", "tensorflow"}
        if of_tensorflow and (node.attr == "python" or (node.attr.startswith("_") and node.attr != "__version__")):
            self.private_attributes.append(node.lineno)
        self.generic_visit(node)


def find(source):
    finder = ImportFinder()
    finder.visit(ast.parse(source))
    return finder


def faults(source, path):
    """What the rules have against a module with this source at `path`, given as `zrun_core/_policy.py`."""
    package = path.split("/")[0]
    finder = find(source)
    said = []
    for found in finder.found:
        top = found.name.split(".")[0]
        # `tensorflow.python` and `from tensorflow import python` both read as tensorflow.python.
        if f"{found.name}.".startswith("tensorflow.python.") and path != PRIVATE_TENSORFLOW_MODULE:
            said.append(f"{path}:{found.line}: {found.name} is private to TensorFlow")
        if top in {package, "__future__"} or top in sys.stdlib_module_names or top in ALLOWED[package]:
            continue
        if top not in EXTRAS[package]:
            said.append(f"{path}:{found.line}: {package} may not import {found.name}")
        elif not (found.in_function or path.startswith(EXTRA_MODULES)):
            said.append(f"{path}:{found.line}: {found.name} belongs to an extra; import it inside a function")
    if path != PRIVATE_TENSORFLOW_MODULE:
        said += [f"{path}:{line}: an attribute that is private to TensorFlow" for line in finder.private_attributes]
    return said


def relative(path):
    """The path of a module from its package's `src` folder: `zrun_core/_policy.py`."""
    return "/".join(path.relative_to(PACKAGES).parts[2:])


def test_every_package_has_modules():
    assert {relative(path).split("/")[0] for path in MODULES} == set(ALLOWED)


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_imports_point_one_way(path):
    assert faults(path.read_text(encoding="utf-8"), relative(path)) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("zrun_core/_policy.py", "import numpy"),
        ("zrun_core/_policy.py", "def f():\n    import tensorflow as tf"),
        ("zrun_core/_policy.py", "from zrun_tf import run"),
        ("zrun_core/_policy.py", "import importlib\nimportlib.import_module('zrun_tf')"),
        ("zrun_core/_policy.py", "import pytest"),
        ("zrun_tf/_run.py", "import zrun_compat"),
        ("zrun_tf/_run.py", "import scipy.optimize"),
        ("zrun_tf/_run.py", "if True:\n    from rich.table import Table"),
        ("zrun_tf/_run.py", "from tensorflow.python.eager import context"),
        ("zrun_tf/_run.py", "from tensorflow import python"),
        ("zrun_tf/_run.py", "import tensorflow as tf\ntf.__internal__.decorator"),
        ("zrun_tf/_run.py", "import pandas"),
        ("zrun_compat/_run.py", "import libcst"),
        ("zrun_compat/_run.py", "import scipy"),
    ],
)
def test_a_wrong_import_is_found(path, source):
    assert len(faults(source, path)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("zrun_core/_policy.py", "from __future__ import annotations\nimport os.path\nfrom . import errors"),
        ("zrun_core/_policy.py", "from typing_extensions import Self"),
        ("zrun_tf/_run.py", "from zrun_core import Policy\nimport numpy as np\nimport tensorflow as tf\ntf.function"),
        ("zrun_tf/_run.py", "def f():\n    import tqdm"),
        ("zrun_tf/cli/_demo.py", "import click\nfrom scipy import optimize"),
        (
            "zrun_tf/_dispatch.py",
            "from tensorflow.python.eager import context\nimport tensorflow as tf\ntf.__internal__",
        ),
        ("zrun_compat/_run.py", "import zrun_tf\nimport deprecation"),
    ],
)
def test_a_right_import_is_accepted(path, source):
    assert faults(source, path) == []
