"""What the rules have to work with: the use in hand, how it stands in the code, and the changes it asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import libcst as cst

from ._edits import Edits
from ._names import old_name
from ._tree import Point, Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ._tree import Tree
    from ._uses import Use


# What holds a comparison without parentheses around it.
_HOLDERS: Final = (cst.AnnAssign, cst.Assign, cst.Return, cst.If, cst.While, cst.Assert, cst.Arg, cst.Expr)


class UndecidedError(Exception):
    """A rule cannot tell what to write; the message says why, and what a person could write."""


class Work:
    """One use of an old name, being rewritten.

    Args:
        tree: the source.
        use: the use.
        zrun: the name that zrun has in this source.
        tensorflow: the name that TensorFlow has there; None where that name is taken by something else.

    Attributes:
        what: what is used: `"run"`, `"function"` and so on.
        rest: the attributes taken from it.
        edits: the changes so far.
        checks: what a person has to look at although it was rewritten.
        needs: which of zrun and TensorFlow the changes speak of.
    """

    def __init__(self, tree: Tree, use: Use, zrun: str, tensorflow: str | None) -> None:
        found = old_name(use.path)
        assert found is not None
        self.tree, self.use, self.zrun, self.tensorflow = tree, use, zrun, tensorflow
        self.what, self.rest = found
        self.edits = Edits(tree)
        self.checks: list[str] = []
        self.needs: set[str] = set()

    # -- how it stands in the code ----------------------------------------------------------------------------------

    @property
    def parent(self) -> cst.CSTNode | None:
        """What holds the chain."""
        return self.tree.parent(self.use.node)

    @property
    def call(self) -> cst.Call | None:
        """The call of what the chain names; None where it is not called."""
        parent = self.parent
        return parent if isinstance(parent, cst.Call) and parent.func is self.use.node else None

    def form(self, call: cst.Call) -> Literal["statement", "with", "with as", "other"]:
        """Whether a call is a statement of its own, stands in a `with` statement, or anywhere else."""
        parent = self.tree.parent(call)
        if isinstance(parent, cst.Expr):
            return "statement"
        if isinstance(parent, cst.WithItem):
            return "with" if parent.asname is None else "with as"
        if isinstance(parent, cst.Arg):
            around = self.tree.parent(parent)
            entered = isinstance(around, cst.Call) and isinstance(around.func, cst.Attribute)
            if entered and around.func.attr.value == "enter_context":  # type: ignore[union-attr]
                held = self.tree.parent(around)  # type: ignore[arg-type]
                return "with" if isinstance(held, cst.Expr) else "with as"
        return "other"

    @property
    def is_written(self) -> bool:
        """Whether the chain is assigned to, or deleted, or something in it is."""
        node, parent = self.use.node, self.parent
        while isinstance(parent, (cst.Attribute, cst.Subscript)) and parent.value is node:
            node, parent = parent, self.tree.parent(parent)
        return self.tree.is_written(node)

    @property
    def assignment(self) -> cst.Assign | None:
        """The statement that assigns to the chain and to nothing else; None where there is none."""
        parent = self.parent
        if not isinstance(parent, cst.AssignTarget):
            return None
        assign = self.tree.parent(parent)
        return assign if isinstance(assign, cst.Assign) and len(assign.targets) == 1 else None

    # -- changes ----------------------------------------------------------------------------------------------------

    def rename(self, new: str, beyond: int = 0) -> None:
        """Write `new` for the chain, without its last attributes.

        Args:
            new: the new text; `{zrun}` and `{tensorflow}` stand for the names of these.
            beyond: how many attributes at the end are left alone.
        """
        node = self.use.up_to(beyond)
        span = self.tree.span(node)
        if any(getattr(part, "lpar", ()) for part in self.use.chain[:-1]) or "#" in self.tree.text(span):
            raise UndecidedError("it is written with parentheses or comments inside of the name")
        self.edits.replace(span, self.filled(new))

    def write_comparison(self, new: str, node: cst.CSTNode) -> None:
        """Write a comparison for an expression, in parentheses unless it stands where none are needed.

        Args:
            new: the comparison, as for `rename`.
            node: the expression.
        """
        parent = self.tree.parent(node)
        free = isinstance(parent, _HOLDERS)
        free = free and not (isinstance(parent, cst.Arg) and parent.star)
        if getattr(node, "lpar", ()) or "#" in self.tree.text(self.tree.span(node)):
            raise UndecidedError("it is written with parentheses or comments around or inside of the name")
        text = self.filled(new)
        self.edits.replace(self.tree.span(node), text if free else f"({text})")

    def filled(self, new: str) -> str:
        """Fill in the names of zrun and TensorFlow, and remember that they are needed."""
        self.needs |= {name for name in ("zrun", "tensorflow") if f"{{{name}}}" in new}
        return new.format(zrun=self.zrun, tensorflow=self.tensorflow)

    def drop_arguments(self, call: cst.Call, dropped: Iterable[cst.Arg]) -> None:
        """Take arguments out of a call."""
        gone = {id(argument) for argument in dropped}
        if not gone:
            return
        spans = [self.argument_span(argument) for argument in call.args]
        indices = [index for index, argument in enumerate(call.args) if id(argument) in gone]
        if len(indices) < len(spans):
            self.edits.drop_items(spans, indices)
            return
        comma = self.tree.text(Span(spans[-1].end, self.tree.span(call).end))
        trailing = len(comma) - len(comma.lstrip().removeprefix(",")) if comma.lstrip().startswith(",") else 0
        end = Point(spans[-1].end.line, spans[-1].end.column + trailing)
        if "#" in self.tree.text(Span(spans[0].start, end)) or "\n" in comma[:trailing]:
            raise UndecidedError("its arguments, which are to go, have comments among them")
        self.edits.replace(Span(spans[0].start, end), "")

    def argument_span(self, argument: cst.Arg) -> Span:
        """Where an argument stands, with its keyword and without its comma."""
        end = self.tree.span(argument.value).end
        if argument.star:
            return Span(self.tree.span(argument).start, end)
        return Span(self.tree.span(argument.keyword or argument.value).start, end)

    def name_argument(self, argument: cst.Arg, keyword: str) -> None:
        """Give an argument by a keyword, another one or for the first time."""
        if argument.keyword is None:
            self.edits.insert(self.tree.span(argument.value).start, f"{keyword}=")
        elif argument.keyword.value != keyword:
            self.edits.replace(self.tree.span(argument.keyword), keyword)

    def give_argument(self, call: cst.Call, text: str) -> None:
        """Give a call that has no arguments one."""
        start = self.tree.span(self.use.node).end
        between = self.tree.text(Span(start, self.tree.span(call).end))
        inside = between[: between.index(")")]
        if inside.replace("\\", "").strip() != "(":
            raise UndecidedError("it has comments between its parentheses")
        if "\n" in inside or "\r" in inside:
            raise UndecidedError("its empty parentheses are spread over lines")
        self.edits.insert(Point(start.line, start.column + len(inside)), text)


def named(call: cst.Call, parameters: Sequence[str], keywords: Sequence[str] = ()) -> dict[str, cst.Arg]:
    """The arguments of a call by the names of the parameters they are for.

    Args:
        call: the call.
        parameters: the parameters that can be given by position, in their order.
        keywords: the parameters that can be given by keyword only.

    Raises:
        UndecidedError: there are arguments with stars, or some that the old name never took.
    """
    found: dict[str, cst.Arg] = {}
    for index, argument in enumerate(call.args):
        if argument.star:
            raise UndecidedError(
                f"what {argument.star}{cst.Module([]).code_for_node(argument.value)} holds is not seen"
            )
        if argument.keyword is None and index >= len(parameters):
            raise UndecidedError("it has more arguments than the old name took")
        name = parameters[index] if argument.keyword is None else argument.keyword.value
        if name in found or name not in (*parameters, *keywords):
            raise UndecidedError(f"the old name took no argument {name} here")
        found[name] = argument
    return found


def literal(argument: cst.Arg | None) -> object:
    """The value of an argument that is True, False, None, a number or a string; otherwise the argument itself."""
    if argument is None:
        return None
    value = argument.value
    if isinstance(value, cst.Name) and value.value in {"True", "False", "None"}:
        return {"True": True, "False": False, "None": None}[value.value]
    if isinstance(value, (cst.SimpleString, cst.Integer)):
        return value.evaluated_value
    return argument
