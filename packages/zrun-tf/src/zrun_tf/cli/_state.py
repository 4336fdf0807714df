"""The policy and where each part comes from, the CPUs, the threads, the versions: what `info` and `run` both tell."""

from __future__ import annotations

import platform
import sys
from typing import Any, NamedTuple

from zrun_core import __version__
from zrun_core._environment import policy_from_environment
from zrun_core._policy import Policy
from zrun_core._scope import default

_VARIABLES = {"graph": "ZRUN_GRAPH", "autograd": "ZRUN_AUTOGRAD", "chunksize": "ZRUN_CHUNKSIZE"}
_PACKAGES = ("tensorflow", "numpy", "keras", "scipy", "iminuit")


class PolicyPart(NamedTuple):
    """One part of the policy.

    Attributes:
        name: of the part.
        value: as Python writes it.
        origin: `"default"`, the environment variable that sets it, or `"code"`.
    """

    name: str
    value: str
    origin: str


def policy_parts() -> list[PolicyPart]:
    """Each part of the process default and where it comes from.

    Raises:
        EnvironmentVariableError: a variable holds a value it cannot take.

    Scope: process (reads only).
    """
    now, plain, given = default(), Policy(), policy_from_environment()
    parts = []
    for name in Policy.__dataclass_fields__:
        value = getattr(now, name)
        if value == getattr(given, name) != getattr(plain, name):
            origin = _VARIABLES.get(name, "environment")
        else:
            origin = "default" if value == getattr(plain, name) else "code"
        parts.append(PolicyPart(name, repr(value), origin))
    return parts


def loaded_versions() -> dict[str, str]:
    """The versions of Python, zrun and those packages that have been imported."""
    loaded = {name: getattr(sys.modules[name], "__version__", "") for name in _PACKAGES if name in sys.modules}
    return {"zrun": __version__, "python": platform.python_version(), **{k: v for k, v in loaded.items() if v}}


def threads_now() -> dict[str, Any] | None:
    """The thread report of this process as plain data; None where TensorFlow was not used through zrun."""
    threads = sys.modules.get("zrun_tf._threads")
    if threads is None:
        return None
    report = threads.thread_report()
    return {
        "intra": report.intra,
        "inter": report.inter,
        "started": report.started,
        "started_at": report.started_at,
        "before": report.before,
        "now": report.now,
        "blas": None if report.blas is None else [pool._asdict() for pool in report.blas],
        "text": str(report),
    }


def state() -> dict[str, Any]:
    """What is in force at this moment, as plain data. Scope: process (reads only, and imports nothing of weight)."""
    return {"policy": [list(part) for part in policy_parts()], "threads": threads_now(), "versions": loaded_versions()}
