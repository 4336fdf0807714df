"""Checks the documentation as it is built: it loads nothing from elsewhere, and can be searched when opened as files.

`python .ci/site.py build/site [--word retrace]` needs the standard library only. The search is tried in a browser,
where there is one.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# What a browser fetches by itself when it opens a page; a link that a reader may follow is none of these.
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "link": "href"}
# Links that say where a page belongs and are not fetched.
NOT_LOADED = {"canonical", "next", "prev", "edit"}
OFFLINE = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--virtual-time-budget=20000",
    "--dump-dom",
)


class Loaded(HTMLParser):
    """Collects what a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what this tag loads, if anything."""
        values = dict(attrs)
        if tag in LOADED and not (tag == "link" and values.get("rel") in NOT_LOADED):
            self.found.append(values.get(LOADED[tag]) or "")


def loaded_from_elsewhere(page: Path) -> list[str]:
    """What a page loads over a network."""
    parser = Loaded()
    parser.feed(page.read_text(encoding="utf-8"))
    return [url for url in parser.found if re.match(r"(\w+:)?//", url)]


def documents_found(site: Path, word: str, browser: str) -> int:
    """How many documents the search of the site finds for a word, in a browser without a network."""
    with tempfile.TemporaryDirectory() as profile:
        url = f"{(site / 'index.html').absolute().as_uri()}?q={word}"
        command = [browser, *OFFLINE, f"--user-data-dir={profile}", url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r"md-search-result__meta\">\s*(\d+) matching documents", done.stdout)
    return int(found[1]) if found else 0


def main() -> int:
    """Check a site; the value is the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("site", type=Path)
    parser.add_argument("--word", default="retrace", help="what to search for; it is on several pages")
    options = parser.parse_args()
    pages = sorted(options.site.rglob("*.html"))
    problems = [
        f"{page.relative_to(options.site)} loads {url}" for page in pages for url in loaded_from_elsewhere(page)
    ]
    if not pages:
        problems.append(f"there are no pages in {options.site}")
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    searched = "not searched, since no browser is installed"
    if browser and not problems:
        count = documents_found(options.site, options.word, browser)
        searched = f"the search for {options.word!r} finds {count} documents"
        if count < 3:
            problems.append(searched)
    said = problems or [f"{len(pages)} pages, nothing is loaded from elsewhere; {searched}"]
    sys.stdout.write("\n".join([*said, ""]))
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
