"""zrun-core: policy, structure of arguments, graph caches and CPUs, without TensorFlow.

Example:
    >>> from zrun_core import run
    >>> with run.using(graph=False):
    ...     run.builds_graph("loss")
    False

Importing this package loads nothing; the first use of a name loads the module that has it.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import errors as errors
    from . import testing as testing
    from ._backend import Backend as Backend
    from ._backend import Build as Build
    from ._backend import Executable as Executable
    from ._backend import PythonBackend as PythonBackend
    from ._build_once import Reentrant as Reentrant
    from ._cache import CacheOwner as CacheOwner
    from ._cache import Freed as Freed
    from ._cache import GraphCache as GraphCache
    from ._cache import clear_all_caches as clear_all_caches
    from ._cache_info import CacheInfo as CacheInfo
    from ._cache_info import FunctionInfo as FunctionInfo
    from ._chunks import ChunkPlan as ChunkPlan
    from ._chunks import check_aligned as check_aligned
    from ._chunks import plan_chunks as plan_chunks
    from ._containers import Static as Static
    from ._cpus import CpuCount as CpuCount
    from ._cpus import count_cpus as count_cpus
    from ._events import Event as Event
    from ._events import configure_logging as configure_logging
    from ._events import listen as listen
    from ._explain import Difference as Difference
    from ._explain import Explanation as Explanation
    from ._function import Function as Function
    from ._invalidates import invalidates as invalidates
    from ._invalidates import touch as touch
    from ._leaf_types import register_leaf as register_leaf
    from ._leases import Acquisition as Acquisition
    from ._leases import CpuPool as CpuPool
    from ._leases import Lease as Lease
    from ._manager import RunManager as RunManager
    from ._memory import AvailableMemory as AvailableMemory
    from ._memory import available_memory as available_memory
    from ._policy import DEFAULT_MODE as DEFAULT_MODE
    from ._policy import Policy as Policy
    from ._report import CallReport as CallReport
    from ._run import run as run
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

_HOME = {
    "Acquisition": ("_leases", "Acquisition"),
    "AvailableMemory": ("_memory", "AvailableMemory"),
    "Backend": ("_backend", "Backend"),
    "Build": ("_backend", "Build"),
    "CacheInfo": ("_cache_info", "CacheInfo"),
    "CacheOwner": ("_cache", "CacheOwner"),
    "CallReport": ("_report", "CallReport"),
    "ChunkPlan": ("_chunks", "ChunkPlan"),
    "CpuCount": ("_cpus", "CpuCount"),
    "CpuPool": ("_leases", "CpuPool"),
    "DEFAULT_MODE": ("_policy", "DEFAULT_MODE"),
    "Difference": ("_explain", "Difference"),
    "Event": ("_events", "Event"),
    "Executable": ("_backend", "Executable"),
    "Explanation": ("_explain", "Explanation"),
    "Flat": ("_structure", "Flat"),
    "Freed": ("_cache", "Freed"),
    "Function": ("_function", "Function"),
    "FunctionInfo": ("_cache_info", "FunctionInfo"),
    "GraphCache": ("_cache", "GraphCache"),
    "KeyRow": ("_structure", "KeyRow"),
    "Lease": ("_leases", "Lease"),
    "Policy": ("_policy", "Policy"),
    "PythonBackend": ("_backend", "PythonBackend"),
    "Reentrant": ("_build_once", "Reentrant"),
    "RunManager": ("_manager", "RunManager"),
    "Static": ("_containers", "Static"),
    "__version__": ("_version", "__version__"),
    "available_memory": ("_memory", "available_memory"),
    "bind": ("_scope", "bind"),
    "check_aligned": ("_chunks", "check_aligned"),
    "clear_all_caches": ("_cache", "clear_all_caches"),
    "configure_logging": ("_events", "configure_logging"),
    "count_cpus": ("_cpus", "count_cpus"),
    "current_policy": ("_scope", "current"),
    "flatten": ("_structure", "flatten"),
    "invalidates": ("_invalidates", "invalidates"),
    "listen": ("_events", "listen"),
    "plan_chunks": ("_chunks", "plan_chunks"),
    "register": ("_struct", "register"),
    "register_leaf": ("_leaf_types", "register_leaf"),
    "run": ("_run", "run"),
    "static": ("_struct", "static"),
    "struct": ("_struct", "struct"),
    "touch": ("_invalidates", "touch"),
    "tracked": ("_tracked", "tracked"),
}

_MODULES = ("errors", "testing")

__all__ = [
    "DEFAULT_MODE",
    "Acquisition",
    "AvailableMemory",
    "Backend",
    "Build",
    "CacheInfo",
    "CacheOwner",
    "CallReport",
    "ChunkPlan",
    "CpuCount",
    "CpuPool",
    "Difference",
    "Event",
    "Executable",
    "Explanation",
    "Flat",
    "Freed",
    "Function",
    "FunctionInfo",
    "GraphCache",
    "KeyRow",
    "Lease",
    "Policy",
    "PythonBackend",
    "Reentrant",
    "RunManager",
    "Static",
    "__version__",
    "available_memory",
    "bind",
    "check_aligned",
    "clear_all_caches",
    "configure_logging",
    "count_cpus",
    "current_policy",
    "errors",
    "flatten",
    "invalidates",
    "listen",
    "plan_chunks",
    "register",
    "register_leaf",
    "run",
    "static",
    "struct",
    "testing",
    "touch",
    "tracked",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{home[0]}"), home[1])
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, *_MODULES})


if os.environ.get("ZRUN_LOG"):
    from ._environment import apply_log_setting

    apply_log_setting()
