"""zrun-core: policy, structure of arguments, graph caches and CPUs, without TensorFlow.

Example:
    >>> from zrun_core import run
    >>> with run.using(graph=False):
    ...     run.builds_graph("loss")
    False
"""

from __future__ import annotations

from . import errors as errors

# from . import testing as testing
from ._backend import Backend as Backend
from ._backend import Build as Build
from ._backend import Executable as Executable
from ._backend import PythonBackend as PythonBackend
from ._cache import CacheOwner as CacheOwner
from ._cache import Freed as Freed
from ._cache import GraphCache as GraphCache
from ._cache import clear_all_caches as clear_all_caches
from ._containers import Static as Static
from ._cpus import CpuCount as CpuCount
from ._cpus import count_cpus as count_cpus
from ._environment import apply_log_setting
from ._events import Event as Event
from ._events import listen as listen
from ._function import Function as Function
from ._invalidates import invalidates as invalidates
from ._leases import CpuPool as CpuPool
from ._manager import RunManager as RunManager
from ._policy import DEFAULT_MODE as DEFAULT_MODE
from ._policy import Policy as Policy
from ._scope import bind as bind
from ._scope import current as current_policy
from ._struct import register as register
from ._struct import static as static
from ._struct import struct as struct
from ._structure import Flat as Flat
from ._structure import KeyRow as KeyRow
from ._structure import flatten as flatten
from ._tracked import tracked as tracked
from ._version import __version__ as __version__

__all__ = [
    "DEFAULT_MODE",
    "Backend",
    "Build",
    "CacheOwner",
    "CpuCount",
    "CpuPool",
    "Event",
    "Executable",
    "Flat",
    "Freed",
    "Function",
    "GraphCache",
    "KeyRow",
    "Policy",
    "PythonBackend",
    "RunManager",
    "Static",
    "__version__",
    "bind",
    "clear_all_caches",
    "count_cpus",
    "current_policy",
    "errors",
    "flatten",
    "invalidates",
    "listen",
    "register",
    "run",
    "static",
    "struct",
    "testing",
    "tracked",
]

run = RunManager()
"""The run manager of the process where no backend is installed: it runs every function as plain Python."""

apply_log_setting()
