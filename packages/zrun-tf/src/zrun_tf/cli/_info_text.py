"""`zrun info` as text and as JSON."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from zrun_core._cache_info import in_units

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ._info import Info

_WIDTH = 100
_BUILD = ("is_cuda_build", "is_rocm_build", "cuda_version", "cudnn_version", "cpu_compiler")


def print_json(info: Info) -> None:
    """Print everything that was found as one JSON object.

    Args:
        info: what was found.
    """
    plain = dataclasses.asdict(info)
    plain["policy"] = [part._asdict() for part in info.policy]
    if info.cpus is not None:
        plain["cpus"]["explanation"] = info.cpus.explain()
    sys.stdout.write(json.dumps(plain, indent=2, default=str) + "\n")


def print_text(info: Info) -> None:
    """Print what was found for people.

    Args:
        info: what was found.
    """
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH)
    _section(console, "Versions", info.versions.items())
    build = [(name, str(info.build[name])) for name in _BUILD if name in info.build]
    _section(console, "TensorFlow's build", build)
    devices = [(kind, f"{len(names)}: {', '.join(names)}") for kind, names in info.devices.items()]
    _section(console, "Devices", devices)
    cpus = [("CPUs", info.cpus.explain())] if info.cpus is not None else []
    cpus += [("free memory", "not known" if info.memory is None else in_units(info.memory))]
    if info.threads is not None:
        cpus += [("threads", info.threads["text"])]
    _section(console, "Machine", cpus)
    _section(console, "Policy", ((part.name, f"{part.value}  ({part.origin})") for part in info.policy))
    if info.dispatch is not None:
        how = "the direct way" if info.dispatch == "direct" else "TensorFlow's public interface"
        _section(console, "Dispatch", [("graphs run by", how), ("private symbols", _symbols(info.symbols))])
    console.print(Text("Trouble", "bold"))
    if not info.trouble:
        console.print(Text("  none found", "green"))
    for sentence in info.trouble:
        console.print(Padding(Text(f"! {sentence}", "yellow"), (0, 0, 0, 2)))


def _symbols(symbols: dict[str, bool]) -> str:
    """How many were found, and by name those that were not; `--json` lists all."""
    missing = [name for name, there in symbols.items() if not there]
    if missing:
        return f"missing: {', '.join(missing)}"
    return f"all {len(symbols)} found" if symbols else "none are used"


def _section(console: Console, title: str, rows: Iterable[Sequence[str]]) -> None:
    rows = list(rows)
    if not rows:
        return
    console.print(Text(title, "bold"))
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(Text(name, "dim"), Text(text))
    console.print(table)
