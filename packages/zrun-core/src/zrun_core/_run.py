"""The run manager of the process where no backend is installed."""

from __future__ import annotations

from ._manager import RunManager

run = RunManager()
run._lease_from_process()
"""The run manager of the process where no backend is installed: it runs every function as plain Python."""
