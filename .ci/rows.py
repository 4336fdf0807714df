"""What the session of a row of the matrix installs and runs, as noxfile.py asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

# TensorFlow's nightly builds are a distribution of their own, in place of the one that the wheels ask for.
NIGHTLY = "tf-nightly"
INSTEAD_OF_TENSORFLOW = "tensorflow; python_version < '3'\n"

Row = dict[str, Any]


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


def requirements(row: Row, packages: list[dict[str, Any]]) -> list[str]:
    """What a row installs beside the wheels and the test tools.

    Args:
        row: an entry of the matrix.
        packages: what the `pyproject.toml` of each package holds.
    """
    # What a wheel asks for is not direct to uv, so a row with the lowest of it names it once more.
    found = [line for settings in packages for line in stated_requirements(settings)] if row.get("lowest") else []
    wanted = row.get("tensorflow")
    if wanted is not None:
        found += [NIGHTLY if wanted == "nightly" else f"tensorflow=={wanted}.*", f"numpy{row.get('numpy', '')}"]
    return [*found, *row.get("with", [])]


def install_options(row: Row, scratch: Path) -> list[str]:
    """The options of uv with which a row is installed.

    Args:
        row: an entry of the matrix.
        scratch: a folder for a file that uv reads.
    """
    found = ["--resolution=lowest-direct"] if row.get("lowest") else []
    if row.get("tensorflow") == "nightly":
        instead = scratch / "instead.txt"
        instead.write_text(INSTEAD_OF_TENSORFLOW, encoding="utf-8")
        found += [f"--override={instead}", "--prerelease=allow"]
    return found


def run_arguments(row: Row, matrix: dict[str, Any], given: list[str]) -> list[str]:
    """The arguments of `.ci/row.py` for a row.

    Args:
        row: an entry of the matrix.
        matrix: the table `[tool.zrun.matrix]`.
        given: the arguments of the session: `corner` for the tests of the corners, `--mode=NAME` for some of the modes,
            `--complete`, which is for the summary, and arguments of pytest.
    """
    modes = [argument.removeprefix("--mode=") for argument in given if argument.startswith("--mode=")]
    others = [argument for argument in given if not argument.startswith("--mode=") and argument != "--complete"]
    if others == ["corner"]:
        others = ["-m", "not slow", *matrix["corner-tests"]]
    known = matrix["modes"] if "tensorflow" in row else ["default"]
    chosen = [f"--mode={mode}" for mode in known if not modes or mode in modes]
    # The oldest requirements may be zrun-core's, which the rows without TensorFlow have the newest of.
    core = ["--core"] if row.get("lowest") else []
    return [row["name"], *chosen, *core, "--", *others]
