"""A progress bar for work over many rows: after a couple of seconds, on a terminal."""

from __future__ import annotations

import sys
import time
from typing import Any, Final

DELAY: Final = 2.0
"""Seconds after which a bar appears."""


class Progress:
    """How far a pass over the rows is.

    Args:
        what: what is computed.
        n_rows: how many rows there are; None where only reading tells.
        n_chunks: how many chunks they are cut into, or None.
        shown: whether a bar may appear; None: where standard error is a terminal.

    Attributes:
        interval: seconds after which `show` should be called again.
    """

    interval = 0.25

    def __init__(self, what: str, n_rows: int | None, n_chunks: int | None, shown: bool | None) -> None:
        self._what = what
        self._n_rows = n_rows
        self._n_chunks = n_chunks
        self._shown = shown
        self._start = time.monotonic()
        self._bar: Any = None
        self._decided = False
        self.rows = self.chunks = 0

    def advance(self, rows: int) -> None:
        """A chunk of so many rows is done."""
        self.rows += rows
        self.chunks += 1
        self.show()

    def show(self) -> None:
        """Show the bar if it is time."""
        if not self._decided and time.monotonic() - self._start > DELAY:
            self._decided, self._bar = True, self._made()
        if self._bar is not None:
            self._bar.update(self.rows - self._bar.n)

    def _made(self) -> Any:
        if self._shown is False or (self._shown is None and not sys.stderr.isatty()):
            return None
        try:
            from tqdm import tqdm
        except ImportError:
            return None
        bar: Any = tqdm(
            desc=self._what, total=self._n_rows, unit=" rows", unit_scale=True, leave=False, file=sys.stderr
        )
        bar.start_t -= time.monotonic() - self._start
        return bar

    def text(self) -> str:
        """How far it is, in words."""
        of = "" if self._n_chunks is None else f" of {self._n_chunks}"
        chunks = f"{self.chunks}{of} chunk{'' if not of and self.chunks == 1 else 's'}"
        rows = f"{self.rows} rows" if self._n_rows is None else f"{self.rows} of {self._n_rows} rows"
        return f"after {chunks} ({rows}); nothing was changed."

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
