"""A source as a tree: who is whose parent, where everything stands, what each name is bound to."""

from __future__ import annotations

import ast
import re
import warnings
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import libcst as cst
from libcst.metadata import (
    ExpressionContext,
    ExpressionContextProvider,
    MetadataWrapper,
    ParentNodeProvider,
    PositionProvider,
    ScopeProvider,
)

from ._places import UnreadableSourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from libcst.metadata import Scope

N = TypeVar("N", bound=cst.CSTNode)

# The line ends of Python; str.splitlines knows others.
_LINE: Final = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")


_TOO_DEEP: Final = "the code is nested too deeply to be read"


class Point(NamedTuple):
    """A point between two characters: a line from 1, and a column from 0."""

    line: int
    column: int


class Span(NamedTuple):
    """A stretch of the source."""

    start: Point
    end: Point


class Tree:
    """A source, parsed.

    Args:
        source: the text of a Python module.

    Raises:
        UnreadableSourceError: it is no Python that the installed version of libcst reads.
    """

    def __init__(self, source: str) -> None:
        self.lines = _LINE.findall(source)
        wrapper = MetadataWrapper(parse(source), unsafe_skip_copy=True)
        try:
            self.module = wrapper.module
            self._positions = wrapper.resolve(PositionProvider)
            self._parents = wrapper.resolve(ParentNodeProvider)
            self._contexts = wrapper.resolve(ExpressionContextProvider)
            self._scopes = wrapper.resolve(ScopeProvider)
        except (KeyError, RecursionError):
            # The position provider makes the one of the other.
            raise UnreadableSourceError(_TOO_DEEP) from None
        # libcst leaves a form feed out, and with it a column.
        self._shown = _LINE.findall(self.module.code)

    def parent(self, node: cst.CSTNode) -> cst.CSTNode | None:
        """The node that holds a node; None for the module."""
        return self._parents.get(node)

    def is_written(self, node: cst.CSTNode) -> bool:
        """Whether a name, attribute or item is assigned to or deleted, alone or in a tuple."""
        return self._contexts.get(node, ExpressionContext.LOAD) is not ExpressionContext.LOAD

    def nodes(self, kind: type[N]) -> Iterator[N]:
        """All nodes of a kind, in no particular order."""
        return (node for node in self._parents if isinstance(node, kind))

    def span(self, node: cst.CSTNode) -> Span:
        """Where a node stands, without the white space around it."""
        found = self._positions[node]
        return Span(Point(found.start.line, found.start.column), Point(found.end.line, found.end.column))

    def text(self, span: Span) -> str:
        """The source of a span.

        Raises:
            UnreadableSourceError: the tree does not tell exactly where that is.
        """
        text = cut(self.lines, span)
        if text != cut(self._shown, span):
            raise UnreadableSourceError(
                "the line has characters (such as a form feed) that keep it from being rewritten exactly; remove them",
                span.start.line,
                span.start.column + 1,
            )
        return text

    def scope(self, node: cst.CSTNode) -> Scope | None:
        """The scope that a node belongs to."""
        holder: cst.CSTNode | None = node
        while holder is not None:
            scope = self._scopes.get(holder)
            if scope is not None:
                return scope
            holder = self.parent(holder)
        return None

    def scopes(self) -> list[Scope]:
        """All scopes, in no particular order."""
        return [scope for scope in {*self._scopes.values()} if scope is not None]

    @property
    def newline(self) -> str:
        """The line end that the source uses first."""
        return next((line[len(line.rstrip("\r\n")) :] for line in self.lines if line[-1] in "\r\n"), "\n")


def cut(lines: list[str], span: Span) -> str:
    """The text of a span in a source that is given in lines."""
    (first, start), (last, end) = span
    if first == last:
        return lines[first - 1][start:end] if first <= len(lines) else ""
    return "".join([lines[first - 1][start:], *lines[first : last - 1], lines[last - 1][:end] if end else ""])


def parse(source: str) -> cst.Module:
    """Parse a source.

    Raises:
        UnreadableSourceError: it is no Python that the installed version of libcst reads.
    """
    _refuse_deep_nesting(source)
    try:
        return cst.parse_module(source)
    except cst.ParserSyntaxError as error:
        raise UnreadableSourceError(_first_line(error.message), error.raw_line, error.raw_column + 1) from None
    except RecursionError:
        raise UnreadableSourceError(_TOO_DEEP) from None


def _refuse_deep_nesting(source: str) -> None:
    """Code that Python itself cannot take overflows the stack of libcst's parser, which ends the process."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(source)
    except (MemoryError, RecursionError):
        raise UnreadableSourceError(_TOO_DEEP) from None
    except (SyntaxError, ValueError) as error:
        # Other code may be of a later Python than this one, which libcst reads.
        if "too many" in str(error):
            raise UnreadableSourceError(_TOO_DEEP, getattr(error, "lineno", None), 1) from None


def _first_line(message: str) -> str:
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    text = lines[0] if lines else "syntax error"
    return text.removeprefix("parser error: ").removeprefix("error: ")
