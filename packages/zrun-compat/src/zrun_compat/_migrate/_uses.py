"""Finds what a source imports from the old packages, and every place that uses it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import libcst as cst
from libcst.metadata import ImportAssignment

from ._names import OLD_PACKAGES, of_package

if TYPE_CHECKING:
    from collections.abc import Iterator

    from libcst.metadata import Access

    from ._tree import Tree


_IN_STRING: Final = "it is named in an annotation that is a string, which is not rewritten"


@dataclass(eq=False)
class Binding:
    """A name that an import of an old package binds.

    Attributes:
        statement: the import.
        alias: the part of it that binds the name.
        path: what it is bound to, as a dotted path.
        name: the name, dotted for `import zfit.z`.
        uses: every place that uses it.
    """

    statement: cst.Import | cst.ImportFrom
    alias: cst.ImportAlias
    path: str
    name: str
    uses: list[Use] = field(default_factory=list)


@dataclass(eq=False)
class Use:
    """A place that uses an old package.

    Attributes:
        bindings: the imports it may come from.
        chain: the name and what is taken from it with dots, from the name outwards.
        path: the dotted path that the whole chain stands for.
        decided: whether the rules rewrote it.
        stays: why nothing here can be followed; None where it can.
    """

    bindings: list[Binding]
    chain: list[cst.CSTNode]
    path: str
    decided: bool = False
    stays: str | None = None

    @property
    def node(self) -> cst.CSTNode:
        """The outermost node of the chain."""
        return self.chain[-1]

    def up_to(self, attributes: int) -> cst.CSTNode:
        """The node without the last attributes of the chain, as many as are given."""
        return self.chain[len(self.chain) - 1 - attributes]


class Uses:
    """What a source takes from the old packages.

    Args:
        tree: the source.

    Attributes:
        bindings: the names that its imports bind.
        uses: the places that use them, in the order of the source.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self.bindings = list(self._find_bindings())
        self.uses = sorted(self._find_uses(), key=lambda use: tree.span(use.node).start)
        for use in self.uses:
            for binding in use.bindings:
                binding.uses.append(use)

    def _find_bindings(self) -> Iterator[Binding]:
        self._of_assignment: dict[object, list[Binding]] = {}
        for scope in self._tree.scopes():
            for assignment in scope.assignments:
                if not isinstance(assignment, ImportAssignment):
                    continue
                for alias, path in _aliases(assignment):
                    if any(of_package(path, package) for package in OLD_PACKAGES):
                        binding = Binding(assignment.node, alias, path, assignment.name)  # type: ignore[arg-type]
                        self._of_assignment.setdefault(assignment, []).append(binding)
                        yield binding

    def _find_uses(self) -> Iterator[Use]:
        seen = set()
        for assignment in self._of_assignment:
            for access in assignment.references:  # type: ignore[attr-defined]
                # An access above the import may be of something else.
                if access.node not in seen and any(found in self._of_assignment for found in access.referents):
                    seen.add(access.node)
                    yield self._use(access)

    def _use(self, access: Access) -> Use:
        known = {referent: self._of_assignment.get(referent, []) for referent in access.referents}
        bindings = [binding for found in known.values() for binding in found]
        # The statement that comes first is the one that the new import goes to.
        bindings.sort(key=lambda binding: self._tree.span(binding.statement).start)
        path = bindings[0].path
        if isinstance(access.node, cst.BaseString):
            return Use(bindings, [access.node], path, stays=_IN_STRING)
        # An access of `zfit.z` names the module that `import zfit.z` binds.
        chain = list(_dots_within(access.node, self._tree))
        stays = None
        if any(not found for found in known.values()):
            stays = f"{bindings[0].name} is bound in several ways, so it cannot be seen what it is here"
        elif len({binding.path for binding in bindings}) > 1:
            stays = f"{bindings[0].name} is imported in several ways, so it cannot be seen where it comes from here"
        attributes = [node.attr.value for node in chain if isinstance(node, cst.Attribute) and node is not access.node]
        return Use(bindings, chain, ".".join([path, *attributes]), stays=stays)


def _dots_within(node: cst.CSTNode, tree: Tree) -> Iterator[cst.CSTNode]:
    yield node
    parent = tree.parent(node)
    while isinstance(parent, cst.Attribute) and parent.value is node:
        yield parent
        node, parent = parent, tree.parent(parent)


def _aliases(assignment: ImportAssignment) -> Iterator[tuple[cst.ImportAlias, str]]:
    """The parts of an import that may have made an assignment, and what it is then bound to."""
    statement = assignment.node
    if not isinstance(statement, (cst.Import, cst.ImportFrom)) or isinstance(statement.names, cst.ImportStar):
        return
    module = assignment.get_module_name_for_import()
    for alias in statement.names:
        name = alias.evaluated_name
        if module:
            name = f"{module}{name}" if module.endswith(".") else f"{module}.{name}"
        if alias.asname is not None or module:
            bound = alias.evaluated_alias or alias.evaluated_name
            if bound == assignment.name:
                yield alias, name
        elif of_package(name, assignment.name):
            yield alias, assignment.name
