"""Threads that set the same variables take turns, so that each finds and leaves them as they were."""

from __future__ import annotations

from contextlib import contextmanager
from threading import Condition, get_ident
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import tensorflow as tf

_changed = Condition()
# By the identity of a variable: the thread that sets it.
_taken: dict[int, int] = {}


@contextmanager
def only_here(variables: Sequence[tf.Variable]) -> Iterator[None]:
    """Wait until no other thread sets any of these variables, and keep others from it meanwhile.

    Two that saved and set back the same variable side by side could leave in it what one had set for a moment. All are
    taken at once, so that no two threads wait for each other's; calls of one thread may be nested.

    Args:
        variables: which; none: nothing is waited for.

    Scope: process. Threads that only read the variables are not kept from it, nor those that assign them on their own.
    """
    here, wanted = get_ident(), {id(variable) for variable in variables}
    new: set[int] = set()
    try:
        with _changed:
            _changed.wait_for(lambda: all(_taken.get(one, here) == here for one in wanted))
            # What a call around this one has taken already is that one's to give back.
            new = wanted - _taken.keys()
            _taken.update(dict.fromkeys(new, here))
        yield
    finally:
        with _changed:
            for one in new:
                _taken.pop(one, None)
            _changed.notify_all()
