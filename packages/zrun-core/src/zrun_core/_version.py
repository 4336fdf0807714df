"""The version of all three packages, stated here and nowhere else; the other two read it when they are built."""

from __future__ import annotations

__version__ = "0.1.0"
