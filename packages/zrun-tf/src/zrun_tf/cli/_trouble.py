"""Known trouble: what is wrong with an environment, in sentences that say what to do."""

from __future__ import annotations

import os
from importlib import metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zrun_core._cpus import CpuCount

PACKAGES = ("tensorflow", "numpy", "keras", "scipy", "iminuit", "threadpoolctl", "matplotlib")
_THREADS = (
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)


def installed_versions() -> dict[str, str]:
    """The versions of what is installed, without importing it."""
    found = {name: _installed(name) for name in PACKAGES}
    return {name: version for name, version in found.items() if version}


def _installed(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def trouble_with_versions() -> list[str]:
    """Whether what zrun-tf and TensorFlow require of each other and of NumPy is what is installed."""
    from packaging.requirements import InvalidRequirement, Requirement

    said = []
    for owner in ("zrun-tf", "tensorflow"):
        try:
            lines = metadata.requires(owner) or []
        except metadata.PackageNotFoundError:
            if owner == "tensorflow":
                said.append("TensorFlow is not installed. Install it with: python -m pip install tensorflow")
            continue
        for line in lines:
            try:
                wanted = Requirement(line)
            except InvalidRequirement:
                continue
            if wanted.name not in ("numpy", "tensorflow", "keras") or (wanted.marker and not wanted.marker.evaluate()):
                continue
            installed = _installed(wanted.name)
            if installed and not wanted.specifier.contains(installed, prereleases=True):
                said.append(
                    f"{owner} {_installed(owner)} needs {wanted.name}{wanted.specifier}, and {installed} is "
                    f"installed. Install them together: python -m pip install {owner} '{wanted.name}{wanted.specifier}'"
                )
    return said


def trouble_with_cpus(count: CpuCount) -> list[str]:
    """What the variables of libraries with threads say against the count of CPUs.

    Args:
        count: the CPUs and their reasons.
    """
    said = []
    for name in _THREADS:
        text = os.environ.get(name, "").strip()
        if not text:
            continue
        # OMP_NUM_THREADS may list a number per level.
        first = text.partition(",")[0].strip()
        if not (first.isascii() and first.isdecimal() and int(first) > 0):
            said.append(
                f"{name}={text!r} is not a number of threads; what reads it ignores it. Correct it or unset it."
            )
        elif int(first) > count.count:
            said.append(
                f"{name}={first} asks for more threads than the {count.count} CPUs that there are (limited by "
                f"{count.limited_by}): they take turns, which costs time. Set it to {count.count} or unset it."
            )
    if count.limited_by == "quota" and not {"OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"} & set(os.environ):
        said.append(
            f"NumPy's BLAS does not see the quota of {count.quota:.3g} CPUs: it starts a thread for each of the "
            f"{count.affinity or count.machine} CPUs, unless zrun_tf is imported before NumPy. Start programs with "
            f"'zrun run', or set OPENBLAS_NUM_THREADS={count.count}."
        )
    return said


def trouble_with_tensorflow(threads: dict[str, Any], count: CpuCount, *, loaded: bool) -> list[str]:
    """What is wrong with the thread pools.

    Args:
        threads: the thread report as plain data.
        count: the CPUs and their reasons.
        loaded: whether TensorFlow had been imported before it was asked for.
    """
    said = []
    if threads["started"]:
        said.append(
            f"TensorFlow has started already ({threads['started_at']}), and its threads can no longer be set. "
            f"Something that Python runs at start-up uses it: look for .pth files and sitecustomize."
        )
    elif loaded:
        said.append(
            "TensorFlow is imported by something that Python runs at start-up. Nothing is lost yet, but with one "
            "operation there its threads could no longer be set: look for .pth files and sitecustomize."
        )
    for name in ("intra", "inter"):
        if threads[name] > count.count:
            where = "within operations" if name == "intra" else "between operations"
            said.append(
                f"TensorFlow will run {threads[name]} threads {where} on {count.count} CPUs (limited by "
                f"{count.limited_by}). Start programs with 'zrun run --cpus {count.count}'."
            )
    said.extend(
        f"NumPy's BLAS ({pool['library']}) uses {pool['threads']} threads on {count.count} CPUs (limited by "
        f"{count.limited_by}). Start programs with 'zrun run --cpus {count.count}'."
        for pool in threads["blas"] or ()
        if pool["threads"] > count.count
    )
    return said
