"""Rules for what is not an attribute of the run manager: `z.function`, `RunManager`, `eval_object`, the manager."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import libcst as cst

from ._names import KINDS
from ._tree import Span
from ._work import UndecidedError, literal

if TYPE_CHECKING:
    from ._work import Work

NOT_THERE: Final = {
    "py_function": "write zrun.py_function(func, inputs, like=..., jacobian=None), which has a true derivative; `like` "
    "takes the place of Tout",
    "warning": "without zrun_compat there is no such warning or error: remove it with the last old name",
}
_DROPPED: Final = frozenset({"autograph", "keepalive", "reduce_retracing", "stateless_args"})
_KEPT: Final = frozenset({"force_eager", "jit_compile", "max_graphs", "static", "kind"})
_OLD_OPTIONS: Final = _DROPPED | {"wraps", "cachesize"}


def function(work: Work) -> None:
    """`z.function`, bare, called, or with options."""
    work.rename("{zrun}.function", beyond=len(work.rest))
    call = work.call
    if call is None:
        _bare(work)
        return
    dropped = [argument for argument in call.args if _option(work, call, argument)]
    work.drop_arguments(call, dropped)


def _option(work: Work, call: cst.Call, argument: cst.Arg) -> bool:
    """Rewrite an option; whether it is to go."""
    if argument.star:
        raise UndecidedError("the options that are passed here with stars are not seen; zrun.function has others")
    name = None if argument.keyword is None else argument.keyword.value
    if name is None or name in _KEPT:
        return False
    if name in _DROPPED:
        if literal(argument) is argument:
            raise UndecidedError(f"zrun.function has no option {name}: remove it")
        return True
    if name == "cachesize":
        if literal(argument) is None:
            return True
        work.name_argument(argument, "max_graphs")
        return False
    if name == "wraps":
        return _wraps(work, argument)
    if name == "func" and call.args[0] is argument and argument.keyword is not None:
        work.edits.replace(Span(work.tree.span(argument.keyword).start, work.tree.span(argument.value).start), "")
        return False
    raise UndecidedError(f"zrun.function has no option {name}, which is one of tf.function")


def _wraps(work: Work, argument: cst.Arg) -> bool:
    kind = literal(argument)
    if isinstance(kind, str) and kind.partition(".")[0] not in KINDS:
        raise UndecidedError(
            f"zrun has no kind of function {kind!r}: write kind= with one of {', '.join(sorted(KINDS))}, "
            f"or define it with zrun.run.define_kind({kind!r})"
        )
    if kind is None:
        return True
    work.name_argument(argument, "kind")
    return False


def _bare(work: Work) -> None:
    """Where the decorator is passed on, its options are given somewhere else."""
    parent = work.parent
    if isinstance(parent, cst.Decorator):
        return
    if isinstance(parent, cst.Arg):
        call = work.tree.parent(parent)
        keywords = {argument.keyword.value for argument in getattr(call, "args", ()) if argument.keyword is not None}
        if not keywords & _OLD_OPTIONS:
            return
    raise UndecidedError("the decorator is kept or passed on: write zrun.function there, with kind= in place of wraps=")


def eval_object(work: Work) -> None:
    """`eval_object`, which has the same name."""
    work.rename("{zrun}.eval_object", beyond=len(work.rest))


def run_manager(work: Work) -> None:
    """`RunManager`, the class."""
    if work.rest and work.rest[0] not in {"DEFAULT_MODE", "define_kind"}:
        raise UndecidedError(f"zrun.RunManager has no {work.rest[0]} of this kind: write what zrun.run has")
    parent = work.parent
    work.rename("{zrun}.RunManager", beyond=len(work.rest))
    if work.call is not None or (isinstance(parent, cst.Arg) and isinstance(work.tree.parent(parent), cst.ClassDef)):
        work.checks.append("what is done with this run manager is not followed: it has zrun's names only")


def manager(work: Work) -> None:
    """`run(...)`, and `run` itself where it is handed on."""
    call = work.call
    if call is None:
        raise UndecidedError(
            "the run manager itself is kept, passed on or deleted: write zrun.run, and zrun's names where it is used"
        )
    if any(argument.keyword is not None or argument.star == "**" for argument in call.args):
        raise UndecidedError("run(...) has never taken keywords")
    work.rename("{zrun}.run")
