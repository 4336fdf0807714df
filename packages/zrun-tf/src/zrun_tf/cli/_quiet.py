"""What the terminal gets to see: no lines of TensorFlow's, and no characters it does not have."""

from __future__ import annotations

import io
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"


@contextmanager
def lenient_output() -> Iterator[None]:
    """Print `?` for characters that the terminal's encoding does not have, instead of failing on a `±`.

    Scope: process. The streams are put back on exit.
    """
    streams = [stream for stream in (sys.stdout, sys.stderr) if isinstance(stream, io.TextIOWrapper)]
    before = [stream.errors for stream in streams]
    for stream in streams:
        stream.reconfigure(errors="replace")
    try:
        yield
    finally:
        for stream, errors in zip(streams, before, strict=True):
            stream.reconfigure(errors=errors)


@contextmanager
def quiet_tensorflow() -> Iterator[None]:
    """Keep TensorFlow's start-up messages off the terminal, unless the user asks for all with `TF_CPP_MIN_LOG_LEVEL=0`.

    TensorFlow's C++ code writes its first lines straight to file descriptor 2, whatever the log level. They are caught
    here, and written out after all if the body raises, for then they may say why.

    Scope: process. The environment variable stays set; file descriptor 2 is put back on exit.
    """
    if os.environ.setdefault(_LOG_LEVEL, "2") == "0":
        yield
        return
    import tempfile

    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            yield
        except Exception:
            sys.stderr.flush()
            caught.seek(0)
            os.write(kept, caught.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
