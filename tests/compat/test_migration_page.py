"""What the migration page says is what the shim does: its table, its examples, its warning."""

from __future__ import annotations

import contextlib
import email.message
import io
import re
import warnings
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

import zrun_compat
from zrun_compat import ZrunDeprecationWarning, _deprecate, run

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "site" / "migration.md").read_text(encoding="utf-8")


def section(title):
    """The text below a heading of the second level."""
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def rows(title):
    lines = [line.strip("| ") for line in section(title).splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.split(" | ")] for line in lines]


TABLE = {old.strip("`"): (new, valid, gone) for old, new, valid, gone in rows("The old names")}
EXAMPLES = dict(
    re.findall(r"^### (.*?)\n(.*?)(?=^### |\Z)", section("Examples"), flags=re.MULTILINE | re.DOTALL),
)


def block(example, title):
    (code,) = re.findall(rf'^```python title="{title}"\n(.*?)^```', EXAMPLES[example], flags=re.MULTILINE | re.DOTALL)
    return code


def execute(code, name):
    """What a block prints, and the warnings it gives."""
    with contextlib.redirect_stdout(io.StringIO()) as printed, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        exec(compile(code, name, "exec"), {"__name__": "__main__"})
    return printed.getvalue(), caught


def test_the_table_has_each_old_name_once(notices):
    assert {*TABLE} == {*notices}
    assert len(TABLE) == len(rows("The old names"))


def test_the_table_says_what_the_warning_says(notices):
    for what, (new, valid, gone) in TABLE.items():
        notice = notices[what]
        codes = re.findall("`.*?`", new)
        assert codes or notice.instead.startswith("Remove it"), what
        assert [code for code in codes if code not in notice.text] == [], what
        assert gone == notice.removed_in, what
        assert re.match(r"0\.\d+\.\d+|none: deprecated in 0\.5\.1", valid), what


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_does_the_same_before_and_after(example):
    before, warned = execute(block(example, "before"), f"<{example}, before>")
    after, errors = execute(block(example, "after"), f"<{example}, after>")
    assert after == before
    assert warned
    assert {warning.category for warning in warned} == {ZrunDeprecationWarning}
    assert {warning.filename for warning in warned} == {f"<{example}, before>"}
    assert errors == []


def test_the_examples_use_each_old_name():
    messages = [
        str(warning.message) for example in EXAMPLES for warning in execute(block(example, "before"), f"<{example}>")[1]
    ]
    assert {message.partition(" is deprecated")[0] for message in messages} == {*TABLE}


def test_the_warning_on_the_page_is_the_real_one():
    (shown,) = re.findall(r'^```text title="the warning"\n(.*?)\n```', PAGE, flags=re.MULTILINE | re.DOTALL)
    with pytest.warns(ZrunDeprecationWarning) as caught:
        run.get_graph_mode()
    assert str(caught[0].message) == shown


def test_the_names_that_do_not_warn_are_there():
    (listed,) = re.findall(r"^These are names of zrun too.*?:(.*?)\.\n\n", PAGE, flags=re.MULTILINE | re.DOTALL)
    names = {name for name in re.findall(r"`(\w+)`", listed) if name not in {"RunManager", "eval_object"}}
    assert {"mode", "set_mode", "chunksize"} <= names
    assert [name for name in names if not hasattr(run, name)] == []


def test_what_is_gone_is_on_the_page():
    gone = [name for old, _ in rows("Gone for good") for name in re.findall(r"`run\.(\w+)`", old)]
    assert len(gone) == 3
    for name in gone:
        with pytest.raises(
            zrun_compat.RemovedNameError, match=f"See 'Gone for good' on the page '{_deprecate.PAGE}' of"
        ):
            getattr(run, name)


def test_an_error_about_what_is_gone_finds_the_page_without_a_checkout(monkeypatch):
    # It used to name a file of the repository, which who installs a wheel has not.
    assert PAGE.startswith(f"# {_deprecate.PAGE}\n")
    assert section("Gone for good")
    stated = email.message.Message()
    stated["Project-URL"] = "Source, https://example.org/code"
    monkeypatch.setattr(_deprecate, "metadata", lambda package: stated)
    assert str(_deprecate.removed("run.x", "Remove it.")).endswith(
        f" on the page '{_deprecate.PAGE}' of zrun's documentation."
    )
    stated["Project-URL"] = "Documentation, https://example.org/zrun/"
    assert str(_deprecate.removed("run.x", "Remove it.")) == (
        "run.x is gone for good. Remove it. See https://example.org/zrun/migration.html#gone-for-good."
    )


def test_an_error_about_what_is_gone_needs_no_metadata(monkeypatch):
    def not_installed(package):
        raise PackageNotFoundError(package)

    monkeypatch.setattr(_deprecate, "metadata", not_installed)
    assert "of zrun's documentation" in str(_deprecate.removed("run.x", "Remove it."))
