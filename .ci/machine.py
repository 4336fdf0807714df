"""What noxfile.py asks of this machine and of this checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

# Where a change of a package is tested first; the other modules of zrun_tf have tests with their own name.
DIRECTORIES = {
    "packages/zrun-core/": ("tests/core",),
    "packages/zrun-compat/": ("tests/compat",),
    "packages/zrun-tf/src/zrun_tf/cli/": ("tests/integration",),
}
# Tests of the checkout, which are the same with all versions: `nox -s tests` runs the first.
OF_THE_CHECKOUT = ("tests/architecture/", "tests/benchmarks/", "tests/downstream/", "tests/typed/")


def can_have_tensorflow(minors: list[int]) -> bool:
    """Whether TensorFlow has wheels for the interpreter that runs this.

    Args:
        minors: the minor versions of Python 3 that it has wheels for.
    """
    return (
        sys.implementation.name == "cpython"
        and sys.version_info[:2] in {(3, minor) for minor in minors}
        and not sysconfig.get_config_var("Py_GIL_DISABLED")
    )


def interpreter(version: str) -> str | None:
    """An interpreter of this minor version on this machine; None where there is none."""
    name = f"python{version}"
    on_path = shutil.which(name)
    # pyenv's shims exist for versions that are not switched on, and then only print an error.
    if on_path and Path(on_path).parent.name != "shims":
        return on_path
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    managed = Path.home() / ".local" / "share" / "uv" / "python"
    found = [*pyenv.glob(f"{version}.*/bin/{name}"), *managed.glob(f"cpython-{version}.*/bin/{name}")]
    return str(found[0]) if found else None


def tensorflow_python(minors: list[int]) -> tuple[str | None, str | None]:
    """The interpreter for sessions with TensorFlow, and what to say where there is none.

    Args:
        minors: the minor versions of Python 3 that TensorFlow has wheels for.

    Returns:
        None for the interpreter that runs this, else another one of this machine; and None, or one sentence where
        neither can have TensorFlow.
    """
    if can_have_tensorflow(minors):
        return None, None
    found = next(filter(None, (interpreter(f"3.{minor}") for minor in reversed(minors))), None)
    if found:
        return found, None
    return None, (
        f"TensorFlow needs CPython 3.{minors[0]} to 3.{minors[-1]}: this is {sys.implementation.name} "
        f"{sys.version.split()[0]} and none of those was found on this machine; "
        "install one and run the same command again."
    )


def differing(since: str, root: Path) -> list[str]:
    """The files that differ from where a branch or commit was left, new ones included, relative to the checkout.

    Args:
        since: the branch or commit.
        root: the checkout.
    """
    compare, new = ["diff", "--name-only", "--merge-base", since], ["ls-files", "--others", "--exclude-standard"]
    said = [
        subprocess.run(["git", *options], cwd=root, check=True, capture_output=True, text=True).stdout
        for options in (compare, new)
    ]
    return "".join(said).splitlines()


def chosen_tests(paths: list[str], root: Path, corner: list[str]) -> list[str]:
    """The tests that say most of a change.

    Args:
        paths: the files that differ, relative to the checkout.
        root: the checkout.
        corner: the tests of the corners, for a change anywhere in the packages.

    Returns:
        Files and folders for pytest, relative to the checkout, none of them in another; none where nothing that tests
        look at differs.
    """
    chosen: set[str] = set()
    for path in paths:
        if path.startswith(OF_THE_CHECKOUT):
            continue
        if path.startswith("tests/"):
            inside = Path(path)
            # A helper, data or fixtures: all tests beside it.
            is_test = inside.name.startswith("test_") and inside.suffix == ".py"
            found = [path] if is_test else [inside.parent.as_posix()] if len(inside.parts) > 2 else corner
            chosen.update(one for one in found if (root / one).exists())
            continue
        if not path.startswith("packages/"):
            continue
        chosen.update(corner)
        for folder, tests in DIRECTORIES.items():
            if path.startswith(folder):
                chosen.update(tests)
        if path.startswith("packages/zrun-tf/src/"):
            parts = Path(path).parts[4:]
            stem = Path(parts[0]).stem.strip("_").partition("_")[0]
            chosen.update(one.relative_to(root).as_posix() for one in (root / "tests" / "tf").glob(f"test_{stem}*.py"))
    return sorted(one for one in chosen if not any(one.startswith(f"{other}/") for other in chosen))


def modes_of(chosen: list[str], root: Path) -> list[str]:
    """The options for the modes of the matrix that some tests are in: none, which stands for all, or the default.

    Args:
        chosen: files and folders, relative to the checkout.
        root: the checkout.
    """
    given = [root / one for one in chosen]
    files = [path for one in given for path in (one.rglob("test_*.py") if one.is_dir() else [one])]
    return [] if any("any_policy" in path.read_text(encoding="utf-8") for path in files) else ["--mode=default"]
