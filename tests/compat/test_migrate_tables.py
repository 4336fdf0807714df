"""The codemod knows every old name of the shim, and speaks of zrun's names only."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import zrun_compat
import zrun_tf as zrun
from zrun_compat._migrate import _names, _other_rules, _run_rules, _source
from zrun_compat._migrate._mode_rules import MODE_RULES
from zrun_compat.migrate import migrate_source

PAGE = (Path(__file__).parents[2] / "docs" / "site" / "migration.md").read_text(encoding="utf-8")
RULED = {*MODE_RULES, *_run_rules.RUN_RULES, *_run_rules.GONE, *_names.SAME, "chunking", "chunksize"}


def old_names():
    """The names that the pages list as old or gone."""
    return {name for line in PAGE.splitlines() if line.startswith("| `") for name in re.findall(r"\brun\.(\w+)", line)}


def test_every_old_name_has_a_rule():
    listed = {name for name in old_names() if not hasattr(zrun.RunManager, name)}
    assert listed
    assert listed <= RULED


def test_every_name_of_the_shim_has_a_rule_or_is_zruns():
    shim = {name for name in dir(zrun_compat.RunManager) if not name.startswith("_")}
    assert {name for name in shim - RULED if not hasattr(zrun.RunManager, name)} <= {"backend"}


def test_names_that_are_the_same_are_there_in_zrun():
    assert [name for name in _names.SAME if not hasattr(zrun.RunManager, name)] == []
    assert [name for name in _source._OF_ZRUN if not hasattr(zrun.RunManager, name)] == []


def test_unmistakable_names_are_no_names_of_zrun():
    assert [name for name in _names.UNMISTAKABLE if hasattr(zrun.RunManager, name) or hasattr(zrun, name)] == []


def test_the_kinds_are_those_that_zrun_starts_with():
    for kind in _names.KINDS:
        zrun.function(kind=kind)
    with pytest.raises(zrun.errors.UnknownKindError):
        zrun.function(kind="zfit_tensor")(lambda x: x)


def test_the_options_that_are_kept_are_those_of_zrun_function():
    import inspect

    parameters = set(inspect.signature(zrun.RunManager.function).parameters) - {"self", "body"}
    assert parameters == _other_rules._KEPT


@pytest.mark.parametrize("name", sorted(RULED))
@pytest.mark.parametrize("home", ["zfit", "zrun_compat"])
@pytest.mark.parametrize("form", ["{}", "{}()", "{} = 1", "with {}(): pass", "print({}(*a, **k))", "del {}", "f({})"])
def test_each_name_in_each_form_is_rewritten_or_reported(name, home, form):
    source = f"from {home} import run\n{form.format(f'run.{name}')}\n"
    done = migrate_source(source)
    assert done.rewritten + len(done.places) >= 1
    assert migrate_source(done.source).source == done.source
    left = [place for place in done.places if place.kind == "left"]
    # What is not decided is as it was, to the last character.
    if left:
        assert done.source == source
    else:
        assert f"from {home} import run" not in done.source


def test_attributes_that_are_written_of_exist():
    rewritten = [
        migrate_source(f"from zrun_compat import run\n{form.format(f'run.{name}')}\n").source
        for name in RULED
        for form in ("{}", "{}()")
    ]
    names = {name for source in rewritten for name in re.findall(r"zrun\.run\.(\w+)", source)}
    assert {"current_policy_graph", "set_mode", "policy", "chunksize"} <= names
    assert [name for name in names if not hasattr(zrun.run, name)] == []
