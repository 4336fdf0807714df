"""`zrun run` leaves a program as it is: compared with what `python` does, in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import zipfile

import pytest
from click.testing import CliRunner

from zrun_tf.cli import main
from zrun_tf.cli._commands import zrun as commands

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")

# What a program can see of how it was started. Its own frames, too: a traceback must begin with the program's.
PROBE = textwrap.dedent("""
    import json, os, sys, __main__
    seen = {
        "argv": sys.argv, "path": sys.path[0], "file": __file__, "name": __name__, "package": __package__,
        "spec": __spec__ and __spec__.name, "main": globals() is vars(__main__), "cwd": os.getcwd(),
        "loader": type(__loader__).__name__, "builtins": __builtins__.__name__, "doc": __doc__,
        "excepthook": sys.excepthook is sys.__excepthook__, "annotations": eval("1 if True else 0"),
    }
    print(json.dumps(seen))
""")


def environment(**more):
    return {name: value for name, value in os.environ.items() if not name.startswith("ZRUN_")} | more


def process(*args, **options):
    settings = {"capture_output": True, "text": True, "timeout": 120, "env": environment(), "check": False}
    return subprocess.run([sys.executable, *map(str, args)], **(settings | options))  # noqa: PLW1510 - see settings


def zrun(*args, **options):
    return process("-m", "zrun_tf.cli", *args, **options)


def python(*args, **options):
    return process(*args, **options)


@pytest.fixture
def folder(tmp_path):
    """A folder with the probe as a script, in a package, as a folder and as a zip file."""
    (tmp_path / "probe.py").write_text(PROBE)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "probe.py").write_text(PROBE)
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / "package" / "module.py").write_text(PROBE)
    (tmp_path / "package" / "__main__.py").write_text(PROBE)
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr("__main__.py", PROBE)
    (tmp_path / "link.py").symlink_to(tmp_path / "sub" / "probe.py")
    return tmp_path


@pytest.mark.parametrize(
    "program",
    [
        ["probe.py"],
        ["./probe.py", "--cpus", "3", "--debug", "-x", "", "a b"],
        ["sub/probe.py", "--help"],
        ["link.py"],
        ["-m", "package.module", "-m", "--report", "x"],
        ["-m", "package", "1"],
        ["package"],
        ["archive.zip", "1"],
    ],
    ids=" ".join,
)
def test_a_program_sees_what_it_sees_under_python(program, folder):
    expected = python(*program, cwd=folder)
    found = zrun("run", "-q", *program, cwd=folder)
    assert (found.returncode, found.stderr) == (expected.returncode, expected.stderr) == (0, "")
    assert json.loads(found.stdout) == json.loads(expected.stdout)


@pytest.mark.parametrize(
    "source",
    [
        "import sys; sys.exit()",
        "import sys; sys.exit(0)",
        "import sys; sys.exit(5)",
        "import sys; sys.exit('a message')",
        "import sys; sys.exit((1, 2))",
        "raise SystemExit(True)",
        "raise KeyError('x')",
        "def f():\n    g()\ndef g():\n    raise ValueError('deep')\nf()",
        "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    raise OSError(5, 'no') from error",
        "x = (",
        "import does.not.exist",
        "import sys\nsys.excepthook = lambda *_: print('own hook')\nraise KeyError",
        "import signal, os; os.kill(os.getpid(), signal.SIGINT); import time; time.sleep(5)",
        "import signal, os; os.kill(os.getpid(), signal.SIGTERM); import time; time.sleep(5)",
        "import os, sys; sys.stdout.write('said'); sys.stdout.flush(); os._exit(9)",
        "import ctypes; import os; os.abort()",
        "import os\ntry:\n    os.wait()\nexcept ChildProcessError:\n    print('no children')",
        "import atexit, threading as t, time; atexit.register(print, 'last')\nt.Timer(0.2, print, ['thread']).start()",
        "import threading; print(threading.active_count(), len(threading.enumerate()))",
        "import signal; print([signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)])",
        "import sys; print(sys.stdin.read())",
        "import os; print(sorted(name for name in os.environ if 'THREADS' in name or name.startswith('ZRUN')))",
    ],
)
def test_a_program_ends_as_it_ends_under_python(source, tmp_path):
    (tmp_path / "program.py").write_text(source)
    expected = python("program.py", cwd=tmp_path, input="input")
    found = zrun("run", "-q", "program.py", cwd=tmp_path, input="input")
    assert (found.returncode, found.stdout, found.stderr) == (expected.returncode, expected.stdout, expected.stderr)


@needs_fork
def test_signals_go_to_the_program(tmp_path):
    # Check that the process that was started is the program: its number, and its handlers.
    (tmp_path / "program.py").write_text(
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(33))\n"
        "print(os.getpid(), flush=True)\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-m", "zrun_tf.cli", "run", "program.py"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert int(process.stdout.readline()) == process.pid
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 33
    assert "program.py ended with exit code 33" in said


@needs_fork
@pytest.mark.parametrize(
    "ending",
    ["os.kill(os.getpid(), signal.SIGKILL)", "os.kill(os.getpid(), signal.SIGTERM)", "os._exit(3)", "os.abort()"],
)
def test_a_program_that_dies_hard_is_reported(ending, tmp_path):
    (tmp_path / "program.py").write_text(f"import os, signal\nprint('before', flush=True)\n{ending}\n")
    page, trace = tmp_path / "page.html", tmp_path / "trace.json"
    done = zrun("run", "--report", page, "--trace", trace, tmp_path / "program.py", cwd=tmp_path)
    # The watcher keeps standard error open until it has said what it has to say.
    assert "ended without a word" in " ".join(done.stderr.split())
    assert done.stdout == "before\n"
    assert "ended without a word" in page.read_text()
    assert json.loads(trace.read_text())["traceEvents"]


def test_the_summary_comes_last(tmp_path):
    (tmp_path / "program.py").write_text(
        "import atexit, sys, threading, time\n"
        "atexit.register(lambda: sys.stderr.write('at exit\\n'))\n"
        "threading.Thread(target=lambda: (time.sleep(0.3), sys.stderr.write('from a thread\\n'))).start()\n"
    )
    said = zrun("run", "program.py", cwd=tmp_path).stderr
    assert said.index("from a thread") < said.index("at exit") < said.index("zrun: program.py ended normally")


@needs_fork
def test_a_forked_child_reports_nothing(tmp_path):
    (tmp_path / "program.py").write_text(
        "import os\n"
        "from zrun_core._events import Event, emit\n"
        "emit(Event('build', 'parent', 'loss', 'first call', 0.1))\n"
        "if os.fork():\n    os.wait()\n"
        "else:\n    emit(Event('build', 'child', 'loss', 'first call', 0.1))\n"
    )
    said = zrun("run", "program.py", cwd=tmp_path).stderr
    assert said.count("zrun: program.py") == 1
    assert "parent" in said
    assert "child" not in said


def test_worker_processes_find_what_they_need(tmp_path):
    (tmp_path / "program.py").write_text(
        "import multiprocessing as mp\n"
        "def square(x):\n    return x * x\n"
        "if __name__ == '__main__':\n"
        "    with mp.get_context('spawn').Pool(2) as pool:\n"
        "        print(pool.map(square, [1, 2, 3]))\n"
    )
    done = zrun("run", "-q", "program.py", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[1, 4, 9]\n", "")


def test_options_set_the_environment_before_the_program_starts(tmp_path):
    (tmp_path / "program.py").write_text(
        "import os, json\n"
        "from zrun_core import run\n"
        "print(json.dumps([dict(os.environ), run.n_cpu, repr(run.policy.graph), run.policy.autograd, run.chunksize]))\n"
    )
    options = ["--graph", "loss=true,model=false", "--autograd", "false", "--cpus", "1", "--chunksize", "4096"]
    env = environment(OPENBLAS_NUM_THREADS="64", OMP_NUM_THREADS="nonsense")
    done = zrun("run", "-q", *options, "program.py", cwd=tmp_path, env=env)
    seen, n_cpu, graph, autograd, chunksize = json.loads(done.stdout)
    assert (n_cpu, graph, autograd, chunksize) == (1, "{'loss': True, 'model': False}", False, 4096)
    threads = {name: seen[name] for name in seen if "THREADS" in name}
    assert set(threads.values()) == {"1"}
    assert {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"} <= set(
        threads
    )


def test_a_smaller_number_of_threads_stays(tmp_path):
    (tmp_path / "program.py").write_text("import os; print(os.environ['OMP_NUM_THREADS'])")
    env = environment(OMP_NUM_THREADS="1")
    assert zrun("run", "-q", "--cpus", "2", "program.py", cwd=tmp_path, env=env).stdout == "1\n"


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["run"], "Missing argument 'SCRIPT.py|MODULE'"),
        (["run", "nowhere.py"], "there is no file 'nowhere.py'"),
        (["run", "."], "is a folder without a __main__.py"),
        (
            ["run", "--graph", "perhaps", "program.py"],
            "Invalid value for '--graph': must be true, false, auto, or kinds",
        ),
        (["run", "--graph", "lss=true", "program.py"], "lss"),
        (["run", "--autograd", "2", "program.py"], "Invalid value for '--autograd': must be true or false"),
        (["run", "--cpus", "0", "program.py"], "must be a positive number of CPUs or 'auto'; got '0'."),
        (["run", "--cpus", "1.5", "program.py"], "Invalid value for '--cpus'"),
        (["run", "--chunksize", "-3", "program.py"], "must be a positive number of rows"),
        (["run", "--report", ".", "program.py"], "is a folder. Name a file."),
        (["run", "--report", "program.py/x.html", "program.py"], "cannot be saved in"),
        (["run", "--report", "x", "--trace", "x", "program.py"], "name the same file"),
        (["run", "--nonsense", "program.py"], "--nonsense"),
        (["nonsense"], "No such command 'nonsense'"),
        (["run", "-m", "no.such.module"], "there is no module 'no.such.module'"),
        (["run", "-m", "sys"], "sys cannot be run"),
    ],
)
def test_what_cannot_be_started_is_refused_and_nothing_runs(args, text, tmp_path):
    (tmp_path / "program.py").write_text("print('it runs')")
    done = zrun(*args, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert text in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["program.py"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_refused(tmp_path):
    (tmp_path / "program.py").write_text("print('it runs')")
    (tmp_path / "locked").mkdir(mode=0o500)
    done = zrun("run", "--report", "locked/x.html", "program.py", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")


def test_a_report_that_cannot_be_written_in_the_end_changes_no_exit_code(tmp_path):
    (tmp_path / "program.py").write_text("import shutil, sys; shutil.rmtree('out'); sys.exit(4)")
    done = zrun("run", "--report", "out/x.html", "--trace", "trace.json", "program.py", cwd=tmp_path)
    assert done.returncode == 4
    assert "zrun: the page could not be written to" in done.stderr
    assert "FileNotFoundError" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Page: " not in done.stderr
    # The others are made all the same.
    assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert "ended with exit code 4" in done.stderr


def test_the_report_goes_where_it_was_asked_for_though_the_program_moves(tmp_path):
    (tmp_path / "program.py").write_text("import os; os.mkdir('away'); os.chdir('away')")
    assert zrun("run", "--report", "new/page.html", "program.py", cwd=tmp_path).returncode == 0
    assert (tmp_path / "new" / "page.html").exists()


@pytest.mark.parametrize(
    "source",
    [
        "import sys; sys.stderr.close()",
        "import sys; sys.stderr = None",
        "import os; os.close(2)",
        "import os; os.close(1)",
    ],
)
def test_closed_streams_do_no_harm(source, tmp_path):
    (tmp_path / "program.py").write_text(source)
    done = zrun("run", "--report", "page.html", "program.py", cwd=tmp_path)
    assert done.returncode == python("program.py", cwd=tmp_path).returncode
    assert (tmp_path / "page.html").exists()


def test_a_daemon_that_closes_every_file_is_not_taken_for_dead(tmp_path):
    (tmp_path / "program.py").write_text("import os, time; os.closerange(3, 256); time.sleep(1); print('alive')")
    done = zrun("run", "program.py", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "alive\n")
    assert done.stderr.count("zrun: program.py") == 1
    assert "ended normally" in done.stderr


def test_nothing_stays_behind(tmp_path):
    (tmp_path / "program.py").write_text("print('x')")
    began = time.monotonic()
    command = [sys.executable, "-m", "zrun_tf.cli", "run", "program.py"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        # Reads until everybody who holds the pipe is gone, the watcher too.
        process.communicate(timeout=60)
    assert time.monotonic() - began < 30


def test_our_own_errors_have_no_traceback_unless_debug(tmp_path, monkeypatch, capsys):
    from zrun_tf.cli import _launch, main

    def broken(**_):
        raise ArithmeticError("no such luck")

    monkeypatch.setattr(_launch, "Reports", broken)
    (tmp_path / "program.py").write_text("")
    with pytest.raises(SystemExit) as ended:
        main(["run", str(tmp_path / "program.py")])
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert "ArithmeticError: no such luck" in said
    assert "Run it again with --debug" in said
    # What follows the program is the program's.
    with pytest.raises(SystemExit):
        main(["run", str(tmp_path / "program.py"), "--debug"])
    with pytest.raises(ArithmeticError):
        main(["run", "--debug", str(tmp_path / "program.py")])


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_the_command(shell):
    words = {"bash": {"COMP_WORDS": "zrun r", "COMP_CWORD": "1"}, "zsh": {"COMP_WORDS": "zrun r", "COMP_CWORD": "1"}}
    env = environment(
        _ZRUN_COMPLETE=f"{shell}_complete", **words.get(shell, {"COMP_WORDS": "zrun r", "COMP_CWORD": "r"})
    )
    assert "run" in zrun(env=env).stdout


def test_help_is_what_click_would_print(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    for option in ("-h", "--help"):
        with pytest.raises(SystemExit) as ended:
            main([option])
        assert ended.value.code == 0
        written = CliRunner().invoke(commands, ["--help"], prog_name="zrun", terminal_width=80).output
        assert capsys.readouterr().out == written


def test_help_fits_a_narrow_terminal(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "50")
    with pytest.raises(SystemExit):
        main(["--help"])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 50


def test_help_imports_no_click():
    code = "import sys; from zrun_tf.cli import main\ntry: main(['-h'])\nfinally: assert 'click' not in sys.modules"
    env = {**os.environ, "COLUMNS": "100"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("args", [["--help"], ["run", "--help"], ["info", "--help"], ["bench", "--help"]])
def test_help_loads_nothing_heavy(args):
    script = (
        "import sys\n"
        "from zrun_tf.cli import main\n"
        f"try: main({args!r})\n"
        "finally: sys.stderr.write('loaded: ' + ' '.join(\n"
        "    m for m in ('tensorflow', 'numpy', 'rich', 'matplotlib', 'zrun_core._manager') if m in sys.modules))"
    )
    done = python("-c", script)
    assert (done.returncode, done.stderr) == (0, "loaded: ")
    assert "Usage: zrun" in done.stdout


def test_a_terminal_without_unicode_gets_the_summary_too(tmp_path):
    (tmp_path / "program.py").write_text(
        "from zrun_core._events import Event, emit\nemit(Event('build', 'größe', 'loss', 'first call', 0.1))"
    )
    done = zrun("run", "program.py", cwd=tmp_path, env=environment(PYTHONIOENCODING="ascii:strict"))
    assert "gr\\xf6\\xdfe" in done.stderr
    assert "could not be written" not in done.stderr


@pytest.mark.parametrize("args", [["run", "program.py"], ["info"], ["bench"]])
def test_a_missing_extra_is_named_before_anything_runs(args, tmp_path, monkeypatch, capsys):
    from zrun_tf.cli import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "program.py").write_text("raise SystemExit('it ran')")
    monkeypatch.setitem(sys.modules, "rich", None)
    with pytest.raises(SystemExit) as ended:
        main(args)
    said = " ".join(capsys.readouterr().err.split())
    assert ended.value.code == 2
    assert "needs rich. Install with: python -m pip install 'zrun-tf[" in said
