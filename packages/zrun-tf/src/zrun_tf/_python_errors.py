"""Exceptions of Python functions on their way through a graph.

TensorFlow makes an error of its own of an exception that a Python operation raises; it has the text, not the object.
Where a zrun function runs the graph, the exception itself comes out.
"""

from __future__ import annotations

import re
import sys
from collections import OrderedDict
from itertools import count
from threading import Lock
from typing import Final

_MOST: Final = 16
_MARK: Final = "(zrun's exception number {})"
_FOUND: Final = re.compile(r"\(zrun's exception number (\d+)\)")

_numbers = count(1)
_lock = Lock()
_kept: OrderedDict[int, BaseException] = OrderedDict()


def remember(error: BaseException) -> None:
    """Keep an exception until `original` asks for it; only the latest ones."""
    number = next(_numbers)
    note(error, _MARK.format(number))
    with _lock:
        _kept[number] = error
        while len(_kept) > _MOST:
            _kept.popitem(last=False)


def original(error: BaseException) -> BaseException | None:
    """The exception that an error of TensorFlow was made of, if it is one that was kept.

    Args:
        error: what running a graph raised.

    Returns:
        The exception, once; None where there is none.

    Scope: process.
    """
    numbers = [int(number) for number in _FOUND.findall(str(error))]
    with _lock:
        found = [_kept.pop(number, None) for number in numbers]
    return next((one for one in found if one is not None), None)


def note(error: BaseException, text: str) -> None:
    """Say something with an exception that is about to pass."""
    if sys.version_info >= (3, 11) and text not in getattr(error, "__notes__", ()):
        error.add_note(text)
