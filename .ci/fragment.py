"""Fails where a change of the packages comes with no file in `changelog.d`: `python .ci/fragment.py BASE`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
KINDS = ("feature", "bugfix", "deprecation", "doc", "misc")


def lacking(paths: list[str], new: list[str]) -> str | None:
    """What is wrong with a change; None where nothing is.

    Args:
        paths: the files that differ, relative to the checkout.
        new: those of them that were not there before.
    """
    changed = [path for path in paths if path.startswith("packages/")]
    fragments = [Path(path) for path in new if path.startswith("changelog.d/") and path != "changelog.d/README.md"]
    wrong = [
        path.name
        for path in fragments
        if path.suffix != ".md" or path.suffixes[-2:-1] not in [[f".{kind}"] for kind in KINDS]
    ]
    if wrong:
        return f"{wrong[0]} in changelog.d has to be named NAME.TYPE.md, TYPE one of {', '.join(KINDS)}."
    # A release takes the files away and writes the changelog.
    if changed and not fragments and "CHANGELOG.md" not in paths:
        return (
            f"{len(changed)} files under packages/ differ ({changed[0]} first), with no new file in changelog.d: "
            "add NAME.TYPE.md with what users will notice; TYPE misc where they will notice next to nothing."
        )
    return None


def main() -> int:
    """Compare with a branch or commit; the value is the exit status."""
    base = sys.argv[1] if len(sys.argv) > 1 else "origin/main"

    def listed(*options: str) -> list[str]:
        command = ["git", "diff", "--name-only", "--merge-base", *options, base]
        return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()

    fault = lacking(listed(), listed("--diff-filter=A"))
    sys.stdout.write(f"{fault or f'Every change since {base} is told of.'}\n")
    return int(fault is not None)


if __name__ == "__main__":
    raise SystemExit(main())
