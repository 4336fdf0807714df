"""The old names: where they live, which of them nothing else is called, and what they are called in zrun."""

from __future__ import annotations

import re
from typing import Final

_HOMES: Final = {
    "zfit.run": "run",
    "zfit.settings.run": "run",
    "zrun_compat.run": "run",
    "zfit.util.execution.RunManager": "RunManager",
    "zrun_compat.RunManager": "RunManager",
    "zrun_compat.execution.RunManager": "RunManager",
    "zfit.util.execution.eval_object": "eval_object",
    "zrun_compat.execution.eval_object": "eval_object",
    "zfit.z.function": "function",
    "zfit.z.zextension.function": "function",
    "zfit.z.py_function": "py_function",
    "zfit.z.zextension.py_function": "py_function",
    "zfit.z.numpy_function": "py_function",
    "zrun_compat.ZrunDeprecationWarning": "warning",
    "zrun_compat.RemovedNameError": "warning",
}

OLD_PACKAGES: Final = ("zfit", "zrun_compat")

MODULES_WITH_OLD_NAMES: Final = frozenset(home.rpartition(".")[0] for home in _HOMES)

UNMISTAKABLE: Final = frozenset(
    {
        "aquire_cpu",
        "experimental_clear_caches",
        "experimental_disable_param_update",
        "experimental_enable_eager",
        "experimental_is_eager",
        "get_autograd_mode",
        "get_graph_mode",
        "set_autograd_mode",
        "set_data_hashing",
        "set_graph_mode",
    }
)
"""Names that only old run managers have, so that they are found wherever the object comes from."""

SAME: Final = frozenset(
    {
        "DEFAULT_MODE",
        "assert_executing_eagerly",
        "current_policy_autograd",
        "current_policy_graph",
        "mode",
        "n_cpu",
        "set_cpus_explicit",
        "set_n_cpu",
    }
)
"""Old names that zrun has too, with the same meaning."""

KINDS: Final = frozenset({"loss", "model", "sample", "tensor"})

_MENTION: Final = re.compile(
    rf"\bzfit\.run\b|\bzrun_compat\b|\bz\.function\b|\b(?:{'|'.join(sorted(UNMISTAKABLE))})\b", flags=re.ASCII
)
_ALWAYS: Final = re.compile("|".join(["zrun_compat", *sorted(UNMISTAKABLE)]).encode())
_WITH_ZFIT: Final = re.compile(rb"\b(?:run|function|py_function|numpy_function|eval_object|RunManager)\b")


def old_name(path: str) -> tuple[str, tuple[str, ...]] | None:
    """Take the name of an old thing off the front of a dotted path.

    Args:
        path: the dotted path, with the names of modules written out.

    Returns:
        What the front is, and the attributes after it; None where no old name stands there.

    Example:
        >>> old_name("zfit.run.chunking.active")
        ('run', ('chunking', 'active'))
        >>> old_name("zfit.z.sqrt")
    """
    parts = path.split(".")
    for length in range(len(parts), 1, -1):
        found = _HOMES.get(".".join(parts[:length]))
        if found is not None:
            return found, tuple(parts[length:])
    return None


def of_package(path: str, package: str) -> bool:
    """Whether a dotted path is that of a package, or of something in it."""
    return path == package or path.startswith(f"{package}.")


def worth_reading(data: bytes) -> bool:
    """Whether a file holds the words that a matter for the codemod takes; most files need not be parsed."""
    return _ALWAYS.search(data) is not None or (b"zfit" in data and _WITH_ZFIT.search(data) is not None)


def mentions(text: str) -> int:
    """How often a comment or string mentions an old name."""
    return len(_MENTION.findall(text))
