"""What the codemod has to say: the places that it leaves to a person, and what became of a source."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Place(NamedTuple):
    """A place in a file that a person has to look at.

    Attributes:
        line: its line, from 1; in a notebook, of the cell.
        column: its column, from 1.
        kind: `"left"`: it was left as it was, because what to write cannot be decided from the source. `"check"`: it
            was rewritten, but something about it has changed that the source does not show to be harmless.
        reason: why, and what to write or look at.
        cell: the cell of a notebook, from 1, counting cells of every type; None in a Python file.
    """

    line: int
    column: int
    kind: Literal["left", "check"]
    reason: str
    cell: int | None = None

    def at(self, name: str) -> str:
        """The place and the reason on one line, as compilers write it.

        Args:
            name: the name of the file.

        Example:
            >>> Place(3, 5, "left", "this is why").at("fit.py")
            'fit.py:3:5: left: this is why'
        """
        cell = "" if self.cell is None else f"cell {self.cell}:"
        return f"{name}:{cell}{self.line}:{self.column}: {self.kind}: {self.reason}"


class Migration(NamedTuple):
    """What became of the source of a file.

    Attributes:
        source: the source, rewritten.
        rewritten: how many uses of old names were rewritten.
        places: what a person has to look at, in the order of the source.
        mentions: comments and strings that mention old names; they are left as they are.
    """

    source: str
    rewritten: int = 0
    places: tuple[Place, ...] = ()
    mentions: int = 0


class UnreadableSourceError(ValueError):
    """A source that cannot be migrated as a whole; nothing in it is changed.

    Attributes:
        line: the line where reading stopped, from 1; None where there is none to name.
        column: the column, from 1.
        reason: why.
    """

    def __init__(self, reason: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(reason if line is None else f"line {line}, column {column}: {reason}")
        self.reason, self.line, self.column = reason, line, column
