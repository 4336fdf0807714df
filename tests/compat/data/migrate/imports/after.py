#!/usr/bin/env python
"""Imports of each shape."""

from __future__ import annotations

import os, zfit, sys
from zfit import (
    # spaces
    Space,
    z,
)
import zrun_tf as zrun
from zfit import loss, \
    minimize
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass

try:
    import zrun_compat
except ImportError:
    zrun_compat_is_there = False

if sys.version_info >= (3, 10): pass


def local() -> zrun.RunManager:
    from zfit import run  # here only
    return run.set_mode_default

def first():
    zrun.run.set_mode(graph=False)
    from zfit import z; return z.function


def second(x: "Space"):
    if x:
        zrun.run.set_mode(graph=False)
    else:
        zrun.run.set_mode(graph=True)


class Study:

    mode = zrun.run.current_policy_graph()


zrun.run.set_mode(graph=zrun.run.current_policy_graph())
os, Space, loss, minimize
