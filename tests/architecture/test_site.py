"""The check of the built documentation notices what it is there to notice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CHECK = Path(__file__).parents[2] / ".ci" / "site.py"


def check(site):
    done = subprocess.run([sys.executable, CHECK, site], capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("tag", "said"),
    [
        ('<script src="https://unpkg.com/iframe-worker/shim"></script>', "loads https://unpkg.com/iframe-worker/shim"),
        ('<link rel="stylesheet" href="//fonts.googleapis.com/css">', "loads //fonts.googleapis.com/css"),
        ('<img src="http://example.org/a.svg">', "loads http://example.org/a.svg"),
    ],
)
def test_what_comes_from_elsewhere_is_noticed(tag, said, tmp_path):
    (tmp_path / "index.html").write_text(f"<html><body>{tag}</body></html>")
    assert check(tmp_path) == (1, f"index.html {said}\n")


def test_a_site_that_is_not_there_is_noticed(tmp_path):
    status, said = check(tmp_path)
    assert status == 1
    assert "there are no pages" in said
