"""Rules for `run.chunksize` and `run.chunking`, whose two attributes are one number of rows in zrun."""

from __future__ import annotations

from typing import TYPE_CHECKING

import libcst as cst

from ._names import old_name
from ._tree import Span
from ._work import UndecidedError

if TYPE_CHECKING:
    from ._uses import Use
    from ._work import Work

_ROWS_OR_NOTHING = "it is None, no longer a large number, where there are no chunks"
_TWO = {"active", "max_n_points"}


def chunksize(work: Work) -> None:
    """`run.chunksize`, which was a number also where there were no chunks."""
    if work.is_written:
        raise UndecidedError("write zrun.run.set_chunksize(rows), or None for no chunks")
    work.rename("{zrun}.run.chunksize", beyond=len(work.rest) - 1)
    work.checks.append(_ROWS_OR_NOTHING)


def chunking(work: Work, uses: dict[cst.CSTNode, Use]) -> None:
    """`run.chunking.active` and `run.chunking.max_n_points`.

    Args:
        work: the use.
        uses: all uses in the source, by their outermost node.
    """
    option = work.rest[1] if len(work.rest) > 1 else None
    if option not in _TWO or len(work.rest) > 2:
        raise UndecidedError("zrun.run.chunksize and zrun.run.set_chunksize(rows) are what there is in its place")
    if not work.is_written:
        if option == "max_n_points":
            raise UndecidedError(f"write zrun.run.chunksize: {_ROWS_OR_NOTHING}")
        work.write_comparison("{zrun}.run.chunksize is not None", work.use.node)
        return
    assign = work.assignment
    if assign is None:
        raise UndecidedError("write zrun.run.set_chunksize(rows)")
    partner = _partner(work, assign, option, uses)
    if option == "max_n_points" and partner:
        _call_setter(work, assign, None)
    elif option == "max_n_points":
        raise UndecidedError(
            "it had an effect only with run.chunking.active = True: write zrun.run.set_chunksize(rows) where that is"
        )
    elif _is(assign.value, "False"):
        _call_setter(work, assign, "None")
    elif partner:
        work.edits.drop_statement(assign)
    else:
        raise UndecidedError(
            "write zrun.run.set_chunksize(rows), or None for no chunks; it was 1000000 rows unless set"
        )


def _call_setter(work: Work, assign: cst.Assign, value: str | None) -> None:
    start, end = work.tree.span(assign).start, work.tree.span(assign.value)
    if "#" in work.tree.text(Span(start, end.start)):
        raise UndecidedError("it is written with comments inside")
    work.edits.replace(Span(start, end.start), work.filled("{zrun}.run.set_chunksize("))
    if value is None:
        work.edits.insert(end.end, ")")
    else:
        work.edits.replace(end, f"{value})")


def _partner(work: Work, assign: cst.Assign, option: str, uses: dict[cst.CSTNode, Use]) -> bool:
    """Whether the statement before or after switches the chunks on, or says how many rows they have."""
    line = work.tree.parent(assign)
    block = None if line is None else work.tree.parent(line)
    if not isinstance(line, cst.SimpleStatementLine) or len(line.body) != 1 or block is None:
        return False
    if option == "active" and not _is(assign.value, "True"):
        return False
    statements = list(getattr(block, "body", ()))
    index = statements.index(line)
    near = [statements[at] for at in (index - 1, index + 1) if 0 <= at < len(statements)]
    found = [partner for partner in near if _sets_other(partner, option, uses, work)]
    return len(found) == 1


def _sets_other(statement: cst.CSTNode, option: str, uses: dict[cst.CSTNode, Use], work: Work) -> bool:
    small = statement.body[0] if isinstance(statement, cst.SimpleStatementLine) and len(statement.body) == 1 else None
    if not isinstance(small, cst.Assign) or len(small.targets) != 1:
        return False
    use = uses.get(small.targets[0].target)
    known = None if use is None or use.stays else old_name(use.path)
    (other,) = _TWO - {option}
    if use is None or known != ("run", ("chunking", other)) or _starts(use) != _starts(work.use):
        return False
    return other == "max_n_points" or _is(small.value, "True")


def _starts(use: Use) -> str:
    return use.path.partition(".chunking")[0]


def _is(value: cst.BaseExpression, name: str) -> bool:
    return isinstance(value, cst.Name) and value.value == name
