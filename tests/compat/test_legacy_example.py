"""The old script of docs/examples/legacy runs on the shim with warnings and, migrated, without; the numbers agree."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from pathlib import Path

import pytest

import zrun_tf as zrun
from zrun_compat import ZrunDeprecationWarning, _deprecate
from zrun_compat.migrate import main, migrate_source

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "docs" / "examples" / "legacy" / "fit_mass.py"
PAGE = (ROOT / "docs" / "site" / "migration.md").read_text(encoding="utf-8")


def run_script(path):
    """What a script prints, and the warnings it gives."""
    code = compile(path.read_text(encoding="utf-8"), str(path), "exec")
    with contextlib.redirect_stdout(io.StringIO()) as printed, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        # AutoGraph's own, on Python 3.13 and newer.
        warnings.filterwarnings("ignore", ".*___pyct_anno", DeprecationWarning)
        exec(code, {"__name__": "__main__", "__file__": str(path)})
    return printed.getvalue(), caught


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The script and its migrated copy, run: what each printed, and its warnings."""
    _deprecate._warned.clear()
    budget = zrun.run.cache_info()
    migrated = tmp_path_factory.mktemp("migrated") / SCRIPT.name
    migrated.write_bytes(SCRIPT.read_bytes())
    with pytest.raises(SystemExit) as left, contextlib.redirect_stdout(io.StringIO()) as said:
        main([str(migrated)])
    outcome = run_script(SCRIPT), run_script(migrated), (left.value.code, said.getvalue(), migrated.read_text())
    zrun.run.set_graph_cache_size(budget.max_entries, budget.max_bytes)
    return outcome


def test_the_codemod_rewrites_all_of_it(ran):
    code, said, source = ran[2]
    assert code == 0
    assert "zrun_compat" not in source
    assert "0 to be checked, 0 left to you" in said
    assert migrate_source(source).source == source


def test_the_old_script_warns_as_the_page_shows(ran):
    _, caught = ran[0]
    assert {warning.category for warning in caught} == {ZrunDeprecationWarning}
    assert {warning.filename for warning in caught} == {str(SCRIPT)}
    (shown,) = re.findall(r'^```text title="its warnings"\n(.*?)^```', PAGE, flags=re.MULTILINE | re.DOTALL)
    lines = [f"fit_mass.py:{warning.lineno}: {warning.category.__name__}: {warning.message}\n" for warning in caught]
    assert shown == "".join(lines)


def test_the_migrated_script_does_not_warn_and_gives_the_same_numbers(ran):
    (before, _), (after, caught), _ = ran
    assert caught == []
    assert after == before
    numbers = re.findall(r"= (\d+\.\d+) ", before)
    assert [float(number) for number in numbers] == pytest.approx([5.28, 0.03, 0.7], rel=0.05)


def test_what_it_prints_is_on_the_page(ran):
    (shown,) = re.findall(r'^```text title="what both print"\n(.*?)^```', PAGE, flags=re.MULTILINE | re.DOTALL)
    printed, *_ = ran[0]
    # The last digits are the machine's.
    assert re.sub(r"\d\b", "", shown) == re.sub(r"\d\b", "", printed)
