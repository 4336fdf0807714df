"""The codemod: rewrites code for zfit's run manager to use zrun; on the command line it is `zrun-migrate`.

It needs the extra `migrate`. TensorFlow and zfit are not imported.

Example:
    >>> from zrun_compat.migrate import migrate_source
    >>> done = migrate_source('''
    ... from zfit import run, z
    ...
    ... @z.function(wraps="loss")
    ... def loss(x):
    ...     return x
    ...
    ... with run.set_graph_mode(False):
    ...     loss(1.0)
    ... change = run.set_autograd_mode(False)
    ... ''')
    >>> print(done.source)
    <BLANKLINE>
    from zfit import run
    import zrun_tf as zrun
    <BLANKLINE>
    @zrun.function(kind="loss")
    def loss(x):
        return x
    <BLANKLINE>
    with zrun.run.using(graph=False):
        loss(1.0)
    change = run.set_autograd_mode(False)
    >>> done.rewritten
    2
    >>> [(place.line, place.kind) for place in done.places]
    [(10, 'left')]
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ._migrate._places import Migration, Place, UnreadableSourceError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Migration", "Place", "UnreadableSourceError", "main", "migrate_source"]

_NEEDS_EXTRA = "zrun-migrate needs {name}. Install it with: python -m pip install 'zrun-compat[migrate]'"


def migrate_source(source: str, *, notebook: bool = False, is_package: bool = False) -> Migration:
    """Rewrite the source of a module or a notebook.

    Args:
        source: the text of a Python file, or of an `.ipynb` file.
        notebook: whether it is the latter.
        is_package: whether it is the `__init__.py` of a package, whose imports are there for others too.

    Returns:
        The new source, how many places were rewritten, and those that a person has to look at. Migrating the new
        source changes nothing.

    Raises:
        UnreadableSourceError: it cannot be read, or not be rewritten exactly.
        ImportError: the extra `migrate` is not installed.
    """
    try:
        from ._migrate._notebook import migrate_notebook
        from ._migrate._source import migrate_module
    except ModuleNotFoundError as error:
        raise ImportError(_NEEDS_EXTRA.format(name=error.name), name=error.name) from None
    return migrate_notebook(source) if notebook else migrate_module(source, is_package=is_package)


def main(args: Sequence[str] | None = None) -> None:
    """Run `zrun-migrate` and exit with its code.

    Args:
        args: the arguments; None: those of this process.

    Raises:
        SystemExit: always: 0 nothing is left to do, 1 something is, 2 wrong usage, a file that could not be dealt with
            or a missing extra.
    """
    try:
        from ._migrate._command import command
    except ModuleNotFoundError as error:
        sys.stderr.write(f"{_NEEDS_EXTRA.format(name=error.name)}\n")
        raise SystemExit(2) from None
    command.main(None if args is None else list(args), prog_name="zrun-migrate")


if __name__ == "__main__":
    main()
