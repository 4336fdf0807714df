"""What `zrun info` finds out about this machine, this environment and what would go wrong in it."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass, field
from typing import Any

from zrun_core import __version__
from zrun_core._cpus import CpuCount, count_cpus
from zrun_core._environment import cpus_from_environment
from zrun_core._memory import available_memory
from zrun_core.errors import EnvironmentVariableError

from ._state import PolicyPart, policy_parts
from ._trouble import installed_versions, trouble_with_cpus, trouble_with_tensorflow, trouble_with_versions


@dataclass
class Info:
    """What was found.

    Attributes:
        versions: of packages by name; those that are not installed are missing.
        build: what TensorFlow was built for, by name; empty where it cannot be imported.
        devices: names of TensorFlow's devices by type.
        cpus: the CPU count with its reasons; None where `ZRUN_CPUS` is invalid.
        memory: free bytes; None where the platform does not tell.
        threads: the thread report as plain data; None where TensorFlow cannot be imported.
        policy: each part and where it comes from; empty where a variable is invalid.
        dispatch: `"direct"` or `"public"`: how a graph is called; None where TensorFlow cannot be imported.
        symbols: private TensorFlow symbols that the direct way needs, and whether each was found.
        trouble: what is wrong, or will go wrong, with what to do about it.
    """

    versions: dict[str, str] = field(default_factory=dict)
    build: dict[str, Any] = field(default_factory=dict)
    devices: dict[str, list[str]] = field(default_factory=dict)
    cpus: CpuCount | None = None
    memory: int | None = None
    threads: dict[str, Any] | None = None
    policy: list[PolicyPart] = field(default_factory=list)
    dispatch: str | None = None
    symbols: dict[str, bool] = field(default_factory=dict)
    trouble: list[str] = field(default_factory=list)


def gather() -> Info:
    """Find out everything. What cannot be found out is trouble, not an error.

    Scope: process. Imports TensorFlow; starts none of its threads.
    """
    found = Info(versions={"zrun": __version__, "python": platform.python_version(), **installed_versions()})
    found.trouble += trouble_with_versions()
    found.memory = available_memory().bytes
    try:
        found.cpus = count_cpus(cpus_from_environment())
        found.policy = policy_parts()
    except EnvironmentVariableError as error:
        found.trouble.append(str(error))
        # Importing zrun_tf would fail for the same reason.
        return found
    # Before TensorFlow is imported, since that may bring in what sets some of them.
    found.trouble += trouble_with_cpus(found.cpus)
    loaded = "tensorflow" in sys.modules
    try:
        _ask_tensorflow(found)
    except Exception as error:  # noqa: BLE001 - a broken installation can raise anything
        found.trouble.append(f"TensorFlow cannot be imported: {type(error).__name__}: {error}. Install it again.")
        return found
    found.trouble += trouble_with_tensorflow(found.threads or {}, found.cpus, loaded=loaded)
    return found


def _ask_tensorflow(found: Info) -> None:
    import zrun_tf

    zrun_tf.run.n_cpu  # noqa: B018 - brings TensorFlow in, as a program would

    import tensorflow as tf

    from zrun_tf import _dispatch

    from ._state import threads_now

    found.build = {name: _plain(value) for name, value in sorted(dict(tf.sysconfig.get_build_info()).items())}
    for device in tf.config.list_physical_devices():
        found.devices.setdefault(device.device_type, []).append(device.name)
    found.threads = threads_now()
    found.symbols = dict(_dispatch.probe())
    found.dispatch = _dispatch.in_use()


def _plain(value: Any) -> Any:
    return value if isinstance(value, (bool, int, float, str)) else str(value)
