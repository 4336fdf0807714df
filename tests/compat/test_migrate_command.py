"""`zrun-migrate` on the command line: what it writes, says and returns."""

from __future__ import annotations

import builtins
import shutil
import subprocess
import sys

import pytest

from zrun_compat.migrate import main, migrate_source

OLD = "from zfit import run\n\nrun.set_graph_mode(False)\n"
NEW = "import zrun_tf as zrun\n\nzrun.run.set_mode(graph=False)\n"
LEFT = "from zfit import run\n\nchange = run.set_graph_mode(False)\n"


@pytest.fixture
def migrate(tmp_path, monkeypatch, capsys):
    """Run the command in an empty folder; return its exit code, and what it wrote to stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        with pytest.raises(SystemExit) as done:
            main([*map(str, arguments)])
        return done.value.code, *capsys.readouterr()

    return run


@pytest.fixture
def write(tmp_path):
    def write_file(name, text=OLD):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write_file


def test_it_rewrites_and_says_how_much(migrate, write):
    path = write("fit.py")
    code, out, err = migrate("fit.py")
    assert path.read_text() == NEW
    assert (code, err) == (0, "")
    assert out == ("1 file: 1 rewritten, 0 untouched, 0 failed.\n1 place rewritten; 0 to be checked, 0 left to you.\n")


def test_a_second_run_has_nothing_to_do(migrate, write):
    path = write("fit.py")
    migrate("fit.py")
    before = path.stat()
    code, out, _ = migrate("fit.py")
    assert code == 0
    assert "0 rewritten, 1 untouched" in out
    # Check that the file was not even written again.
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_what_is_left_is_reported_with_its_place(migrate, write):
    write("study/fit.py", LEFT)
    code, out, _ = migrate("study")
    assert code == 1
    assert out.startswith("study/fit.py:3:10: left: its result is kept")
    assert "0 places rewritten; 0 to be checked, 1 left to you." in out


@pytest.mark.parametrize("option", ["--check", "--diff"])
@pytest.mark.parametrize(("text", "code"), [(OLD, 1), (NEW, 0), (LEFT, 1), ("x = 1\n", 0)])
def test_a_dry_run_writes_nothing_and_tells_by_its_code(migrate, write, option, text, code):
    path = write("fit.py", text)
    assert migrate(option, "fit.py")[0] == code
    assert path.read_text() == text


@pytest.mark.parametrize("text", [OLD, OLD.rstrip("\n"), OLD.replace("\n", "\r\n"), OLD + "# \x0cno line\n"])
@pytest.mark.skipif(shutil.which("git") is None, reason="git applies the patch")
def test_the_diff_is_a_patch(migrate, write, tmp_path, text):
    path = write("fit.py", text)
    _, out, err = migrate("--diff", "fit.py")
    assert out.startswith("--- a/fit.py\n+++ b/fit.py\n@@")
    assert "would be rewritten" in err
    subprocess.run(["git", "apply", "-"], cwd=tmp_path, input=out.encode(), check=True)
    assert path.read_bytes().decode() == migrate_source(text).source


def test_one_bad_file_does_not_stop_the_rest(migrate, write):
    write("a_broken.py", "from zfit import run\n\nrun.set_graph_mode(\n")
    write("b_coded.py", b"# -*- coding: no-such -*-\nfrom zfit import run\n")
    write("c_bytes.py", b"from zfit import run  # \xff\n")
    write("d_nul.py", b"from zfit import run\n\0\n")
    good = write("e_good.py")
    code, out, _ = migrate(".")
    assert code == 2
    assert good.read_text() == NEW
    lines = out.splitlines()
    assert lines[0].startswith("a_broken.py:")
    assert "error: nothing was changed: " in lines[0]
    assert [line.split(":")[0] for line in lines[1:4]] == ["b_coded.py", "c_bytes.py", "d_nul.py"]
    assert "unknown encoding: no-such" in lines[1]
    assert "it is not encoded as utf-8 from line 1 on" in lines[2]
    assert "5 files: 1 rewritten, 0 untouched, 4 failed." in out


def test_a_fault_of_its_own_is_one_files(migrate, write, monkeypatch):
    from zrun_compat._migrate import _command

    write("a.py")
    good = write("b.py")
    real = _command.migrate_module
    monkeypatch.setattr(_command, "migrate_module", lambda text, **k: real(text, **k) if "ok" in text else {}[0])
    good.write_text(OLD + "# ok\n")
    code, out, _ = migrate(".")
    assert code == 2
    assert out.startswith("a.py: error: nothing was changed: KeyError: 0. This is a fault of zrun-migrate")
    assert good.read_text() == NEW + "# ok\n"


@pytest.mark.parametrize(
    "code",
    [
        # These ended the process, or took for ever.
        f"x = {'(' * 5000}1{')' * 5000}",
        f"x = {'lambda: ' * 5000}1",
        f"x = a{'()' * 5000}",
        f"x = {'1 if 1 else ' * 5000}1",
        # This is what Python still takes.
        f"x = {'+'.join('1' * 2000)}",
        "if x: pass\n" + "elif x: pass\n" * 1000,
    ],
    ids=["parentheses", "lambdas", "calls", "conditions", "sum", "elif"],
)
def test_code_that_is_nested_too_deeply_is_one_files(migrate, write, code):
    write("a.py", f"from zfit import run\n{code}\n")
    good = write("b.py")
    done, out, _ = migrate(".")
    assert done == 2
    assert "a.py:" in out
    assert "error: nothing was changed: the code is nested too deeply to be read" in out
    assert good.read_text() == NEW


def test_mentions_are_counted(migrate, write):
    write("fit.py", OLD + "# not zfit.run.set_graph_mode\n")
    assert "2 mentions of old names in comments and strings left as they are." in migrate("fit.py")[1]


def test_quiet(migrate, write):
    write("fit.py", LEFT)
    code, out, err = migrate("--quiet", "fit.py")
    assert (code, err) == (1, "")
    assert out.count("\n") == 1


def test_folders_are_searched_for_python_and_notebooks(migrate, write):
    taken = ["a.py", "b/c.pyi", "b/d.pyw", "b/script.py"]
    left = [
        ".git/a.py",
        "venv/lib/a.py",
        "b/__pycache__/a.py",
        "node_modules/a.py",
        "lib/site-packages/zfit/a.py",
        "b/notes.txt",
        "b/._a.py",
    ]
    paths = {name: write(name) for name in [*taken, *left]}
    write("venv/pyvenv.cfg", "home = /usr")
    code, out, _ = migrate(".")
    assert code == 0
    assert "4 files: 4 rewritten" in out
    assert [name for name, path in paths.items() if path.read_text() == NEW] == taken
    # What is named is taken whatever it is called.
    assert "1 file: 1 rewritten" in migrate("b/notes.txt")[1]


def test_a_file_with_several_names_is_dealt_with_once(migrate, write, tmp_path):
    write("fit.py")
    (tmp_path / "link.py").symlink_to("fit.py")
    (tmp_path / "loop").symlink_to(".")
    assert "1 file: 1 rewritten" in migrate(".", "fit.py", "link.py", tmp_path)[1]


def test_a_missing_path_is_wrong_usage(migrate, write):
    good = write("fit.py")
    code, _, err = migrate("fit.py", "nowhere.py")
    assert code == 2
    assert "nowhere.py" in err
    assert good.read_text() == OLD


def test_no_path_is_wrong_usage(migrate):
    code, _, err = migrate()
    assert code == 2
    assert "Missing argument 'PATH...'" in err


def test_an_empty_folder(migrate):
    code, out, _ = migrate(".")
    assert code == 0
    assert out.startswith("0 files: 0 rewritten")


def test_help_says_what_it_does_and_what_the_codes_mean(migrate):
    code, out, _ = migrate("--help")
    assert code == 0
    for words in ("zfit.run", "--check", "--diff", "Exit code:", "left", "check", "zrun-migrate --diff fit.py"):
        assert words in out
    assert max(map(len, out.splitlines())) <= 88


def test_progress_is_shown_on_many_files_only(migrate, write, monkeypatch):
    for number in range(25):
        write(f"{number}.py")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert "25" in migrate(".")[2]
    assert migrate("1.py")[2] == ""
    assert migrate("--quiet", ".")[2] == ""


def test_without_the_extra_it_says_what_to_install(migrate, write, monkeypatch):
    for name in [name for name in sys.modules if name.startswith(("zrun_compat._migrate._", "libcst"))]:
        if not name.endswith("._places"):
            monkeypatch.delitem(sys.modules, name)
    real = builtins.__import__

    def without(name, *arguments):
        if name.partition(".")[0] == "libcst":
            raise ModuleNotFoundError("No module named 'libcst'", name="libcst")
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    path = write("fit.py")
    code, _, err = migrate("fit.py")
    assert code == 2
    assert err == "zrun-migrate needs libcst. Install it with: python -m pip install 'zrun-compat[migrate]'\n"
    assert path.read_text() == OLD
    with pytest.raises(ImportError, match="zrun-migrate needs libcst"):
        migrate_source(OLD)


def test_it_needs_neither_tensorflow_nor_zfit(write):
    path = write("fit.py")
    code = (
        "import sys; from zrun_compat.migrate import migrate_source;"
        f"print(migrate_source(open({str(path)!r}).read()).rewritten);"
        "print({'tensorflow', 'numpy', 'zfit', 'zrun_tf'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.split() == ["1", "set()"]


def test_it_is_a_module_too(write):
    path = write("fit.py", LEFT)
    done = subprocess.run(
        [sys.executable, "-m", "zrun_compat.migrate", "--check", str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 1
    assert ":3:10: left:" in done.stdout
