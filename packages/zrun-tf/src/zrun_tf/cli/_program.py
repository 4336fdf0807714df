"""Finding a user's program and running it as Python itself would."""

from __future__ import annotations

import importlib.util
import io
import os
import pkgutil
import sys
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, SourceFileLoader, SourcelessFileLoader
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from zrun_core._compat import SAFE_PATH

if TYPE_CHECKING:
    from types import CodeType


T = TypeVar("T")


class ProgramError(Exception):
    """There is no such program; nothing was run."""


@dataclass(frozen=True)
class Program:
    """What is to be run.

    Attributes:
        name: the script, or the module.
        arguments: of the program.
        is_module: whether `name` is a module, as after `python -m`.
    """

    name: str
    arguments: tuple[str, ...]
    is_module: bool = False

    def __str__(self) -> str:
        return " ".join([*(["-m"] if self.is_module else []), self.name, *self.arguments])

    def check(self) -> None:
        """Raise if there is no such script. Modules are looked for when the program's own path is in place.

        Raises:
            ProgramError: there is none.
        """
        if self.is_module:
            return
        if not Path(self.name).exists():
            raise ProgramError(f"there is no file {self.name!r} here ({Path.cwd()}). Give the path of a script.")
        if Path(self.name).is_dir() and not (Path(self.name) / "__main__.py").exists():
            raise ProgramError(f"{self.name!r} is a folder without a __main__.py. Give a script, or a module with -m.")

    def enter(self) -> tuple[CodeType, ModuleType]:
        """Make this process the program's: `sys.argv`, `sys.path[0]` and `__main__`.

        Returns:
            The code, and the module `__main__` whose namespace it runs in.

        Raises:
            ProgramError: there is no such module, or it cannot be run.
            SyntaxError: the script is not Python.

        Scope: process.
        """
        sys.argv[:] = [self.name, *self.arguments]
        code, spec, file = self._module() if self.is_module else self._script()
        main = ModuleType("__main__")
        main.__file__ = file
        main.__spec__ = spec
        main.__loader__ = spec.loader if spec is not None else SourceFileLoader("__main__", file)
        main.__package__ = spec.parent if spec is not None else None
        vars(main).update(__builtins__=__import__("builtins"), __cached__=spec.cached if spec is not None else None)
        sys.modules["__main__"] = main
        return code, main

    def _script(self) -> tuple[CodeType, ModuleSpec | None, str]:
        importer = pkgutil.get_importer(self.name)
        if importer is not None:
            # A folder or a zip file with a __main__.py.
            folder = os.path.abspath(self.name)  # noqa: PTH100 - as Python does
            _set_first_path(folder, always=True)
            spec = _not_none(pkgutil.get_importer(folder), folder).find_spec("__main__", None)
            if spec is None:
                raise ProgramError(f"{self.name!r} has no __main__.py.")
            return _code_of(spec), spec, spec.origin or self.name
        _set_first_path(os.path.dirname(os.path.realpath(self.name)))  # noqa: PTH120 - as Python does
        path = os.path.join(os.getcwd(), self.name)  # noqa: PTH109, PTH118 - Python leaves in what pathlib takes out
        if path.endswith(".pyc"):
            return _not_none(SourcelessFileLoader("__main__", path).get_code("__main__"), path), None, path
        with io.open_code(path) as file:
            return compile(file.read(), path, "exec", dont_inherit=True), None, path

    def _module(self) -> tuple[CodeType, ModuleSpec, str]:
        _set_first_path(os.getcwd())  # noqa: PTH109 - as Python does
        # While a package is imported to find the module, this is what Python has there.
        sys.argv[0] = "-m"
        spec = _find(self.name)
        if spec.submodule_search_locations is not None:
            spec = _find(f"{self.name}.__main__")
        file = spec.origin or self.name
        code = _code_of(spec)
        sys.argv[0] = file
        return code, spec, file


def run(code: CodeType, main: ModuleType) -> None:
    """Run code in the namespace of `__main__`; whatever it raises passes through."""
    exec(code, vars(main))


def _find(name: str) -> ModuleSpec:
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            # It is there, and misses something itself.
            raise
        spec = None
    except ValueError:
        spec = None
    if spec is None:
        raise ProgramError(f"there is no module {name!r}. It is looked for from the current folder, as by python -m.")
    return spec


def _code_of(spec: ModuleSpec) -> CodeType:
    loader: Any = spec.loader
    if not hasattr(loader, "get_code"):
        raise ProgramError(f"{spec.name} cannot be run: it is not a module of Python code.")
    code: CodeType | None = loader.get_code(spec.name)
    return _not_none(code, spec.name)


def _not_none(code: T | None, name: str) -> T:
    if code is None:
        raise ProgramError(f"{name} cannot be run: it has no Python code.")
    return code


def _set_first_path(folder: str, *, always: bool = False) -> None:
    """Put the program's folder where that of the `zrun` command is, unless Python runs in safe-path mode."""
    if SAFE_PATH:
        if always:
            sys.path.insert(0, folder)
    else:
        sys.path[0] = folder
