"""`zrun info`: its options."""

from __future__ import annotations

import click

from ._options import debug_option, need
from ._quiet import quiet_tensorflow


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, and nothing else.")
@click.option("--check", is_flag=True, help="Exit with 1 if there is trouble.")
@debug_option
def info(as_json: bool, check: bool) -> None:
    """Show versions, CPUs and why, policy, and what would go wrong.

    Devices and the threads of each pool are among it.

    The exit code is 0; with --check it is 1 if there is trouble.
    """
    need("zrun info", "cli", "rich", "packaging")
    with quiet_tensorflow():
        from ._info import gather

        found = gather()
    if as_json:
        from ._info_text import print_json as show
    else:
        from ._info_text import print_text as show
    show(found)
    raise SystemExit(1 if check and found.trouble else 0)
