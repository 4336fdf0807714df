"""What is in a cache, as rows, as text and as HTML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

_HEADERS = ("function", "kind", "graphs", "compiled", "hits", "misses", "evicted", "dropped", "trace s", "memory")
# The first two are text; numbers are aligned on the right.
_TEXT_COLUMNS = 2


class Freed(NamedTuple):
    """What was dropped.

    Attributes:
        graphs: how many graphs.
        bytes: their estimated size.
    """

    graphs: int
    bytes: int


class FunctionInfo(NamedTuple):
    """What a cache says of one function: a row of `CacheInfo`.

    Attributes:
        function: its qualified name.
        kind: its kind.
        graphs: how many graphs are in the cache now.
        hits: look-ups that found a graph.
        misses: look-ups that had to build one.
        evictions: graphs dropped by a budget, by age or by clearing.
        invalidations: graphs dropped because what they had read changed or died.
        trace_seconds: time spent building.
        bytes: estimated size of the graphs now.
        compiled: how many of the graphs are compiled to machine code.
    """

    function: str
    kind: str
    graphs: int = 0
    hits: int = 0
    misses: int = 0
    evictions: int = 0
    invalidations: int = 0
    trace_seconds: float = 0.0
    bytes: int = 0
    compiled: int = 0

    def plus(self, other: FunctionInfo) -> FunctionInfo:
        """The sum of two rows, under the name of this one."""
        return FunctionInfo(
            self.function,
            self.kind,
            self.graphs + other.graphs,
            self.hits + other.hits,
            self.misses + other.misses,
            self.evictions + other.evictions,
            self.invalidations + other.invalidations,
            self.trace_seconds + other.trace_seconds,
            self.bytes + other.bytes,
            self.compiled + other.compiled,
        )

    def cells(self) -> tuple[str, ...]:
        """The row as text."""
        numbers = (self.graphs, self.compiled, self.hits, self.misses, self.evictions, self.invalidations)
        return (self.function, self.kind, *map(str, numbers), f"{self.trace_seconds:.3f}", in_units(self.bytes))


@dataclass(frozen=True, slots=True)
class CacheInfo:
    """What is in a cache; prints as a table, and shows as one in a notebook.

    Attributes:
        rows: one per function that lives, the one with the longest trace time first; functions that are gone are summed
            up in a last row named "(gone)".
        total: their sum.
        max_entries: the budget for graphs; None means no limit.
        max_bytes: the budget for their estimated size in bytes.
        max_age: for how many seconds a graph may go unused.

    Example:
        >>> print(CacheInfo((FunctionInfo("loss", "loss", 1, 41, 1, trace_seconds=0.25, bytes=2048),), 40))
        function  kind  graphs  compiled  hits  misses  evicted  dropped  trace s  memory
        loss      loss       1         0    41       1        0        0    0.250  2.0 kB
        total                1         0    41       1        0        0    0.250  2.0 kB
        at most 40 graphs
    """

    rows: tuple[FunctionInfo, ...] = ()
    max_entries: int | None = None
    max_bytes: int | None = None
    max_age: float | None = None

    @property
    def total(self) -> FunctionInfo:
        """The sum over all functions."""
        total = FunctionInfo("total", "")
        for row in self.rows:
            total = total.plus(row)
        return total

    @property
    def budget(self) -> str:
        """The limits in words."""
        limits = []
        if self.max_entries is not None:
            limits.append(f"{self.max_entries} graphs")
        if self.max_bytes is not None:
            limits.append(in_units(self.max_bytes))
        if self.max_age is not None:
            limits.append(f"{self.max_age:g} s unused")
        return f"at most {', '.join(limits)}" if limits else "no limits"

    def _table(self) -> list[tuple[str, ...]]:
        return [_HEADERS, *(row.cells() for row in self.rows), self.total.cells()]

    def __str__(self) -> str:
        table = self._table()
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = []
        for row in table:
            padded = (
                cell.ljust(width) if i < _TEXT_COLUMNS else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            lines.append("  ".join(padded).rstrip())
        return "\n".join([*lines, self.budget])

    def __rich__(self) -> Any:
        """The table as rich shows it; only rich asks for this."""
        from rich.table import Table

        header, *rows, total = self._table()
        table = Table(title="Graph cache", caption=self.budget)
        for index, (name, sum_) in enumerate(zip(header, total, strict=True)):
            table.add_column(name, footer=sum_, justify="left" if index < _TEXT_COLUMNS else "right")
        table.show_footer = True
        for row in rows:
            table.add_row(*row)
        return table

    def _repr_html_(self) -> str:
        from html import escape

        def line(row: tuple[str, ...], tag: str) -> str:
            cells = (
                f'<{tag} style="text-align:{"left" if i < _TEXT_COLUMNS else "right"}">{escape(cell)}</{tag}>'
                for i, cell in enumerate(row)
            )
            return f"<tr>{''.join(cells)}</tr>"

        header, *rows, total = self._table()
        return (
            f"<table><caption>Graph cache: {escape(self.budget)}</caption><thead>{line(header, 'th')}</thead>"
            f"<tbody>{''.join(line(row, 'td') for row in rows)}</tbody><tfoot>{line(total, 'th')}</tfoot></table>"
        )


def in_units(nbytes: float) -> str:
    """A number of bytes with a unit: 2048 -> "2.0 kB"; a kB is 1024 bytes.

    Args:
        nbytes: the number of bytes.
    """
    if nbytes < 1024:
        return f"{nbytes:.0f} B"
    for unit in ("kB", "MB", "GB"):
        nbytes /= 1024
        if nbytes < 1024:
            return f"{nbytes:.1f} {unit}"
    return f"{nbytes / 1024:.1f} TB"
