"""Events in the log named "zrun"; imported only where `logging` is in use already or `ZRUN_LOG` asks for it."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress

from ._events import EVENT_NAMES, Event, set_logged
from ._fork import Guard

LOG_CHOICES = ("off", "retrace", "build", "debug", "all")

_SHOWN: dict[str, frozenset[str]] = {
    "retrace": frozenset({"build"}),
    "build": frozenset({"build"}),
    # A line per call would bury everything else.
    "debug": frozenset(EVENT_NAMES) - {"hit", "gradient", "chunks"},
    "all": frozenset(EVENT_NAMES),
}

_logger = logging.getLogger("zrun")
_guard = Guard()


def _level(event: Event) -> int:
    """Retraces and evictions are what a user may want to act on; the rest is how zrun works."""
    return logging.INFO if event.retrace or event.name == "evict" else logging.DEBUG


def log(event: Event) -> None:
    """Log one event: retraces and evictions as INFO, the rest as DEBUG. The record has it as `zrun_event`."""
    level = _level(event)
    if _logger.isEnabledFor(level):
        _logger.log(level, "%s", event, extra={"zrun_event": event})


class _Printer(logging.Handler):
    """Prints chosen events to what `sys.stderr` is at that time, a line each."""

    def __init__(self, choice: str) -> None:
        super().__init__()
        self._names = _SHOWN[choice]
        self._retraces_only = choice == "retrace"
        self.saved = (_logger.level, _logger.propagate)

    def filter(self, record: logging.LogRecord) -> bool:
        event: Event | None = getattr(record, "zrun_event", None)
        return event is not None and event.name in self._names and (event.retrace or not self._retraces_only)

    def emit(self, record: logging.LogRecord) -> None:
        # Under pythonw there is no standard error, and a pipe may be closed: no reason for a computation to end.
        with suppress(Exception):
            sys.stderr.write(f"zrun: {record.getMessage()}\n")


def configure(choice: str) -> None:
    """See `configure_logging`."""
    if choice not in LOG_CHOICES:
        raise ValueError(f"configure_logging: choice must be one of {', '.join(LOG_CHOICES)}; got {choice!r}.")
    with _guard.lock:
        for printer in [handler for handler in _logger.handlers if isinstance(handler, _Printer)]:
            _logger.removeHandler(printer)
            level, _logger.propagate = printer.saved
            _logger.setLevel(level)
        if choice != "off":
            _logger.addHandler(_Printer(choice))
            _logger.propagate = False
            _logger.setLevel(logging.DEBUG)
        set_logged(_SHOWN.get(choice, frozenset()))
