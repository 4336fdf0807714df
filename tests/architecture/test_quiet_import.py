"""Importing a package prints nothing, starts no thread and leaves TensorFlow's runtime alone."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import pytest

# Third-party modules come first, so that what they print and start is not laid at zrun's door.
PROBE = textwrap.dedent("""
    import importlib, json, os, sys, tempfile, threading

    package, before, then, *requirements = sys.argv[1:]
    for name in requirements:
        importlib.import_module(name)
    exec(before)

    def threads():
        tasks = "/proc/self/task"
        return threading.active_count(), len(os.listdir(tasks)) if os.path.isdir(tasks) else 0

    threads_before = threads()
    with tempfile.TemporaryFile() as captured:
        streams = [os.dup(1), os.dup(2)]
        os.dup2(captured.fileno(), 1)
        os.dup2(captured.fileno(), 2)
        try:
            module = importlib.import_module(package)
            for name in module.__all__:
                getattr(module, name)
            exec(then)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, stream in enumerate(streams, start=1):
                os.dup2(stream, number)
        captured.seek(0)
        output = captured.read().decode()
    threads_after = threads()

    accepted = None
    if "tensorflow" in sys.modules:
        import tensorflow as tf
        try:
            tf.config.threading.set_intra_op_parallelism_threads(1)
            tf.config.threading.set_inter_op_parallelism_threads(1)
            accepted = True
        except RuntimeError:
            accepted = False
    loaded = sorted({name.partition(".")[0] for name in sys.modules} & {"tensorflow", "numpy", "zrun_tf"})
    print(json.dumps(dict(output=output, before=threads_before, after=threads_after, accepted=accepted, loaded=loaded)))
""")
REQUIREMENTS = {
    "zrun_core": ["typing_extensions"],
    "zrun_tf": ["tensorflow", "numpy"],
    "zrun_compat": ["tensorflow", "numpy", "deprecation"],
}
DECORATE = "import zrun_tf\nzrun_tf.function(lambda x: x)\nzrun_tf.function(kind='loss')(lambda x: x)"


def probe(package, before="", then=""):
    """What importing `package` in a fresh interpreter does; `before` and `then` run around the import."""
    command = [sys.executable, "-W", "always", "-c", PROBE, package, before, then, *REQUIREMENTS[package]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("package", REQUIREMENTS)
def test_importing_prints_nothing_and_starts_no_thread(package):
    seen = probe(package, then="" if package == "zrun_core" else DECORATE)
    assert seen["output"] == ""
    assert seen["after"] == seen["before"]
    # Check that TensorFlow's runtime is still to be started: it takes new thread settings only before that.
    assert seen["accepted"] is (None if package == "zrun_core" else True)


def test_importing_core_loads_neither_tensorflow_nor_numpy():
    assert probe("zrun_core")["loaded"] == []


@pytest.mark.parametrize(
    ("then", "sign"),
    [
        ("print('hello')", "output"),
        ("import warnings; warnings.warn('hello')", "output"),
        ("threading.Thread(target=threading.Event().wait, daemon=True).start()", "after"),
    ],
)
def test_the_probe_sees_noise(then, sign):
    # Check that the probe above can fail: each of these is a fault it has to notice.
    seen = probe("zrun_core", then=then)
    assert seen[sign] != ("" if sign == "output" else seen["before"])


def test_the_probe_sees_a_started_runtime():
    assert probe("zrun_tf", before="import tensorflow as tf; tf.constant(1.0)")["accepted"] is False
