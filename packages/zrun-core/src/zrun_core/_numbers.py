"""Checks of numbers that come from a caller, with one wording for what is wrong with them."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import ZrunError


def whole_number(
    name: str, value: Any, *, least: int | None, hint: str, error: type[ZrunError], most: int | None = None
) -> int:
    """Return `value` as an int if it is an integer of at least `least`, and of at most `most`.

    Args:
        name: the argument as the caller knows it.
        value: an int, or what stands for one, such as a NumPy integer. A bool is no number here.
        least: the smallest value that is accepted; None means any.
        hint: the next step, for the message.
        error: what to raise for an integer that is too small or too large.
        most: the largest value that is accepted; None means any.

    Returns:
        The value as a plain int.

    Raises:
        TypeError: `value` is not an integer.
        ZrunError: `value` is too small or too large; of the class `error`.

    Example:
        >>> from zrun_core.errors import CpuError
        >>> whole_number("n", 0, least=1, hint="Leave it out to use all CPUs.", error=CpuError)
        Traceback (most recent call last):
        zrun_core.errors.CpuError: n must be an integer of at least 1; got 0. Leave it out to use all CPUs.
    """
    number = None
    if not isinstance(value, bool):
        try:
            number = operator.index(value)
        except TypeError:
            number = None
    if number is None:
        raise TypeError(f"{name} must be an integer; got {value!r} of type {type(value).__name__}. {hint}")
    if least is not None and number < least:
        raise error(f"{name} must be an integer of at least {least}; got {number}. {hint}")
    if most is not None and number > most:
        raise error(f"{name} must be an integer of at most {most}; got {number}. {hint}")
    return number


def seconds(name: str, value: Any, *, hint: str, error: type[ZrunError]) -> float:
    """Return `value` as a float if it is a number of seconds that can be waited for.

    Args:
        name: the argument as the caller knows it.
        value: a number of seconds, infinity included; None means for ever.
        hint: the next step, for the message.
        error: what to raise for a negative number or NaN.

    Returns:
        The seconds; infinity for None.

    Raises:
        TypeError: `value` is not a number.
        ZrunError: `value` is negative or NaN; of the class `error`.

    Example:
        >>> seconds("timeout", None, hint="", error=ValueError)
        inf
    """
    if value is None:
        return float("inf")
    number = None
    if not isinstance(value, (bool, str, bytes, bytearray)):
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = None
    if number is None:
        raise TypeError(
            f"{name} must be a number of seconds or None; got {value!r} of type {type(value).__name__}. {hint}"
        )
    # Written so that NaN, for which every comparison is false, is refused too.
    if not number >= 0:
        raise error(f"{name} must be at least 0 seconds; got {number}. {hint}")
    return number
