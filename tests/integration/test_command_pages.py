"""The Python on the pages about the command and about CPUs runs as it stands, each page in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from ..pages import SITE
from ..pages import blocks as blocks_of


def blocks(page):
    return [block.code for block in blocks_of(SITE / page, "python")]


def run(script):
    env = {name: text for name, text in os.environ.items() if not name.startswith("ZRUN_")}
    done = subprocess.run(
        [sys.executable, script], cwd=script.parent, env=env, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_page_about_cpus(tmp_path):
    report, too_late, *examples = blocks("cpus.md")
    # The blocks that include scripts are tested as scripts; here, that they begin with their imports.
    assert len(examples) == 2
    assert all(block.startswith("from concurrent.futures import") for block in examples)
    script = tmp_path / "page.py"
    script.write_text(f"{report}\n{too_late}")
    said = run(script)
    assert "TensorFlow has not started; it is set with" in said
    assert "had started already (at page.py:" in said


def test_the_page_about_the_command(tmp_path):
    (block,) = blocks("command.md")
    (tmp_path / "toys.py").write_text(block)
    assert re.search(r"^nll +loss +20 ", run(tmp_path / "toys.py"), re.MULTILINE)


@pytest.mark.parametrize("page", ["command.md", "cpus.md"])
def test_the_options_and_commands_that_a_page_names_exist(page):
    from zrun_tf.cli._commands import zrun

    text = (SITE / page).read_text(encoding="utf-8")
    named = set(re.findall(r"zrun (run|info|bench|demo|\w+)\b(?=[ `\"])", text)) & {"run", "info", "bench", "demo"}
    assert named <= set(zrun.commands)
    options = {option for command in zrun.commands.values() for one in command.params for option in one.opts}
    assert set(re.findall(r"(?<![\w-])--[a-z]+", text)) - options <= {"--cpus-per-task", "--help", "--toys", "--cpus"}
