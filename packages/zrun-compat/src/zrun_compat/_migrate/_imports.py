"""Imports: the new ones where the old ones stood, and the old ones gone where nothing needs them any more."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import libcst as cst
from libcst.metadata import GlobalScope, ImportAssignment

from ._tree import Point

if TYPE_CHECKING:
    from ._edits import Edits
    from ._tree import Tree
    from ._uses import Binding, Uses

Import = cst.Import | cst.ImportFrom

ZRUN: Final = ("zrun_tf", "zrun")
TENSORFLOW: Final = ("tensorflow", "tf")


def name_for(tree: Tree, module: str, usual: str) -> str | None:
    """The name that a module has, or can have, everywhere in a source.

    Args:
        tree: the source.
        module: the module.
        usual: what it is usually called.

    Returns:
        The name that a top-level import gives it; else the usual name, or the module's own, if nothing else has it;
        else None.
    """
    for name, statement in _imported(tree, module):
        if _is_top_level(tree, statement) and not _is_taken(tree, name, module):
            return name
    return next((name for name in (usual, module) if not _is_taken(tree, name, module)), None)


def _imported(tree: Tree, module: str) -> list[tuple[str, cst.CSTNode]]:
    """The names that the module itself is imported as, with the imports."""
    found = [
        (assignment.name, assignment.node)
        for scope in tree.scopes()
        for assignment in scope.assignments
        if isinstance(assignment, ImportAssignment)
        and module in {name.name for name in assignment.get_qualified_names_for(assignment.name)}
    ]
    return sorted(found, key=lambda one: tree.span(one[1]).start)


def _is_taken(tree: Tree, name: str, module: str) -> bool:
    for scope in tree.scopes():
        for assignment in scope.assignments:
            if assignment.name == name:
                ours = isinstance(assignment, ImportAssignment) and {
                    found.name for found in assignment.get_qualified_names_for(name)
                } == {module}
                if not ours:
                    return True
        if any(not access.referents for access in scope.accesses[name]):
            return True
    return False


def _is_top_level(tree: Tree, statement: cst.CSTNode) -> bool:
    line = tree.parent(statement)
    return line is not None and isinstance(tree.parent(line), cst.Module)


class Imports:
    """Rewrites the imports of a source once it is known which uses were rewritten.

    Args:
        tree: the source.
        uses: what it takes from the old packages.
        edits: where the changes go.
        is_package: whether it is the `__init__.py` of a package, whose imports are there for others.
        readable: whether all of the source was read; a notebook may have cells that were not.
    """

    def __init__(self, tree: Tree, uses: Uses, edits: Edits, *, is_package: bool, readable: bool) -> None:
        self._tree, self._uses, self._edits = tree, uses, edits
        self._is_package, self._readable = is_package, readable
        self._there: list[tuple[str, cst.CSTNode]] = []

    def rewrite(self, modules: dict[Import, dict[str, str]]) -> None:
        """Make the changes.

        Args:
            modules: what each import of old names has to be joined or replaced by: modules, with their names.
        """
        for given in modules.values():
            for module, name in given.items():
                self._there += [
                    (name, statement) for found, statement in _imported(self._tree, module) if found == name
                ]
        for statement in sorted(modules, key=lambda one: self._tree.span(one).start):
            self._rewrite(statement, modules[statement])

    def _rewrite(self, statement: Import, modules: dict[str, str]) -> None:
        new = []
        for module, name in modules.items():
            if not self._is_available(name, statement):
                new.append(f"import {module}" if name == module else f"import {module} as {name}")
                self._there.append((name, statement))
        assert not isinstance(statement.names, cst.ImportStar)
        aliases = list(statement.names)
        dropped = {index for index, alias in enumerate(aliases) if self._can_go(alias)}
        if len(dropped) < len(aliases):
            if dropped:
                self._edits.drop_items([self._tree.span(alias) for alias in aliases], dropped)
            self._add_after(statement, new)
        elif new:
            self._edits.replace(self._tree.span(statement), self._joined(statement, new))
        else:
            self._edits.drop_statement(statement)

    def _is_available(self, name: str, statement: Import) -> bool:
        """Whether an import that is there, or will be, gives the name wherever this statement gave one."""
        line = self._tree.parent(statement)
        block = None if line is None else self._tree.parent(line)
        start = self._tree.span(statement).start
        uses = [use.node for binding in self._uses.bindings if binding.statement is statement for use in binding.uses]
        first_use = min((self._tree.span(node).start for node in uses), default=start)
        for given, other in self._there:
            if given != name or other is statement:
                continue
            there = self._tree.span(other).start
            other_line = self._tree.parent(other)
            same_block = other_line is not None and self._tree.parent(other_line) is block
            if _is_top_level(self._tree, other):
                # A function is called when the module has been run to its end.
                in_function = not isinstance(self._tree.scope(statement), GlobalScope)
                if in_function or there < max(start, first_use):
                    return True
            elif same_block and there < start:
                return True
        return False

    def _can_go(self, alias: cst.ImportAlias) -> bool:
        bindings = [binding for binding in self._uses.bindings if binding.alias is alias]
        # `import zfit.z.math` binds `zfit`, `zfit.z` and `zfit.z.math`.
        used = {use for binding in bindings for use in binding.uses}
        return (
            bool(used)
            and all(use.decided for use in used)
            and self._readable
            and not any(reason_to_keep(self._tree, binding, is_package=self._is_package) for binding in bindings)
        )

    def _add_after(self, statement: Import, new: list[str]) -> None:
        if not new:
            return
        end = self._tree.span(statement).end
        line = self._tree.lines[end.line - 1]
        rest = line[end.column :].strip()
        if self._has_lines(statement) and (not rest or rest.startswith("#")):
            # Behind a comment, if there is one.
            end = Point(end.line, len(line.rstrip("\r\n")))
        self._edits.insert(end, self._separator(statement) + self._joined(statement, new))

    def _joined(self, statement: Import, new: list[str]) -> str:
        return self._separator(statement).join(new)

    def _separator(self, statement: Import) -> str:
        start = self._tree.span(statement).start
        indent = self._tree.lines[start.line - 1][: start.column]
        return f"{self._tree.newline}{indent}" if self._has_lines(statement) else "; "

    def _has_lines(self, statement: Import) -> bool:
        """Whether the statement shares its lines with no other."""
        line = self._tree.parent(statement)
        return isinstance(line, cst.SimpleStatementLine) and len(line.body) == 1


def reason_to_keep(tree: Tree, binding: Binding, *, is_package: bool) -> str | None:
    """Why a name may be needed outside of what was rewritten; None where it is not.

    Args:
        tree: the source.
        binding: the name.
        is_package: whether the source is the `__init__.py` of a package.
    """
    alias = binding.alias
    if is_package and isinstance(binding.statement, cst.ImportFrom):
        return "others may import it from this package"
    if alias.asname is not None and alias.evaluated_alias == alias.evaluated_name:
        return "it is imported for others (`as` its own name)"
    name = binding.name.partition(".")[0]
    if _is_exported(tree, name):
        return "it is listed in __all__"
    if any(not access.referents for scope in tree.scopes() for access in scope.accesses[name]):
        return "it is used where the import may not have been run"
    if _in_type_comment(tree, name):
        return "a type comment names it"
    return None


def _is_exported(tree: Tree, name: str) -> bool:
    if not any("__all__" in line for line in tree.lines):
        return False
    return any(re.search(rf"""(["']){re.escape(name)}\1""", line) for line in tree.lines)


def _in_type_comment(tree: Tree, name: str) -> bool:
    return any(re.search(rf"#\s*type:.*\b{re.escape(name)}\b", line) for line in tree.lines)
