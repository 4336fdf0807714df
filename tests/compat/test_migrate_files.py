"""Files keep their encoding, line ends, mode and links; they are written as a whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from zrun_compat._migrate import _files
from zrun_compat.migrate import UnreadableSourceError, main, migrate_source

OLD = "from zfit import run\n\nrun.set_graph_mode(False)  # {}\n"
NEW = "import zrun_tf as zrun\n\nzrun.run.set_mode(graph=False)  # {}\n"


def migrate(*paths):
    with pytest.raises(SystemExit) as done:
        main([*map(str, paths), "--quiet"])
    return done.value.code


@pytest.mark.parametrize(
    ("start", "encoding", "text"),
    [
        (b"", "utf-8", "µ – 漢"),
        (b"\xef\xbb\xbf", "utf-8", "µ – 漢"),
        (b"# -*- coding: latin-1 -*-\n", "latin-1", "µ é"),
        (b"#!/usr/bin/python\n# vim: set fileencoding=cp1252 :\n", "cp1252", "€"),
        (b"# coding: shift_jis\n", "shift_jis", "漢字"),
        (b"# coding: utf-8\n", "utf-8", "µ"),
        (b"\xef\xbb\xbf# coding: utf-8\n", "utf-8", "µ"),
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends(tmp_path, start, encoding, text, newline):
    def encoded(source):
        return (start.decode("latin-1") + source).replace("\n", newline)

    path = tmp_path / "fit.py"
    raw = start.replace(b"\n", newline.encode())
    path.write_bytes(raw + OLD.format(text).replace("\n", newline).encode(encoding))
    assert migrate(path) == 0
    assert path.read_bytes() == raw + NEW.format(text).replace("\n", newline).encode(encoding)


def test_mixed_line_ends_stay(tmp_path):
    path = tmp_path / "fit.py"
    path.write_bytes(b"import os\r\nfrom zfit import run, z\n\rrun.set_graph_mode(\r\n False)\nx = z\r")
    # z is still used, and is zfit's.
    assert migrate(path) == 1
    assert path.read_bytes() == (
        b"import os\r\nfrom zfit import z\r\nimport zrun_tf as zrun\n\rzrun.run.set_mode(\r\n graph=False)\nx = z\r"
    )


@pytest.mark.parametrize("mode", [0o644, 0o600, 0o755, 0o640])
def test_the_mode_is_kept(tmp_path, mode):
    path = tmp_path / "fit.py"
    path.write_text(OLD)
    path.chmod(mode)
    assert migrate(path) == 0
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert [entry.name for entry in tmp_path.iterdir()] == ["fit.py"]


def test_a_read_only_file_is_left_alone(tmp_path, capsys):
    path = tmp_path / "fit.py"
    path.write_text(OLD)
    path.chmod(0o444)
    assert migrate(path) == 2
    assert path.read_text() == OLD
    assert "error: nothing was changed: it is read-only" in capsys.readouterr().out
    assert [entry.name for entry in tmp_path.iterdir()] == ["fit.py"]


def test_a_link_stays_a_link(tmp_path):
    target = tmp_path / "there" / "fit.py"
    target.parent.mkdir()
    target.write_text(OLD)
    link = tmp_path / "fit.py"
    link.symlink_to(target)
    assert migrate(link) == 0
    assert link.is_symlink()
    assert target.read_text() == NEW


def test_a_file_with_hard_links_is_left_alone(tmp_path, capsys):
    path = tmp_path / "fit.py"
    path.write_text(OLD)
    os.link(path, tmp_path / "other.py")
    assert migrate(path) == 2
    assert path.read_text() == OLD
    assert "it has several hard links" in capsys.readouterr().out


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_file_and_nothing_else(tmp_path, monkeypatch, fault, where):
    path = tmp_path / "fit.py"
    path.write_text(OLD)

    def fail(*_arguments):
        raise fault

    monkeypatch.setattr(*((os, "fsync", fail) if where == "fsync" else (Path, "replace", fail)))
    with pytest.raises(type(fault)):
        _files.write(path, NEW.encode())
    assert path.read_text() == OLD
    assert [entry.name for entry in tmp_path.iterdir()] == ["fit.py"]


def test_a_file_that_the_disk_is_too_full_for(tmp_path, monkeypatch, capsys):
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text(OLD)

    def full(path, data):
        if path.name == "a.py":
            raise OSError(28, "No space left on device")
        path.write_bytes(data)

    monkeypatch.setattr("zrun_compat._migrate._command.write", full)
    assert migrate(tmp_path) == 2
    assert "a.py: error: nothing was changed: No space left on device" in capsys.readouterr().out
    assert (tmp_path / "b.py").read_text() == NEW


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"# coding: utf-7x\n", "unknown encoding"),
        (b"\xef\xbb\xbf# coding: latin-1\n", "encoding problem|UTF-8|utf-8"),
        (b"x = 1\ny = '\xe9'\n", "not encoded as utf-8 from line 2 on"),
    ],
)
def test_what_cannot_be_decoded(data, reason):
    with pytest.raises(UnreadableSourceError, match=reason):
        _files.decode(data, notebook=False)


def test_a_line_that_cannot_be_rewritten_exactly():
    # The parser leaves a form feed out, and with it a column.
    form_feed = "\x0cfrom zfit import run\nx = 1\n\x0crun.set_graph_mode(False)\n"
    with pytest.raises(UnreadableSourceError, match=r"line [13], column 1: the line has characters"):
        migrate_source(form_feed)
    elsewhere = "from zfit import run\n\x0c\nrun.set_graph_mode(False)\n   \nx = 'a\x0cb\x1c'\n  # end"
    assert migrate_source(elsewhere).source == (
        "import zrun_tf as zrun\n\x0c\nzrun.run.set_mode(graph=False)\n   \nx = 'a\x0cb\x1c'\n  # end"
    )
