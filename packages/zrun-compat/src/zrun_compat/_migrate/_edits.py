"""Changes of a source as stretches of text, so that all the rest stays as it is to the last character."""

from __future__ import annotations

from typing import TYPE_CHECKING

import libcst as cst

from ._tree import Point, Span, cut

if TYPE_CHECKING:
    from collections.abc import Collection

    from ._tree import Tree


class Edits:
    """The changes of one source, which do not overlap.

    Args:
        tree: the source.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._changes: list[tuple[Span, str]] = []

    def replace(self, span: Span, text: str) -> None:
        """Put `text` in the place of a span."""
        self._tree.text(span)
        self._changes.append((span, text))

    def insert(self, point: Point, text: str) -> None:
        """Put `text` at a point."""
        self.replace(Span(point, point), text)

    def drop_statement(self, small: cst.BaseSmallStatement) -> None:
        """Take a statement away: with its line if it stands alone there and no comment follows."""
        line = self._tree.parent(small)
        assert isinstance(line, (cst.SimpleStatementLine, cst.SimpleStatementSuite))
        block, span = self._tree.parent(line), self._tree.span(small)
        siblings = list(line.body)
        if len(siblings) > 1:
            self._drop_among(small, siblings)
        elif isinstance(line, cst.SimpleStatementSuite) or (
            isinstance(block, cst.IndentedBlock) and len(block.body) == 1
        ):
            self.replace(span, "pass")
        else:
            self._drop_line(span)

    def _drop_among(self, small: cst.BaseSmallStatement, siblings: list[cst.BaseSmallStatement]) -> None:
        index = siblings.index(small)
        if index + 1 < len(siblings):
            self.replace(Span(self._tree.span(small).start, self._tree.span(siblings[index + 1]).start), "")
        else:
            self.replace(Span(self._tree.span(siblings[index - 1]).end, self._tree.span(small).end), "")

    def _drop_line(self, span: Span) -> None:
        lines = self._tree.lines
        last = lines[span.end.line - 1]
        rest = last[span.end.column :]
        if rest.strip().startswith("#"):
            self.replace(Span(span.start, Point(span.end.line, len(last) - len(rest.lstrip()))), "")
        else:
            self._changes.append((Span(Point(span.start.line, 0), Point(span.end.line, len(last))), ""))

    def drop_items(self, items: list[Span], dropped: Collection[int]) -> None:
        """Take some items, but not all, out of a list that is separated by commas.

        Args:
            items: where the items stand, without their commas.
            dropped: the indices of those to go.
        """
        kept = [index for index in range(len(items)) if index not in dropped]
        for index in sorted(dropped):
            if index > kept[-1]:
                # What stands behind the last one that is kept: its comma stays where it has a line of its own.
                self.replace(Span(items[index - 1].end, items[index].end), "")
            else:
                self._drop_before_next(items[index], items[index + 1])

    def _drop_before_next(self, item: Span, following: Span) -> None:
        lines = self._tree.lines
        alone = not lines[item.start.line - 1][: item.start.column].strip()
        if alone and following.start.line > item.end.line:
            # The whole line, with a comment on it; comments above the next item are that one's.
            self._changes.append((Span(Point(item.start.line, 0), Point(item.end.line + 1, 0)), ""))
        else:
            self.replace(Span(item.start, following.start), "")

    def add(self, others: Edits) -> None:
        """Make the changes of another collection too."""
        self._changes += others._changes

    def applied(self) -> str:
        """The source with all changes."""
        pieces, done = [], Point(1, 0)
        for span, text in sorted(self._changes, key=lambda change: change[0]):
            assert done <= span.start, "two changes of one place"
            pieces += [cut(self._tree.lines, Span(done, span.start)), text]
            done = span.end
        lines = self._tree.lines
        end = Point(len(lines), len(lines[-1])) if lines else Point(1, 0)
        return "".join([*pieces, cut(lines, Span(done, end)) if done < end else ""])

    def __len__(self) -> int:
        return len(self._changes)
