"""zrun-compat: the names of zfit's run manager, working on zrun, each with a warning that says what to write instead.

Example:
    >>> from zrun_compat import run
    >>> change = run.set_mode(graph=False)
    >>> run.current_policy_graph()
    False
    >>> change = run.set_mode_default()

Old and new names may be mixed: `zrun_compat.run` and `zrun_tf.run` are two faces of one run manager. Importing this
package imports nothing else; the first use of one of its names does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import _switch as _switch

if TYPE_CHECKING:
    from zrun_core._version import __version__ as __version__

    from . import execution as execution
    from . import migrate as migrate
    from . import zfit as zfit
    from ._deprecate import RemovedNameError as RemovedNameError
    from ._deprecate import ZrunDeprecationWarning as ZrunDeprecationWarning
    from ._run import RunManager as RunManager
    from ._run import run as run

_HOME = {
    "RemovedNameError": "zrun_compat._deprecate",
    "RunManager": "zrun_compat._run",
    "ZrunDeprecationWarning": "zrun_compat._deprecate",
    "__version__": "zrun_core._version",
    "execution": "zrun_compat.execution",
    "migrate": "zrun_compat.migrate",
    "run": "zrun_compat._run",
    "zfit": "zrun_compat.zfit",
}

__all__ = [
    "RemovedNameError",
    "RunManager",
    "ZrunDeprecationWarning",
    "__version__",
    "execution",
    "migrate",
    "run",
    "zfit",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(home)
    value = globals()[name] = module if home == f"{__name__}.{name}" else getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
