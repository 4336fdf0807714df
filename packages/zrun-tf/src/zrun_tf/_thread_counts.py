"""The threads of this process, by pool, as the kernel lists them."""

from __future__ import annotations

import os
import threading
from collections import Counter
from pathlib import Path

from ._compat import nameless_between

_TASKS = Path("/proc/self/task")

PYTHON = "Python"
BETWEEN = "TensorFlow, between operations"
WITHIN = "TensorFlow, within operations"
COMPILED = "TensorFlow, compiled code"
HELPERS = "TensorFlow, helpers"
EARLIER = "from before TensorFlow started (BLAS)"
OTHERS = "others"

# TensorFlow names these pools; the one within operations has no name.
_NAMED = {"tf_Compute": BETWEEN, "tf_XLAEigen": COMPILED}


def count_threads() -> Counter[str] | None:
    """Count the threads that exist now, by what the kernel knows of them.

    Returns:
        The number of threads by pool, where `OTHERS` are native threads without a name; None where the platform does
        not list threads.

    Scope: process (reads only).
    """
    try:
        numbers = [int(task) for task in os.listdir(_TASKS)]  # noqa: PTH208 - names are all that is wanted
    except (OSError, ValueError):
        return None
    of_python = {thread.native_id for thread in threading.enumerate()} | {os.getpid()}
    counts: Counter[str] = Counter()
    for number in numbers:
        try:
            name = (_TASKS / str(number) / "comm").read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            # It ended between the list and the look.
            continue
        if name.startswith("tf_"):
            counts[_NAMED.get(name, HELPERS)] += 1
        else:
            counts[PYTHON if number in of_python else OTHERS] += 1
    return counts


def by_pool(now: Counter[str], earlier: int, within: int, between: int) -> dict[str, int]:
    """Tell threads without a name apart.

    Args:
        now: what `count_threads` says.
        earlier: how many native threads without a name there were before TensorFlow started.
        within: how many threads TensorFlow starts within operations; 0 as long as it has not started.
        between: how many it starts between operations, where it gives them no name; 0 as long as it has not started.

    Returns:
        The number of threads by pool, without empty pools. What is neither from before nor within operations stays
        among the others: TensorFlow's compiler and input pipelines start such threads.

    Example:
        >>> by_pool(Counter({PYTHON: 1, OTHERS: 4, BETWEEN: 2}), earlier=1, within=2, between=2)[WITHIN]
        2
    """
    nameless = now[OTHERS]
    before = min(nameless, earlier)
    pool = min(nameless - before, within)
    unnamed = nameless_between(now[BETWEEN], nameless - before - pool, between)
    found = {
        PYTHON: now[PYTHON],
        EARLIER: before,
        BETWEEN: now[BETWEEN] + unnamed,
        WITHIN: pool,
        COMPILED: now[COMPILED],
        HELPERS: now[HELPERS],
        OTHERS: nameless - before - pool - unnamed,
    }
    return {name: number for name, number in found.items() if number}
