"""Dropping a graph means forgetting it: no attribute of TensorFlow's objects is set."""

from __future__ import annotations

import ast
import gc
from pathlib import Path

import pytest
import tensorflow as tf

import zrun_tf as zrun

PACKAGES = Path(__file__).parents[2] / "packages"
USES_TENSORFLOW = "import tensorflow"
MODULES = sorted(path for path in PACKAGES.glob("*/src/**/*.py") if USES_TENSORFLOW in path.read_text(encoding="utf-8"))
# What the old code set on each function to make it trace anew; two of them were no longer there.
POKED = (
    "_created_variables",
    "_function_cache",
    "_no_variable_creation_function",
    "_stateful_fn",
    "_stateless_fn",
    "_variable_creation_function",
)


def all_attributes(obj):
    """Each attribute of an object and the identity of its value."""
    return {name: id(value) for name, value in vars(obj).items()}


@pytest.mark.parametrize(
    "drop",
    [
        lambda: zrun.run.clear_graph_cache(),
        lambda: zrun.run.clear_graph_cache(release_memory=True),
        lambda: zrun.run.set_graph_cache_size(1),
    ],
    ids=["clear", "clear and release", "resize"],
)
def test_dropping_graphs_sets_nothing_on_functions_of_tensorflow(drop):
    # This used to assign six private attributes of every tf.function, so that it traced anew.
    traces = []

    @tf.function
    def of_the_user(x):
        traces.append(1)
        return x * 2

    x = tf.constant(1.0)
    functions = [zrun.function(lambda x, k=k: of_the_user(x) + k) for k in range(2)]
    of_the_user(x)
    concrete = of_the_user.get_concrete_function(x)
    results = [function(x).numpy() for function in functions]
    seen = len(traces)
    graphs = [entry.value._concrete for function in functions for entry in function.owner.table.values()]
    before = [all_attributes(each) for each in (of_the_user, concrete, *graphs)]
    size = zrun.run.cache.info()
    try:
        drop()
        gc.collect()
        assert [all_attributes(each) for each in (of_the_user, concrete, *graphs)] == before
        # What was dropped still works for who holds it, and the user's function was not traced again.
        assert [graph(x)[0].numpy() for graph in graphs] == results
        assert of_the_user(x).numpy() == 2.0
        assert len(traces) == seen
        assert [function(x).numpy() for function in functions] == results
    finally:
        zrun.run.set_graph_cache_size(size.max_entries, size.max_bytes)


def set_attributes(tree):
    """The private attributes that code sets or deletes, other than those its own classes have."""
    own, foreign = set(), []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, (ast.Store, ast.Del)):
            is_own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            own.add(node.attr) if is_own else foreign.append(node.attr)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("setattr", "delattr"):
            foreign += [each.value for each in node.args[1:2] if isinstance(each, ast.Constant)]
    return [name for name in foreign if name.startswith("_") and not name.endswith("__") and name not in own]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_module_names_what_was_poked_or_sets_what_is_private(path):
    source = path.read_text(encoding="utf-8")
    assert [name for name in POKED if name in source] == []
    assert set_attributes(ast.parse(source)) == []


@pytest.mark.parametrize("line", ["f._stateless_fn = None", "setattr(f, '_fn', None)", "del f._cache"])
def test_the_scan_finds_such_a_line(line):
    assert len(set_attributes(ast.parse(line))) == 1
