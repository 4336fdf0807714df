"""`run.chunking`: the two old attributes that are one part of the policy now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from typing_extensions import deprecated

from zrun_core._numbers import whole_number
from zrun_core.errors import PolicyError

from ._deprecate import old

if TYPE_CHECKING:
    from ._run import RunManager

MAX_N_POINTS: Final = 1_000_000
"""Rows of a chunk where nobody has said how many."""


class Chunking:
    """The chunk size, seen as a switch and a number of rows.

    Both read and set `run.chunksize` of zrun, which is None where the switch is off. The number of rows that was set
    while it is off is kept in the run manager.

    Args:
        run: the run manager.

    Scope: process (setting); context (reading).
    """

    __slots__ = ("_run",)

    def __init__(self, run: RunManager) -> None:
        self._run = run

    @property
    @deprecated("Write `zrun.run.chunksize is not None`", category=None)
    @old("run.chunking.active", removed_in="1.0", read=True)
    def active(self) -> bool:
        """Whether data are evaluated in chunks."""
        return self._run.policy.chunksize is not None

    @active.setter
    @deprecated("Write `zrun.run.set_chunksize(rows)`; `zrun.run.set_chunksize(None)` means no chunks", category=None)
    @old("run.chunking.active = ...", removed_in="1.0")
    def active(self, active: bool) -> None:
        chunksize = self._run.policy.chunksize
        if not active:
            self._run.set_chunksize(None)
            if isinstance(chunksize, int):
                self._run._rows = chunksize
        elif chunksize is None:
            self._run.set_chunksize(self._run._rows)

    @property
    @deprecated("Write `zrun.run.chunksize`", category=None)
    @old("run.chunking.max_n_points", removed_in="1.0", read=True)
    def max_n_points(self) -> int:
        """Rows of a chunk; where there are no chunks, or zrun chooses, what they would be if `active` were set."""
        chunksize = self._run.policy.chunksize
        return chunksize if isinstance(chunksize, int) else self._run._rows

    @max_n_points.setter
    @deprecated("Write `zrun.run.set_chunksize(rows)`", category=None)
    @old("run.chunking.max_n_points = ...", removed_in="1.0")
    def max_n_points(self, rows: int) -> None:
        rows = whole_number("max_n_points", rows, least=1, hint="It is a number of rows.", error=PolicyError)
        if self._run.policy.chunksize is not None:
            self._run.set_chunksize(rows)
        self._run._rows = rows
