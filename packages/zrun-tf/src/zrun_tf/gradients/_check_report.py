"""What a comparison of derivatives has found, as rows, as text and as HTML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from zrun_tf._errors import GradientMismatchError

_HEADERS: Final = ("parameter", "automatic", "numerical", "error", "difference", "tolerance", "")
_MOST: Final = 40


class GradientRow(NamedTuple):
    """One derivative.

    Attributes:
        name: the parameter, as in error messages; for second derivatives both of them.
        result: which of several results is differentiated; empty if there is one only.
        automatic: the automatic derivative.
        numerical: the numerical one.
        error: the estimated absolute error of the latter.
        tolerance: by how much they may differ.
    """

    name: str
    result: str
    automatic: float
    numerical: float
    error: float
    tolerance: float

    @property
    def difference(self) -> float:
        """By how much they differ."""
        return abs(self.automatic - self.numerical)

    @property
    def ok(self) -> bool:
        """Whether they agree; not if one is NaN."""
        return self.difference <= self.tolerance

    def cells(self) -> tuple[str, ...]:
        """The row as text."""
        name = f"{self.result} by {self.name}" if self.result else self.name
        values = (f"{self.automatic:.10g}", f"{self.numerical:.10g}")
        return (
            name,
            *values,
            f"{self.error:.1e}",
            f"{self.difference:.1e}",
            f"{self.tolerance:.1e}",
            "" if self.ok else "WRONG",
        )


@dataclass(frozen=True, repr=False)
class GradientCheck:
    """Automatic and numerical derivatives side by side; prints as a table, and shows as one in a notebook.

    Attributes:
        function: the name of the function.
        rows: one for each first derivative.
        hessian: one for each second derivative; empty if these were not asked for.

    Example:
        >>> check = GradientCheck("loss", (GradientRow("mu", "", 2.0, 2.5, 1e-9, 1e-8),))
        >>> print(check)
        loss: 1 of 1 derivatives wrong
        parameter  automatic  numerical    error  difference  tolerance
        mu                 2        2.5  1.0e-09     5.0e-01    1.0e-08  WRONG
    """

    function: str
    rows: tuple[GradientRow, ...]
    hessian: tuple[GradientRow, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether all derivatives agree."""
        return not self.wrong

    @property
    def wrong(self) -> tuple[GradientRow, ...]:
        """The rows that disagree."""
        return tuple(row for row in (*self.rows, *self.hessian) if not row.ok)

    def __bool__(self) -> bool:
        return self.ok

    def raise_if_wrong(self) -> None:
        """Make an error of derivatives that disagree.

        Raises:
            GradientMismatchError: there are some; the message has a table of them.
        """
        if self.wrong:
            raise GradientMismatchError(
                f"{self._said()}; automatic and numerical derivatives differ by more than the numerical error "
                f"explains.\n{_text(_cells(self.wrong))}"
            )

    def _said(self) -> str:
        count = len(self.rows) + len(self.hessian)
        return f"{self.function}: " + (f"{len(self.wrong)} of {count} derivatives wrong" if self.wrong else "all agree")

    def __repr__(self) -> str:
        return f"<gradient check of {self._said()}>"

    def __str__(self) -> str:
        return f"{self._said()}\n{_text(_cells((*self.rows, *self.hessian)))}"

    def _repr_html_(self) -> str:
        from html import escape

        def line(row: tuple[str, ...], tag: str) -> str:
            style = ' style="background:#a003"' if row[-1] and tag == "td" else ""
            cells = (
                f'<{tag} style="text-align:{"left" if i == 0 else "right"}">{escape(cell)}</{tag}>'
                for i, cell in enumerate(row)
            )
            return f"<tr{style}>{''.join(cells)}</tr>"

        header, *rows = _cells((*self.rows, *self.hessian))
        return (
            f"<table><caption>{escape(self._said())}</caption><thead>{line(header, 'th')}</thead>"
            f"<tbody>{''.join(line(row, 'td') for row in rows)}</tbody></table>"
        )


def _cells(rows: tuple[GradientRow, ...]) -> list[tuple[str, ...]]:
    """The table; of very many rows the worst ones, in their order."""
    if len(rows) > _MOST:
        ranked = sorted(rows, key=lambda row: row.difference / row.tolerance if row.tolerance else row.difference)
        worst = {id(row) for row in ranked[-_MOST:]}
        left_out = (f"... and {len(rows) - _MOST} that agree better", *[""] * (len(_HEADERS) - 1))
        return [_HEADERS, *(row.cells() for row in rows if id(row) in worst), left_out]
    return [_HEADERS, *(row.cells() for row in rows)]


def _text(table: list[tuple[str, ...]]) -> str:
    widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
    lines = []
    for row in table:
        padded = (
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)
