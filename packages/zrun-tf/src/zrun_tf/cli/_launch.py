"""Running a user's program with the record kept, and the reports made when it ends."""

from __future__ import annotations

import atexit
import os
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from zrun_core._cpus import count_cpus
from zrun_core._environment import cpu_limit

from .._user_frame import is_inside
from ._program import Program, ProgramError, run
from ._recorder import Recorder, memory
from ._watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import CodeType, TracebackType

    from ._record import Message, Record


@dataclass(frozen=True)
class Reports:
    """Which reports are made at the end, and where.

    Attributes:
        html: absolute path of the page; None: none.
        trace: absolute path of the file for Perfetto; None: none.
        summary: whether a summary goes to standard error.
    """

    html: str | None = None
    trace: str | None = None
    summary: bool = True

    def make(self, record: Record) -> None:
        """Write them. What cannot be written is said on standard error, and the others are made all the same.

        Args:
            record: what was seen.
        """
        try:
            self._make(record)
        except Exception as error:  # noqa: BLE001 - the program has ended; its exit code is what counts
            _complain(f"zrun: no report could be made: {type(error).__name__}: {error}\n")

    def _make(self, record: Record) -> None:
        from ._html import write_page
        from ._perfetto import write_trace
        from ._summary import summarise
        from ._text import print_summary

        summary = summarise(record)
        html = self._try("the page", lambda path: write_page(summary, path), self.html)
        trace = self._try("the trace", lambda path: write_trace(record, path), self.trace)
        if self.summary:
            self._try("the summary", lambda _: print_summary(summary, html=html, trace=trace), "")

    @staticmethod
    def _try(what: str, make: Callable[[str], None], path: str | None) -> str | None:
        """Make one; returns its path if that worked."""
        if path is None:
            return None
        try:
            make(path)
        except Exception as error:  # noqa: BLE001 - the program has ended; its exit code is what counts
            to = f" to {path}" if path else ""
            _complain(f"zrun: {what} could not be written{to}: {type(error).__name__}: {error}\n")
            return None
        return path


def _complain(text: str) -> None:
    # Where nobody is there to read it, so be it.
    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(text)
        sys.stderr.flush()


@dataclass(frozen=True)
class Launch:
    """A program, and how it is to be run.

    Attributes:
        program: what is to be run.
        environment: variables that are set for it.
        reports: what is made at the end.
        options: what was asked for, for the reports.
    """

    program: Program
    environment: Mapping[str, str]
    reports: Reports
    options: Mapping[str, str]

    def run(self) -> NoReturn:
        """Run the program and end as it ends: its exit code, or its exception.

        Raises:
            SystemExit: the program has ended.

        Scope: process. There is no way back.
        """
        os.environ.update(self.environment)
        watcher = Watcher.start(self.reports)
        recorder = Recorder(watcher.send)
        outcome = _Outcome()
        about = {"program": str(self.program), "options": dict(self.options), "began": time.time(), "pid": os.getpid()}
        cpus = count_cpus(cpu_limit()).explain()
        recorder.start({**about, "python": sys.executable, "folder": _folder(), "cpus": cpus})
        # First in, last out: after everything that the program has do at its exit, and after its last thread.
        atexit.register(_finish, recorder, watcher, self.reports, outcome)
        code = None
        try:
            code, main = self.program.enter()
            run(code, main)
        except ProgramError as error:
            self._give_up(recorder, watcher, error)
        except BaseException as error:
            outcome.note(error, code)
            _hide_own_frames(error, code)
            raise
        raise SystemExit(0)

    @staticmethod
    def _give_up(recorder: Recorder, watcher: Watcher, error: ProgramError) -> NoReturn:
        """There is nothing to run, and so nothing to report."""
        atexit.unregister(_finish)
        recorder.stop()
        watcher.end()
        _complain(f"zrun run: {error}\n")
        raise SystemExit(2)


class _Outcome:
    """How the program ended."""

    def __init__(self) -> None:
        self.text = "ended normally"
        self.failed = False
        self.interrupted = False

    def note(self, error: BaseException, code: CodeType | None) -> None:
        """Put what it raised into words."""
        if isinstance(error, SystemExit):
            status = error.code
            self.failed = status not in (None, 0)
            number = status if isinstance(status, int) else 1
            self.text = f"ended with exit code {number}" if self.failed else "ended normally"
            return
        self.failed = True
        line = _own_line(_own_frames(error, code))
        at = f", at {line}" if line else ""
        if isinstance(error, KeyboardInterrupt):
            self.interrupted = True
            self.text = f"interrupted{at}"
        else:
            said = traceback.format_exception_only(type(error), error)[-1].strip()
            self.text = f"failed with {said.removesuffix('.')}{at}"


def _own_line(trace: TracebackType | None) -> str:
    """The last line of a traceback that is the user's, rather than one of a library that was called there."""
    last = ""
    for frame, line in traceback.walk_tb(trace):
        path = Path(frame.f_code.co_filename)
        # Code that was made while the program ran has no file.
        if "site-packages" not in path.parts and not is_inside(frame) and path.is_file():
            last = f"{path}:{line}"
    return last


def _own_frames(error: BaseException, code: CodeType | None) -> TracebackType | None:
    """The traceback from the program's first line on."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code is not code:
        trace = trace.tb_next
    return trace


def _hide_own_frames(error: BaseException, code: CodeType | None) -> None:
    """Have the traceback printed as if Python had run the program itself."""
    hook = sys.excepthook

    def without_own_frames(kind: type[BaseException], value: BaseException, trace: TracebackType | None) -> None:
        if value is error:
            trace = _own_frames(error, code)
            value = value.with_traceback(trace)
        hook(kind, value, trace)

    sys.excepthook = without_own_frames


def _folder() -> str:
    try:
        return os.getcwd()  # noqa: PTH109
    except OSError:
        return ""


def _finish(recorder: Recorder, watcher: Watcher, reports: Reports, outcome: _Outcome) -> None:
    """Called by Python when the program has ended."""
    if os.getpid() != watcher.pid:
        # A child that was forked and came this far; the record is its parent's.
        return
    recorder.stop()
    recorder.say(_end(recorder, outcome))
    # Closed, or gone: Python says so itself where it matters.
    with suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
    reports.make(recorder.record)
    watcher.end()
    if outcome.interrupted:
        # After Ctrl-C Python ends itself by the signal, for the shell to see, unless a string was executed since then,
        # as the modules that made the reports do when they are imported.
        with suppress(KeyboardInterrupt):
            exec("raise KeyboardInterrupt")


def _end(recorder: Recorder, outcome: _Outcome) -> Message:
    from ._state import state

    message: Message = {
        "is": "end",
        "seconds": recorder.now(),
        "cpu_seconds": time.process_time() - recorder.cpu_before,
        "peak_memory": memory()[1],
        "outcome": outcome.text,
        "failed": outcome.failed,
        "state": None,
    }
    try:
        message["state"] = state()
    except Exception as error:  # noqa: BLE001 - the program has ended, and what it left may be anything
        message["state_error"] = f"{type(error).__name__}: {error}"
    return message
