"""All of a release but the upload: checks, the changelog, the wheels; and what is left to do, printed.

`python .ci/release.py --dry-run` changes no file of the checkout but `dist/`. `--tag TAG` is for the workflow that
publishes: the tag has to name the version, and the changelog has to be written.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
VERSION_FILE = ROOT / "packages" / "zrun-core" / "src" / "zrun_core" / "_version.py"


def output(*command: str) -> str:
    """What a command prints; where it fails, so does this program."""
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def stated_version() -> str:
    """The version that the packages state."""
    found = re.search(r'__version__ = "([^"]+)"', VERSION_FILE.read_text(encoding="utf-8"))
    if found is None:
        raise SystemExit(f'{VERSION_FILE} states no version; needed: __version__ = "..."')
    return found[1]


def fragments() -> list[str]:
    """The changes not yet released."""
    return sorted(path.name for path in (ROOT / "changelog.d").glob("*.md") if path.name != "README.md")


def obstacles(version: str, tag: str | None) -> list[str]:
    """What stands against releasing this version.

    Args:
        version: what the packages state.
        tag: the tag that a release is made of; None before there is one.
    """
    found = []
    written = f"## {version} (" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    if output("git", "status", "--porcelain", "--untracked-files=no"):
        found.append("The checkout has changes that are not committed: commit or stash them.")
    if tag is None:
        if f"v{version}" in output("git", "tag").split():
            found.append(f"v{version} is released already: set the next version in {VERSION_FILE.relative_to(ROOT)}.")
        if not fragments() and not written:
            found.append("No change is described in changelog.d: there is nothing to release.")
        return found
    if tag != f"v{version}":
        found.append(f"The tag is {tag}, and the packages state {version}: they have to be the same.")
    if not written or fragments():
        found.append(f"CHANGELOG.md does not tell of {version} alone: run `nox -s release` and commit before the tag.")
    return found


def main() -> int:
    """Do what is asked for; the value is the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--dry-run", action="store_true", help="show the changelog instead of writing it")
    way.add_argument("--tag", help="the tag whose files are built")
    options = parser.parse_args()
    version = stated_version()
    found = obstacles(version, options.tag)
    for line in found:
        sys.stdout.write(f"IN THE WAY OF A RELEASE: {line}\n")
    if found and not options.dry_run:
        return 1
    if options.tag is None and fragments():
        towncrier = [sys.executable, "-m", "towncrier", "build", "--version", version]
        subprocess.run([*towncrier, "--draft" if options.dry_run else "--yes"], cwd=ROOT, check=True)
    files = "\n".join(f"  {path.name}" for path in sorted((ROOT / "dist").iterdir()))
    done = "Shown above, not written: the section of CHANGELOG.md" if options.dry_run else "Written: CHANGELOG.md"
    sys.stdout.write(f"\n{done}. Built, checked and not uploaded, in dist/:\n{files}\n")
    if options.tag is None:
        sys.stdout.write(
            f"\nLeft to do:\n"
            f'  git commit -am "Release {version}"\n'
            f"  git tag v{version}\n"
            f"  git push origin main v{version}\n"
            "The tag starts .github/workflows/release.yml, which builds these files again (the same bytes) and\n"
            "uploads all three to PyPI once the environment 'pypi' is approved.\n"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
