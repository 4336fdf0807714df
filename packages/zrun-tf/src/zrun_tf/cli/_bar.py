"""The bar of commands that take long, on stderr while that is a terminal."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import ProgressColumn


@contextmanager
def bar(what: str, *columns: ProgressColumn) -> Iterator[Progress]:
    """Show a bar for the time of a block; where stderr is no terminal nothing is written.

    Args:
        what: what is being done, in a word.
        columns: what to show behind the bar, before the time.
    """
    errors = Console(stderr=True)
    parts = (TextColumn(what), BarColumn(), *columns, TimeElapsedColumn(), TextColumn("{task.description}"))
    progress = Progress(*parts, console=errors, transient=True)
    if not errors.is_terminal:
        # rich before 14.3 ends a bar with an empty line even where it showed none, so none is begun.
        yield progress
        return
    with progress:
        yield progress
