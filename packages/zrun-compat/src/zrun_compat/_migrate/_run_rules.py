"""Rules for everything else that the run manager answered to: reading the mode, graphs, CPUs, checks of numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import libcst as cst

from ._work import UndecidedError, literal, named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ._work import Work

_HASHED: Final = "zrun finds graphs by the structure of their arguments and hashes no data: remove the call"

GONE: Final = {
    "MAX_CHUNK_SIZE": "zrun.run.chunksize is None where there are no chunks, so there is no largest size to name",
    "experimental_disable_param_update": "zrun has no minimiser that updates parameters, and so nothing to disable; "
    "for zfit's own minimisers leave it on zfit.run",
    "hashing_data": _HASHED,
    "set_data_hashing": _HASHED,
}


def renamed(new: str) -> Callable[[Work], None]:
    """The rule of a name that has another one now and is otherwise the same."""

    def rule(work: Work) -> None:
        if work.is_written:
            raise UndecidedError("it cannot be assigned to in zrun")
        work.rename("{zrun}.run." + new, beyond=len(work.rest) - 1)

    return rule


def mode(work: Work) -> None:
    """`run.mode`, which can be read only."""
    if work.is_written or work.rest[1:2] not in ((), ("get",), ("items",), ("keys",), ("values",), ("copy",)):
        raise UndecidedError("zrun.run.mode is read-only: write zrun.run.set_mode(...)")
    work.rename("{zrun}.run.mode", beyond=len(work.rest) - 1)


def executing_eagerly(work: Work) -> None:
    """`run.executing_eagerly()`, which TensorFlow says itself."""
    if work.tensorflow is None:
        raise UndecidedError(
            "write tensorflow.executing_eagerly(); the name `tf` stands for something else in this file"
        )
    work.rename("{tensorflow}.executing_eagerly", beyond=len(work.rest) - 1)


def clear_graph_cache(work: Work) -> None:
    """`run.clear_graph_cache(call_gc=...)`."""
    work.rename("{zrun}.run.clear_graph_cache", beyond=len(work.rest) - 1)
    call = work.call
    if call is None:
        return
    for argument in call.args:
        if argument.star:
            raise UndecidedError("call_gc is release_memory now; what is passed here with stars is not seen")
        if argument.keyword is None or argument.keyword.value != "call_gc":
            continue
        if literal(argument) is None:
            work.drop_arguments(call, [argument])
        else:
            work.name_argument(argument, "release_memory")


def set_graph_cache_size(work: Work) -> None:
    """`run.set_graph_cache_size(size)`."""
    call = work.call
    if call is None:
        raise UndecidedError("it is passed on without being called: write zrun.run.set_graph_cache_size(graphs=...)")
    work.rename("{zrun}.run.set_graph_cache_size")
    given = named(call, ("size", "bytes"), ("graphs",))
    if "graphs" in given or "bytes" in given:
        if "size" in given and given["size"].keyword is not None:
            work.name_argument(given["size"], "graphs")
        return
    if not call.args:
        work.give_argument(call, "graphs=256")
        return
    work.name_argument(given["size"], "graphs")
    if literal(given["size"]) is None:
        work.edits.replace(work.tree.span(given["size"].value), "256")
    elif work.use.path.startswith("zfit."):
        work.checks.append(
            "the number counted the graphs of each function and now counts those of all functions together "
            "(256 unless set): choose a larger one"
        )


def aquire_cpu(work: Work) -> None:
    """`with run.aquire_cpu(max_cpu) as cpus:`, which yields a number now."""
    call = work.call
    item = None if call is None else work.tree.parent(call)
    if call is None or not isinstance(item, cst.WithItem):
        raise UndecidedError("write `with zrun.run.acquire_cpu(max_cpu) as cpus:`, where `cpus` is how many")
    argument = named(call, ("max_cpu",)).get("max_cpu")
    if argument is not None and literal(argument) == 0:
        raise UndecidedError("zrun's acquire_cpu lends at least one CPU: remove the block")
    if item.asname is not None:
        for length in _lengths(work, item):
            inside = work.tree.text(work.tree.span(length.args[0].value))
            work.edits.replace(work.tree.span(length), inside)
    work.rename("{zrun}.run.acquire_cpu")


def _lengths(work: Work, item: cst.WithItem) -> Iterator[cst.Call]:
    """The places that ask how many CPUs there are; anything else that is done with them is not decided."""
    target = item.asname.name if item.asname is not None else None
    scope = work.tree.scope(item)
    listed = UndecidedError(
        "zrun.run.acquire_cpu yields a number, where this one yielded a list of names that is used as a list"
    )
    if not isinstance(target, cst.Name) or scope is None:
        raise listed
    for access in [access for assignment in scope[target.value] for access in assignment.references]:
        argument = work.tree.parent(access.node)
        call = work.tree.parent(argument) if isinstance(argument, cst.Arg) else None
        if (
            not isinstance(call, cst.Call)
            or len(access.referents) != 1
            or not isinstance(call.func, cst.Name)
            or call.func.value != "len"
            or len(call.args) != 1
            or call.lpar
        ):
            raise listed
        yield call


def checks_of_numbers(work: Work) -> None:
    """`run.numeric_checks` and `run.check_numerics`, which are a block where they are set."""
    if work.is_written:
        raise UndecidedError(
            "setting it for good is not there any more: write `with zrun.run.using(check_numerics=...):` around the "
            "code that is to be checked"
        )
    work.rename("{zrun}.run.policy.check_numerics", beyond=len(work.rest) - 1)


def is_eager(work: Work) -> None:
    """`run.experimental_is_eager`."""
    if work.is_written or len(work.rest) > 1:
        raise UndecidedError("write zrun.run.current_policy_graph() is False")
    work.write_comparison("{zrun}.run.current_policy_graph() is False", work.use.node)


RUN_RULES: Final[dict[str, Callable[[Work], None]]] = {
    "aquire_cpu": aquire_cpu,
    "check_numerics": checks_of_numbers,
    "clear_graph_cache": clear_graph_cache,
    "executing_eagerly": executing_eagerly,
    "experimental_clear_caches": renamed("clear_graph_cache"),
    "experimental_is_eager": is_eager,
    "get_autograd_mode": renamed("current_policy_autograd"),
    "get_graph_mode": renamed("current_policy_graph"),
    "mode": mode,
    "numeric_checks": checks_of_numbers,
    "set_graph_cache_size": set_graph_cache_size,
}
