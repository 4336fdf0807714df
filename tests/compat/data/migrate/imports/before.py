#!/usr/bin/env python
"""Imports of each shape."""

from __future__ import annotations

import os, zfit, sys
from zfit import (
    run,  # the manager
    # spaces
    Space,
    z,
)
from zfit import loss, \
    minimize
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zfit.util.execution import RunManager

try:
    import zrun_compat
except ImportError:
    zrun_compat_is_there = False

if sys.version_info >= (3, 10): from zfit import run as late


def local() -> RunManager:
    from zfit import run  # here only
    return run.set_mode_default

def first():
    import zfit; zfit.run.set_graph_mode(False)
    from zfit import z; return z.function


def second(x: "Space"):
    if x:
        from zfit import run
        run.set_graph_mode(False)
    else:
        from zfit import run
        run.set_graph_mode(True)


class Study:
    from zfit import run

    mode = run.get_graph_mode()


run.set_graph_mode(late.get_graph_mode())
os, Space, loss, minimize
