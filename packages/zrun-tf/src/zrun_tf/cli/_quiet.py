"""Import TensorFlow without the lines it writes to the terminal."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"


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
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            yield
        except BaseException:
            sys.stderr.flush()
            caught.seek(0)
            os.write(kept, caught.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
