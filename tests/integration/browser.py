"""A real browser, run without a window: what the DOM of a page is after its scripts, and a picture of it."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")
BROWSER = next((path for name in _NAMES if (path := shutil.which(name))), None)

needs_browser = pytest.mark.skipif(BROWSER is None, reason=f"no browser is installed (one of {', '.join(_NAMES)})")

# Nothing may be fetched, whatever the page asks for.
_OFFLINE = "--host-resolver-rules=MAP * ~NOTFOUND"
# What a browser does on its own account at its first start.
_ALONE = (
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def _run(url, *options):
    # A profile of its own, so that a browser which the user has open is left alone.
    with tempfile.TemporaryDirectory() as profile:
        command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", _OFFLINE, *_ALONE]
        command += [
            f"--user-data-dir={profile}",
            "--virtual-time-budget=2000",
            "--enable-logging=stderr",
            *options,
            url,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done


def dom(page, script=""):
    """The page's HTML after its scripts and after `script`, and what went to the browser's console."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "page.html"
        text = Path(page).read_text(encoding="utf-8")
        copy.write_text(text.replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")
        done = _run(copy.as_uri(), "--dump-dom")
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def picture(page, to, *, dark=False, width=1250, height=1500):
    """Save a picture of the page as PNG; `dark` as for people who have set their system so."""
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    _run(Path(page).as_uri(), f"--window-size={width},{height}", scheme, f"--screenshot={to}")
    return Path(to)
