"""The commands, with all checks that need neither TensorFlow nor SciPy."""

from __future__ import annotations

import difflib
from pathlib import Path

import click

from zrun_core import __version__

from ._command_bench import bench
from ._command_info import info
from ._command_run import run
from ._options import debug_option, make_folder, need
from ._quiet import quiet_tensorflow

_NEEDED = ("scipy", "rich")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="zrun", message="%(prog)s %(version)s")
@debug_option
def zrun() -> None:
    """Decide how numerical TensorFlow code runs: graph or eager, automatic or numerical derivatives.

    Exit codes: 0 done, 1 something failed or fell short, 2 wrong usage; after 'zrun run' that of the program.

    'zrun COMMAND --help' says more about each.
    """


for _command in (run, info, bench):
    zrun.add_command(_command)


def shipped_problems() -> list[str]:
    """Return the names of the NIST problems that ship with zrun, sorted."""
    # Not with importlib.resources, which takes as long to import as all of this module.
    return sorted(entry.stem for entry in Path(__file__).with_name("data").glob("*.dat"))


def _check_problems(_context: click.Context, _option: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    known = {name.lower(): name for name in shipped_problems()}
    chosen: list[str] = []
    for name in names:
        if name.lower() not in known:
            near = [known[found] for found in difflib.get_close_matches(name.lower(), known, cutoff=0.4)]
            hint = f"Did you mean {' or '.join(near)}?" if near else f"There are {', '.join(known.values())}."
            msg = f"{name!r} is not a problem that ships with zrun. {hint}"
            raise click.BadParameter(msg)
        if known[name.lower()] not in chosen:
            chosen.append(known[name.lower()])
    return tuple(chosen)


def _picture_in(folder: Path) -> Path:
    """The picture's path; its folder is made."""
    make_folder(folder, "the picture", "'--out'")
    picture = (folder / "zrun-demo.png").absolute()
    if picture.is_dir():
        msg = (
            f"the picture cannot be saved in {str(folder)!r}: a folder has the name {picture.name} there. "
            f"Name a folder that you can write to."
        )
        raise click.BadParameter(msg, param_hint="'--out'")
    return picture


@zrun.command()
@click.option(
    "--problem",
    "problems",
    multiple=True,
    metavar="NAME",
    callback=_check_problems,
    help=f"Fit this problem only; may be repeated. One of {', '.join(shipped_problems())}.",
)
@click.option(
    "--out",
    "folder",
    type=click.Path(path_type=Path),
    default=Path(),
    metavar="DIR",
    show_default="the current folder",
    help="Where to save the picture; made if it is missing.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON, and nothing else.")
@click.option("--no-picture", is_flag=True, help="Save no picture.")
@debug_option
def demo(problems: tuple[str, ...], folder: Path, as_json: bool, no_picture: bool) -> None:
    """Fit measured data and compare the result with what NIST certifies.

    Each problem is fitted as a graph, with automatic and with numerical derivatives; the first one also eagerly, for
    the comparison. The exit code is 0 if all parameters agree to at least 7 digits (5 with numerical derivatives), and
    1 otherwise.
    """
    need("the demo", "demo", *(_NEEDED if no_picture else (*_NEEDED, "matplotlib")))
    picture = None if no_picture else _picture_in(folder)
    with quiet_tensorflow():
        import tensorflow as tf

        from ._demo import run_demo

        # The first operation looks for devices, and says so.
        tf.config.list_logical_devices()

    raise SystemExit(run_demo(problems, picture, as_json=as_json))
