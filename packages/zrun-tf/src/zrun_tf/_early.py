"""What has to happen before NumPy is imported: its BLAS library starts its threads then, and never ends them."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from zrun_core._cpus import count_cpus
from zrun_core._environment import cpu_limit

if TYPE_CHECKING:
    from collections.abc import Iterator

# What the libraries that NumPy and SciPy may have been built with read when they are loaded.
BLAS_VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


@contextmanager
def few_blas_threads() -> Iterator[None]:
    """What is imported meanwhile starts no more BLAS threads than a cgroup quota or `ZRUN_CPUS` allows.

    These libraries count the CPUs that the process may run on, and know neither. There may be two of them: NumPy brings
    one, and SciPy, which older versions of TensorFlow import, another. What the user has set for one of them, or for
    all with `OMP_NUM_THREADS`, holds.

    Raises:
        EnvironmentVariableError: `ZRUN_CPUS` holds neither a positive number nor `auto`.

    Scope: process. The variables that are set here are taken back at the end.
    """
    count = count_cpus(cpu_limit())
    given = "OMP_NUM_THREADS" in os.environ or count.limited_by not in ("quota", "override")
    added = [] if given else [name for name in BLAS_VARIABLES if name not in os.environ]
    os.environ.update(dict.fromkeys(added, str(count.count)))
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
