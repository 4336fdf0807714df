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
        self._dropped: list[cst.BaseSmallStatement] = []

    def replace(self, span: Span, text: str) -> None:
        """Put `text` in the place of a span."""
        self._tree.text(span)
        self._changes.append((span, text))

    def insert(self, point: Point, text: str) -> None:
        """Put `text` at a point."""
        self.replace(Span(point, point), text)

    def drop_statement(self, small: cst.BaseSmallStatement) -> None:
        """Take a statement away: with its line if it stands alone there and no comment follows."""
        self._dropped.append(small)

    def _drop_statements(self) -> None:
        """What becomes of a line, and of a block, depends on all that goes from it."""
        lines: dict[cst.CSTNode, list[cst.BaseSmallStatement]] = {}
        for small in self._dropped:
            line = self._tree.parent(small)
            assert isinstance(line, (cst.SimpleStatementLine, cst.SimpleStatementSuite))
            lines.setdefault(line, []).append(small)
        blocks: dict[cst.CSTNode | None, list[cst.CSTNode]] = {}
        for line, smalls in lines.items():
            body = list(line.body)  # type: ignore[attr-defined]
            spans = [self._tree.span(small) for small in body]
            if len(smalls) < len(body):
                self.drop_items(spans, [body.index(small) for small in smalls])
            elif isinstance(line, cst.SimpleStatementSuite):
                self.replace(Span(spans[0].start, spans[-1].end), "pass")
            else:
                blocks.setdefault(self._tree.parent(line), []).append(line)
        for block, gone in blocks.items():
            keeps = not isinstance(block, cst.IndentedBlock) or len(gone) < len(block.body)
            for line in gone:
                body = line.body  # type: ignore[attr-defined]
                span = Span(self._tree.span(body[0]).start, self._tree.span(body[-1]).end)
                if keeps or line is not gone[0]:
                    self._drop_line(span)
                else:
                    self.replace(span, "pass")

    def _drop_line(self, span: Span) -> None:
        last = self._tree.lines[span.end.line - 1]
        rest = last[span.end.column :].lstrip(" \t;")
        if rest.startswith("#"):
            self.replace(Span(span.start, Point(span.end.line, len(last) - len(rest))), "")
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
        self._dropped += others._dropped

    def applied(self) -> str:
        """The source with all changes."""
        self._drop_statements()
        pieces, done = [], Point(1, 0)
        for span, text in sorted(self._changes, key=lambda change: change[0]):
            assert done <= span.start, "two changes of one place"
            pieces += [cut(self._tree.lines, Span(done, span.start)), text]
            done = span.end
        lines = self._tree.lines
        end = Point(len(lines), len(lines[-1])) if lines else Point(1, 0)
        return "".join([*pieces, cut(lines, Span(done, end)) if done < end else ""])
