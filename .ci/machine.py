"""What noxfile.py asks of this machine and of this checkout."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Any

# Where a change of a package is tested first; the other modules of zrun_tf have tests with their own name.
DIRECTORIES = {
    "packages/zrun-core/": ("tests/core",),
    "packages/zrun-compat/": ("tests/compat",),
    "packages/zrun-tf/src/zrun_tf/cli/": ("tests/integration",),
}


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


def stated_requirements(settings: dict[str, Any]) -> list[str]:
    """All that the `pyproject.toml` of a package asks for of others, extras included.

    Args:
        settings: what the file holds.
    """
    project = settings["project"]
    added = settings["tool"]["hatch"].get("metadata", {}).get("hooks", {}).get("custom", {}).get("dependencies", [])
    extras = project.get("optional-dependencies", {}).values()
    lines = [*project.get("dependencies", []), *added, *(line for extra in extras for line in extra)]
    return [line for line in lines if not line.startswith("zrun-")]


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
