"""A small process beside the program, which makes the reports if the program dies without a word.

A signal that kills, a crash in native code and `os._exit` leave Python no time for anything. The watcher gets each
message as it comes; when the program is gone and has not said that it ended, the watcher makes the reports. It is no
child of the program, so that `os.wait` there does not see it, and it lives in a session of its own, so that Ctrl-C does
not end it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._record import Message, Record

if TYPE_CHECKING:
    from ._launch import Reports

# -I -S: the intermediate process only forks, and is gone before it has cost anything.
_START = """
import os, sys
if os.fork():
    os._exit(0)
os.setsid()
import json
options = json.loads(sys.argv[1])
sys.path[:] = options.pop("path")
from zrun_tf.cli._watcher import watch
watch(**options)
"""
# A pipe that is not read may hold up to this much; then the watcher gets no more.
_MOST_PENDING = 1 << 24
_NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)
_SECONDS_TO_DIE = 5.0


class Watcher:
    """The program's end of the line.

    Args:
        line: where messages go; None: nobody watches.
    """

    def __init__(self, line: socket.socket | None) -> None:
        self.pid = os.getpid()
        self._line = line
        self._pending = bytearray()

    @classmethod
    def start(cls, reports: Reports) -> Watcher:
        """Start a watcher for this process, where the platform allows.

        Args:
            reports: what it is to make.
        """
        if not hasattr(os, "fork") or not (reports.html or reports.trace or reports.summary):
            return cls(None)
        ours, theirs = socket.socketpair()
        number = theirs.fileno()
        wanted = {"html": reports.html, "trace": reports.trace, "summary": reports.summary}
        options = {"path": [path or os.getcwd() for path in sys.path], "line": number, "pid": os.getpid(), **wanted}  # noqa: PTH109
        command = [sys.executable, "-I", "-S", "-c", _START, json.dumps(options)]
        try:
            subprocess.run(command, pass_fds=[number], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
        except (OSError, subprocess.SubprocessError):
            # Without a watcher the reports are made all the same, unless the program dies hard.
            ours.close()
            return cls(None)
        finally:
            theirs.close()
        ours.setblocking(False)
        watcher = cls(ours)
        os.register_at_fork(after_in_child=watcher._forget)
        return watcher

    def send(self, message: Message) -> None:
        """Pass a message on, or keep it for the next time if the watcher is busy."""
        if self._line is None:
            return
        self._pending += json.dumps(message).encode() + b"\n"
        self._push()
        if len(self._pending) > _MOST_PENDING:
            self._forget()

    def end(self) -> None:
        """Say that the reports are made, and let the watcher go."""
        if self._line is None:
            return
        with suppress(OSError):
            self._line.settimeout(_SECONDS_TO_DIE)
        self.send({"is": "done"})
        self._forget()

    def _push(self) -> None:
        while self._line is not None and self._pending:
            try:
                sent = self._line.send(self._pending, _NO_SIGNAL)
            except BlockingIOError:
                return
            except OSError:
                # It was closed, by the program perhaps, or nobody is there any more.
                self._forget()
                return
            del self._pending[:sent]

    def _forget(self) -> None:
        line, self._line = self._line, None
        self._pending.clear()
        if line is not None:
            # The program may have closed all files that it could find.
            with suppress(OSError):
                line.close()


def watch(line: int, pid: int, **reports: Any) -> None:
    """The watcher: keep the record, and report if the program is gone without having done so.

    Args:
        line: file descriptor of the messages.
        pid: of the program.
        **reports: of `Reports`.
    """
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    record = Record()
    done = False
    with socket.socket(fileno=line) as connection, connection.makefile("rb") as messages:
        for text in messages:
            message = json.loads(text)
            done = done or message["is"] == "done"
            if not done:
                record.apply(message)
    if done or _lives(pid):
        # A program that closes all its files, as a daemon does, is not dead.
        return
    record.died_after = max(0.0, time.time() - record.about["began"]) if record.about else 0.0
    from ._launch import Reports

    Reports(**reports).make(record)


def _lives(pid: int) -> bool:
    """Whether a process that closed its line is still at work."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        # A process that ends gives up its memory before it closes its files.
        return fields[0] not in "ZX" and int(fields[20]) > 0
    except (OSError, ValueError, IndexError):
        # It is gone already, or this system has no such file.
        pass
    until = time.monotonic() + _SECONDS_TO_DIE
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
        except OSError:
            return False
        time.sleep(0.05)
    return True
