"""Migrates the source of one module: finds the uses, has the rules rewrite them, then sees to the imports."""

from __future__ import annotations

import ast
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from zrun_core import RunManager

from ._chunk_rules import chunking, chunksize
from ._edits import Edits
from ._hints import Hints
from ._imports import TENSORFLOW, ZRUN, Imports, name_for, reason_to_keep
from ._mode_rules import MODE_RULES
from ._names import SAME, of_package, old_name, worth_reading
from ._other_rules import NOT_THERE, eval_object, function, manager, run_manager
from ._places import Migration, Place, UnreadableSourceError
from ._run_rules import GONE, RUN_RULES, renamed
from ._tree import Tree, parse
from ._uses import Uses
from ._work import UndecidedError, Work

if TYPE_CHECKING:
    from collections.abc import Callable

    import libcst as cst

    from ._uses import Use

_OTHERS: Final[dict[str, Callable[[Work], None]]] = {
    "RunManager": run_manager,
    "eval_object": eval_object,
    "function": function,
}
_OF_ZRUN: Final = frozenset(name for name in dir(RunManager) if not name.startswith("_"))

_STILL_ZFIT: Final = (
    "zfit is still used here, and what it does follows zrun.run only where zfit itself runs on zrun: call "
    "zrun_compat.zfit.install(), or keep zfit.run for it"
)


def migrate_module(source: str, *, is_package: bool = False, readable: bool = True) -> Migration:
    """Migrate the source of a module.

    Args:
        source: its text.
        is_package: whether it is the `__init__.py` of a package, whose imports are there for others too.
        readable: whether this is all of it; a notebook may have cells that cannot be read.

    Returns:
        The new source and what there is to say.

    Raises:
        UnreadableSourceError: it is no Python that can be read, or it cannot be rewritten exactly.
    """
    if not worth_reading(source.encode("utf-8", errors="surrogatepass")):
        return Migration(source)
    return _Module(source, is_package=is_package, readable=readable).migrate()


class _Module:
    def __init__(self, source: str, *, is_package: bool, readable: bool) -> None:
        self._source, self._is_package, self._readable = source, is_package, readable
        self._tree = Tree(source)
        self._uses = Uses(self._tree)
        self._edits = Edits(self._tree)
        self._places: list[Place] = []
        self._modules: dict[Any, dict[str, str]] = {}
        self._zrun = name_for(self._tree, *ZRUN)
        self._tensorflow = name_for(self._tree, *TENSORFLOW)
        self._by_node = {use.node: use for use in self._uses.uses}

    def migrate(self) -> Migration:
        """Do it."""
        old = [use for use in self._uses.uses if old_name(use.path) is not None]
        for use in old:
            self._migrate(use)
        imports = Imports(self._tree, self._uses, self._edits, is_package=self._is_package, readable=self._readable)
        imports.rewrite(self._modules)
        self._say_what_is_imported_for_others()
        self._say_where_zfit_is_left()
        hints = Hints(self._tree, old)
        for node, reason in hints.found:
            self._say("left", node, reason)
        new = self._edits.applied()
        _check(self._source, new)
        return Migration(new, sum(use.decided for use in old), tuple(sorted(self._places)), hints.mentions)

    def _migrate(self, use: Use) -> None:
        if use.stays is not None:
            self._say("left", use.node, use.stays)
            return
        if self._zrun is None:
            self._say("left", use.node, "the names zrun and zrun_tf both stand for something else in this file")
            return
        work = Work(self._tree, use, self._zrun, self._tensorflow)
        try:
            self._rule(work)(work)
        except UndecidedError as undecided:
            self._say("left", use.node, str(undecided))
            return
        use.decided = True
        self._edits.add(work.edits)
        for reason in work.checks:
            self._say("check", use.node, reason)
        for binding in use.bindings:
            modules = self._modules.setdefault(binding.statement, {})
            if "zrun" in work.needs:
                modules[ZRUN[0]] = self._zrun
            if "tensorflow" in work.needs and self._tensorflow is not None:
                modules[TENSORFLOW[0]] = self._tensorflow

    def _rule(self, work: Work) -> Callable[[Work], None]:
        if work.what in NOT_THERE:
            raise UndecidedError(NOT_THERE[work.what])
        if work.what != "run":
            return _OTHERS[work.what]
        if not work.rest:
            return manager
        name = work.rest[0]
        if name == "chunking":
            return partial(chunking, uses=self._by_node)
        known = MODE_RULES.get(name) or RUN_RULES.get(name)
        if known is not None:
            return known
        if name == "chunksize":
            return chunksize
        if name in SAME or (name in _OF_ZRUN and work.use.path.startswith("zrun_compat")):
            return renamed(name)
        raise UndecidedError(GONE.get(name) or f"zrun.run has no {name}")

    def _say_what_is_imported_for_others(self) -> None:
        for binding in self._uses.bindings:
            if old_name(binding.path) is None and binding.path != "zrun_compat":
                continue
            kept = reason_to_keep(self._tree, binding, is_package=self._is_package)
            if kept is None and not binding.uses:
                kept = "it is not used here, but others may import it from here; remove it if nobody does"
            if kept is not None:
                self._say("left", binding.alias, f"the import of {binding.name} stays: {kept}")

    def _say_where_zfit_is_left(self) -> None:
        rewritten = any(use.decided and of_package(use.path, "zfit") for use in self._uses.uses)
        left = [use.node for use in self._uses.uses if old_name(use.path) is None and of_package(use.path, "zfit")]
        if rewritten and left:
            self._say("check", min(left, key=lambda node: self._tree.span(node).start), _STILL_ZFIT)

    def _say(self, kind: Any, node: cst.CSTNode, reason: str) -> None:
        start = self._tree.span(node).start
        self._places.append(Place(start.line, start.column + 1, kind, reason))


def _check(old: str, new: str) -> None:
    """The new source has to be Python wherever the old one was."""
    if old == new:
        return
    parse(new)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ast.parse(old)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return
        try:
            ast.parse(new)
        except SyntaxError as error:
            raise UnreadableSourceError(
                f"what it would be rewritten to is not valid ({error.msg}), which is a fault of zrun-migrate",
                error.lineno,
                error.offset,
            ) from error
