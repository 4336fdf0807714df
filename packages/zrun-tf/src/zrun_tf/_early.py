"""What has to happen before NumPy is imported: its BLAS library starts its threads then, and never ends them."""

from __future__ import annotations

import os

from zrun_core._cpus import count_cpus
from zrun_core._environment import cpu_limit

# What the libraries that NumPy may have been built with read when they are loaded.
BLAS_VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def import_numpy() -> None:
    """Import NumPy with no more BLAS threads than a cgroup quota or `ZRUN_CPUS` allows.

    These libraries count the CPUs that the process may run on, and know neither. What the user has set for one of them,
    or for all with `OMP_NUM_THREADS`, holds.

    Raises:
        EnvironmentVariableError: `ZRUN_CPUS` holds neither a positive number nor `auto`.

    Scope: process. The variables that are set here are taken back once NumPy is there.
    """
    count = count_cpus(cpu_limit())
    given = "OMP_NUM_THREADS" in os.environ or count.limited_by not in ("quota", "override")
    added = [] if given else [name for name in BLAS_VARIABLES if name not in os.environ]
    os.environ.update(dict.fromkeys(added, str(count.count)))
    try:
        import numpy as np  # noqa: F401 - for what happens when it is loaded
    finally:
        for name in added:
            os.environ.pop(name, None)
