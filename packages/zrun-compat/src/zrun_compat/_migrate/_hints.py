"""What looks like an old name although nothing imported leads there, so that it is said rather than passed over."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import libcst as cst

from ._names import MODULES_WITH_OLD_NAMES, UNMISTAKABLE, mentions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._tree import Tree
    from ._uses import Use

_BY_NAME: Final = frozenset(
    {"__import__", "delattr", "getattr", "hasattr", "import_module", "importorskip", "object", "patch", "setattr"}
)
_BY_TEXT: Final = frozenset({"compile", "eval", "exec"})
_MODULE_OR_OLD_NAME: Final = re.compile(rf"(?:zfit|zrun_compat)(?:\.\w+)*|{'|'.join(sorted(UNMISTAKABLE))}")


class Hints:
    """Collects what cannot be followed.

    Args:
        tree: the source.
        uses: what was followed.

    Attributes:
        found: the nodes, each with the reason.
        mentions: how often comments and strings mention old names.
    """

    def __init__(self, tree: Tree, uses: Iterable[Use]) -> None:
        self._tree = tree
        self._followed = {node for use in uses for node in use.chain}
        self.found: list[tuple[cst.CSTNode, str]] = []
        for attribute in tree.nodes(cst.Attribute):
            self._attribute(attribute)
        for name in tree.nodes(cst.Name):
            self._name(name)
        for statement in tree.nodes(cst.ImportFrom):
            self._import(statement)
        self.mentions = sum(mentions(comment.value) for comment in tree.nodes(cst.Comment))
        self.mentions += sum(mentions(text.value) for text in tree.nodes(cst.FormattedStringText))
        self.mentions += sum(self._string(string) for string in tree.nodes(cst.SimpleString))

    def _attribute(self, node: cst.Attribute) -> None:
        """An old name of an object that comes from somewhere else."""
        if node.attr.value in UNMISTAKABLE and node not in self._followed:
            self.found.append(
                (node, f"{node.attr.value} is an old name, but where what it is taken from comes from is not seen")
            )

    def _name(self, node: cst.Name) -> None:
        """An old name on its own, as a star import or an assignment may have left it."""
        if node.value not in UNMISTAKABLE or node in self._followed:
            return
        # The name of an attribute, of a function, of a parameter or argument, or of an import.
        parent = self._tree.parent(node)
        if isinstance(parent, (cst.Attribute, cst.FunctionDef, cst.Param, cst.ImportAlias)):
            return
        if not (isinstance(parent, cst.Arg) and parent.keyword is node):
            self.found.append((node, f"{node.value} is an old name, but where it comes from is not seen"))

    def _import(self, node: cst.ImportFrom) -> None:
        """A star import, whose names are not seen."""
        if not isinstance(node.names, cst.ImportStar) or node.module is None or node.relative:
            return
        module = cst.Module([]).code_for_node(node.module)
        if module in MODULES_WITH_OLD_NAMES:
            self.found.append((node, f"what is imported from {module} with a star is not seen: name what is used"))

    def _string(self, node: cst.SimpleString) -> int:
        """A string: it is the name by which something is looked up, it is code, or it mentions old names."""
        argument = self._tree.parent(node)
        call = self._tree.parent(argument) if isinstance(argument, cst.Arg) else None
        count = mentions(node.value)
        if not isinstance(call, cst.Call):
            return count
        func = call.func
        name = func.attr.value if isinstance(func, cst.Attribute) else getattr(func, "value", None)
        value = node.evaluated_value
        if name in _BY_NAME and isinstance(value, str) and _MODULE_OR_OLD_NAME.fullmatch(value):
            self.found.append((node, f"{value} is looked up by its name; what is done with it is not followed"))
            return 0
        if name in _BY_TEXT and count:
            self.found.append((node, "code in a string is not followed"))
            return 0
        return count
