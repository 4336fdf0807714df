"""Exceptions of Python functions on their way through a graph.

TensorFlow makes an error of its own of an exception that a Python operation raises; it has the text, not the object.
Where a zrun function runs the graph, the exception itself comes out.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from itertools import count
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import tensorflow as tf

from ._compat import add_note, told_in, with_note

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST: Final = 16
_MARK: Final = "(zrun's exception number {})"
_FOUND: Final = re.compile(r"\(zrun's exception number (\d+)\)")

_numbers = count(1)
_lock = Lock()
_kept: OrderedDict[int, BaseException] = OrderedDict()


def remember(error: BaseException) -> None:
    """Keep an exception until `original` asks for it; only the latest ones."""
    number = next(_numbers)
    marked = add_note(error, _MARK.format(number))
    with _lock:
        # Under what `original` finds it by.
        _kept[number if marked else -number] = error
        while len(_kept) > _MOST:
            _kept.popitem(last=False)


def described(error: BaseException, where: str, *, claimed: bool) -> BaseException | None:
    """Say with an exception that is about to pass into TensorFlow where it happened.

    Args:
        error: the exception.
        where: a sentence.
        claimed: whether it is to be kept for `original`.

    Returns:
        What is to be raised instead, with the `__cause__` it is to have; None: the exception itself.
    """
    noted = add_note(error, where)
    if claimed:
        remember(error)
    return None if noted else with_note(error, where)


def original(error: BaseException) -> BaseException | None:
    """The exception that an error of TensorFlow was made of, if it is one that was kept.

    Args:
        error: what running a graph raised.

    Returns:
        The exception, once; None where there is none.

    Scope: process.
    """
    text = str(error)
    numbers = [int(number) for number in _FOUND.findall(text)]
    with _lock:
        if not numbers:
            # The latest first, so that nothing older is taken for it.
            unmarked = {id(one): number for number, one in _kept.items() if number < 0}
            same = told_in(text, [_kept[number] for number in sorted(unmarked.values())])
            numbers = [unmarked[id(same)]] if same is not None else []
        found = [_kept.pop(number, None) for number in numbers]
    return next((one for one in found if one is not None), None)


def error_of(function: Callable[[], Any]) -> tf.errors.OpError | None:
    """TensorFlow's error when a function is called; None where there is none.

    Args:
        function: takes nothing; what it returns is dropped.
    """
    try:
        function()
    except tf.errors.OpError as error:
        return error
    return None
