"""Code under test, run to its n-th step, where something comes in between: an interrupt, or a finalizer.

Both come where Python looks for them: as a Python function begins, and as a C function returns.
"""

from __future__ import annotations

import sys
import threading
from concurrent.futures import Future

LONG = 60


def happens_at(step, files, happening, action):
    """Run `action`, calling `happening` at its `step`-th step in code of these files; whether it came so far."""
    seen = 0

    def profile(frame, event, argument):
        nonlocal seen
        if event in ("call", "c_return") and frame.f_code.co_filename in files:
            seen += 1
            if seen == step:
                sys.setprofile(None)
                happening()

    sys.setprofile(profile)
    try:
        action()
    finally:
        sys.setprofile(None)
    return seen >= step


def interrupt():
    raise KeyboardInterrupt


def interrupted_at(step, files, action):
    """Run `action` with a KeyboardInterrupt at its `step`-th step; the interrupt, or None if it did not come so far."""
    try:
        happens_at(step, files, interrupt, action)
    except KeyboardInterrupt as error:
        return error
    return None


def at_every_step(least, try_step):
    """Call `try_step(step)` with 1, 2, … until it returns that the action has fewer steps; at least `least` times."""
    for step in range(1, 2000):
        if not try_step(step):
            assert step > least, "too few steps for it to have come everywhere"
            return
    raise AssertionError("the action gets longer from step to step")


def elsewhere(function):
    """What a function returns, or raises, in another thread; an error if it does not end."""
    future = Future()

    def work():
        try:
            future.set_result(function())
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            future.set_exception(error)

    # A daemon, because a test that fails is to end.
    threading.Thread(target=work, daemon=True).start()
    return future.result(LONG)
