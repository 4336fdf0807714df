"""`zrun bench`: its options."""

from __future__ import annotations

from pathlib import Path

import click

from ._options import debug_option, make_folder, need
from ._quiet import quiet_tensorflow

CASES = ("call", "toys", "objective", "numerical")


@click.command()
@click.option(
    "--only",
    "cases",
    multiple=True,
    type=click.Choice(CASES),
    help="Run this comparison only; may be repeated.",
)
@click.option("--quick", is_flag=True, help="Fewer rounds: rough ratios within some 20 seconds.")
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Also draw the ratios, as PNG, PDF or SVG.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, and nothing else.")
@debug_option
def bench(cases: tuple[str, ...], quick: bool, plot: Path | None, as_json: bool) -> None:
    """Compare zrun with bare TensorFlow and with peers, on this machine.

    Each comparison checks first that all ways give the same numbers, then runs them in turn, round after round, and
    prints how many times longer the others take. Read the ratios; times move with whatever else the machine does.

    The exit code is 0, and 1 if two ways disagree.
    """
    if plot is not None:
        make_folder(plot.absolute().parent, "the picture", "'--plot'")
        if plot.suffix.lower() not in (".png", ".pdf", ".svg"):
            raise click.BadParameter(f"{plot.name!r} must end in .png, .pdf or .svg.", param_hint="'--plot'")
        need("--plot", "demo", "matplotlib")
    need("zrun bench", "demo", "rich", "scipy")
    with quiet_tensorflow():
        import tensorflow as tf

        from ._bench import run_bench

        # The first operation looks for devices, and says so.
        tf.config.list_logical_devices()
    raise SystemExit(run_bench(cases or CASES, quick=quick, plot=plot, as_json=as_json))
