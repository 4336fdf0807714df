"""Rules for the names that set the mode: a call alone sets for good, one in a `with` statement is a block."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import libcst as cst

from ._names import KINDS
from ._work import UndecidedError, literal, named

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._work import Work

_KEPT: Final = (
    "its result is kept or passed on, so it cannot be seen whether it sets for good (write zrun.run.set_mode(...)) "
    "or for a block (write `with zrun.run.using(...):` there)"
)
_HIDDEN: Final = (
    "inside of a block zrun.run.set_mode(...) raises PolicyShadowedError, since nobody would see the new default: set "
    "it before the block, or write another block"
)
_NOTHING: Final = "without arguments it changes nothing: remove it"


def _call_and_form(work: Work) -> tuple[cst.Call, bool]:
    """The call, and whether it is a block."""
    call = work.call
    if call is None:
        raise UndecidedError("it is passed on without being called: write a function that calls zrun.run.set_mode(...)")
    form = work.form(call)
    if form == "other":
        raise UndecidedError(_KEPT)
    if form == "with as":
        raise UndecidedError(
            "the value of the block is used: zrun.run.using(...) yields the whole policy, with .graph and .autograd"
        )
    if form == "statement" and _is_inside_of_a_block(work, call):
        work.checks.append(_HIDDEN)
    return call, form == "with"


def _is_inside_of_a_block(work: Work, node: cst.CSTNode) -> bool:
    """Whether a `with` statement of the same function sets the mode around a node."""
    holder = work.tree.parent(node)
    while holder is not None and not isinstance(holder, (cst.FunctionDef, cst.Lambda, cst.ClassDef)):
        for item in holder.items if isinstance(holder, cst.With) else ():
            func = item.item.func if isinstance(item.item, cst.Call) else None
            if isinstance(func, cst.Attribute) and func.attr.value in {*MODE_RULES, "using"}:
                return True
        holder = work.tree.parent(holder)
    return False


def _check_kinds(argument: cst.Arg) -> None:
    """A dict has to name kinds that zrun knows."""
    if not isinstance(argument.value, cst.Dict):
        return
    for element in argument.value.elements:
        key = element.key if isinstance(element, cst.DictElement) else None
        name = key.evaluated_value if isinstance(key, cst.SimpleString) else None
        if isinstance(name, str) and name.partition(".")[0] not in KINDS:
            raise UndecidedError(
                f"zrun has no kind of function {name!r}: name one of {', '.join(sorted(KINDS))}, "
                f"or define it with zrun.run.define_kind({name!r})"
            )


def set_mode(work: Work) -> None:
    """`run.set_mode(graph, autograd)`."""
    call, block = _call_and_form(work)
    if not block and any(argument.star for argument in call.args):
        work.rename("{zrun}.run.set_mode")
        return
    if block and call.args and all(argument.star == "**" for argument in call.args):
        work.rename("{zrun}.run.using")
        return
    given = named(call, ("graph", "autograd"))
    if all(literal(argument) is None for argument in given.values()):
        if given or block:
            raise UndecidedError(_NOTHING)
        statement = work.tree.parent(call)
        assert isinstance(statement, cst.Expr)
        work.edits.drop_statement(statement)
        return
    if "graph" in given:
        _check_kinds(given["graph"])
    work.rename("{zrun}.run.using" if block else "{zrun}.run.set_mode")
    for name, argument in given.items() if block else ():
        work.name_argument(argument, name)


def set_mode_default(work: Work) -> None:
    """`run.set_mode_default()`."""
    call, block = _call_and_form(work)
    work.rename("{zrun}.run.using" if block else "{zrun}.run.set_mode_default")
    if block:
        work.give_argument(call, 'graph="auto", autograd=True')


def set_graph_mode(work: Work) -> None:
    """`run.set_graph_mode(graph, *, set_backend)`."""
    call, block = _call_and_form(work)
    given = named(call, ("graph",), ("set_backend",))
    switch = given.get("set_backend")
    work.rename("{zrun}.run.using" if block else "{zrun}.run.set_mode")
    if switch is not None:
        _set_backend(work, call, given.get("graph"), switch, block=block)
    _set_part(work, call, "graph", '"auto"', given.get("graph"))


def _set_backend(work: Work, call: cst.Call, graph: cst.Arg | None, switch: cst.Arg, *, block: bool) -> None:
    said, off = literal(switch), literal(graph) is False
    if graph is None or said not in (True, False, None):
        raise UndecidedError("write tensorflow=True in zrun.run.using(...) where set_backend was to be true")
    if said is False and not block:
        raise UndecidedError(
            "zrun.run.set_mode(graph=False) has TensorFlow's own functions follow; only a block, "
            "`with zrun.run.using(graph=False):`, leaves them alone"
        )
    if said is True and block and off:
        work.name_argument(switch, "tensorflow")
    else:
        work.drop_arguments(call, [switch])


def set_autograd_mode(work: Work) -> None:
    """`run.set_autograd_mode(autograd)`."""
    call, block = _call_and_form(work)
    given = named(call, ("autograd",))
    work.rename("{zrun}.run.using" if block else "{zrun}.run.set_mode")
    _set_part(work, call, "autograd", "True", given.get("autograd"))


def _set_part(work: Work, call: cst.Call, name: str, default: str, argument: cst.Arg | None) -> None:
    if argument is None:
        work.give_argument(call, f"{name}={default}")
        return
    _check_kinds(argument)
    work.name_argument(argument, name)
    if literal(argument) is None:
        work.edits.replace(work.tree.span(argument.value), default)


def enable_eager(work: Work) -> None:
    """`run.experimental_enable_eager(eager)`."""
    call = work.call
    if call is None or work.form(call) != "statement":
        raise UndecidedError("write zrun.run.set_mode(graph=False), or graph=True to build graphs")
    argument = named(call, ("eager",)).get("eager")
    work.rename("{zrun}.run.set_mode")
    if argument is None:
        work.give_argument(call, "graph=True")
        return
    work.name_argument(argument, "graph")
    said = literal(argument)
    if isinstance(said, bool):
        work.edits.replace(work.tree.span(argument.value), str(not said))
    elif isinstance(argument.value, (cst.Name, cst.Attribute, cst.Call, cst.Subscript)):
        work.edits.insert(work.tree.span(argument.value).start, "not ")
    else:
        raise UndecidedError("write zrun.run.set_mode(graph=...) with the opposite of this value")


MODE_RULES: Final[dict[str, Callable[[Work], None]]] = {
    "experimental_enable_eager": enable_eager,
    "set_autograd_mode": set_autograd_mode,
    "set_graph_mode": set_graph_mode,
    "set_mode": set_mode,
    "set_mode_default": set_mode_default,
}
