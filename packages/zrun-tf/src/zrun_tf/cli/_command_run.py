"""`zrun run`: its options, checked before anything is run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from . import HandOver
from ._options import debug_option, make_folder, need

if TYPE_CHECKING:
    from collections.abc import Callable

# What libraries with threads of their own read when they are loaded, beside those of `_early`.
_OTHER_THREAD_VARIABLES = ("OMP_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_TENSORFLOW_VARIABLES = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


def _variable(name: str) -> Callable[[click.Context, click.Parameter, str | None], str | None]:
    """A callback that checks an option as the environment variable that it sets."""

    def check(_context: click.Context, _option: click.Parameter, text: str | None) -> str | None:
        if text is None:
            return None
        from zrun_core._environment import cpus_from_environment, policy_from_environment
        from zrun_core.errors import EnvironmentVariableError

        try:
            (cpus_from_environment if name == "ZRUN_CPUS" else policy_from_environment)({name: text})
        except EnvironmentVariableError as error:
            said = str(error).removeprefix(f"Environment variable {name}").lstrip("=: ")
            raise click.BadParameter(said.removesuffix(" Correct it or unset it, then start again.")) from None
        return text

    return check


def _output(context: click.Context, option: click.Parameter, path: Path | None) -> Path | None:
    if path is None or context.resilient_parsing:
        return path
    hint = f"'{option.opts[0]}'"
    if path.is_dir():
        raise click.BadParameter(f"{str(path)!r} is a folder. Name a file.", param_hint=hint)
    # Now, because the program may change the current folder.
    path = path.absolute()
    make_folder(path.parent, "it", hint)
    if path.exists() and not os.access(path, os.W_OK):
        raise click.BadParameter(f"{str(path)!r} cannot be written to: permission denied.", param_hint=hint)
    return path


# Name of the option, which is also that of the variable it sets; its value; its help.
_POLICY: Final = (
    ("graph", "POLICY", "true, false, auto, or kinds such as 'loss=true,model=false'."),
    ("autograd", "BOOL", "true for automatic, false for numerical derivatives."),
    ("cpus", "N", "Use at most N CPUs: threads of TensorFlow and of NumPy, and leases."),
    ("chunksize", "ROWS", "Rows evaluated at once, auto, or none for everything in one piece."),
)


def _policy_options(command: Callable[..., None]) -> Callable[..., None]:
    for name, metavar, text in reversed(_POLICY):
        variable = f"ZRUN_{name.upper()}"
        option = click.option(
            f"--{name}", callback=_variable(variable), metavar=metavar, help=f"{text} Sets {variable}."
        )
        command = option(command)
    return command


@click.command(context_settings={"allow_interspersed_args": False, "ignore_unknown_options": False})
@_policy_options
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    callback=_output,
    metavar="FILE.html",
    help="Write one page with the summary, a timeline and tables that sort.",
)
@click.option(
    "--trace",
    type=click.Path(path_type=Path),
    callback=_output,
    metavar="FILE.json",
    help="Write a trace that opens in ui.perfetto.dev.",
)
@click.option("--zfit", is_flag=True, help="Have zfit, which the program uses, run on zrun. Needs zrun-compat.")
@click.option("-q", "--quiet", is_flag=True, help="Print no summary at the end.")
@click.option("-m", "is_module", is_flag=True, help="Run a module, as 'python -m' does.")
@debug_option
@click.argument("program", metavar="SCRIPT.py|MODULE")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[ARGUMENTS]...")
def run(
    program: str,
    arguments: tuple[str, ...],
    report: Path | None,
    trace: Path | None,
    zfit: bool,
    quiet: bool,
    is_module: bool,
    **policy: str | None,
) -> None:
    """Run a Python program under a policy, and report what zrun did in it.

    The policy and the number of threads are set before TensorFlow starts. The program itself is unchanged: its
    arguments, exit code, signals and __main__ are those of 'python SCRIPT.py'. At the end, or where it crashes, a
    summary goes to standard error: time, traces by function with their reasons, cache hits, memory, derivatives.
    Options come before the script; what follows it belongs to the program.

    The exit code is that of the program; 2 if it could not be started.
    """
    need("zrun run", "cli", "rich")
    from ._launch import Launch, Reports
    from ._program import Program, ProgramError

    if report is not None and report == trace:
        msg = f"--report and --trace name the same file, {str(report)!r}. Name two."
        raise click.UsageError(msg)
    wanted = Program(program, arguments, is_module)
    try:
        wanted.check()
    except ProgramError as error:
        raise click.UsageError(str(error)) from None
    if zfit:
        _put_under_zfit()
    given = {name: text for name, text in policy.items() if text is not None}
    options = {f"--{name}": text for name, text in given.items()}
    environment = {f"ZRUN_{name.upper()}": text for name, text in given.items()}
    environment |= _thread_environment(given.get("cpus"))
    reports = Reports(
        html=None if report is None else str(report),
        trace=None if trace is None else str(trace),
        summary=not quiet,
    )
    raise HandOver(Launch(wanted, environment, reports, options).run)


def _put_under_zfit() -> None:
    """Have another package put zrun under zfit once that is imported.

    Raises:
        click.UsageError: the package is not installed, or not for the version of zfit that is.
    """
    from importlib.metadata import entry_points

    found = entry_points(group="zrun.under", name="zfit")
    if not found:
        msg = (
            "--zfit needs zrun-compat, which is not installed, or in a version that is too old for it. "
            "Install with: python -m pip install --upgrade zrun-compat"
        )
        raise click.UsageError(msg)
    try:
        next(iter(found)).load()()
    except ImportError as error:
        raise click.UsageError(f"--zfit: {error}") from None


def _thread_environment(cpus: str | None) -> dict[str, str]:
    """The variables by which libraries learn of a limit that they would not find: `--cpus`, `ZRUN_CPUS`, a quota.

    A variable that is set to a smaller number stays as it is.
    """
    from zrun_core._cpus import count_cpus
    from zrun_core._environment import cpus_from_environment
    from zrun_tf._early import BLAS_VARIABLES

    limit = cpus_from_environment() if cpus is None else cpus_from_environment({"ZRUN_CPUS": cpus})
    count = count_cpus(limit)
    if count.limited_by not in ("quota", "override") and limit is None:
        return {}
    variables = (*BLAS_VARIABLES, *_OTHER_THREAD_VARIABLES, *_TENSORFLOW_VARIABLES)
    return {name: str(min(count.count, _number(name) or count.count)) for name in variables}


def _number(variable: str) -> int:
    """The positive number that a variable holds; 0 where it holds none."""
    text = os.environ.get(variable, "").strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0
