"""Values and lists of parts in words, short enough for a message whatever they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

# What is longer would bury the message it is part of, and is kept with each graph besides.
_LONGEST = 200

MOST_PARTS = 64
"""How many parts of one container are described one by one."""


def shown(value: Hashable) -> str:
    """The `repr` of a value; shortened where it is long, and replaced where Python refuses it.

    Args:
        value: a value; another one is shown as another text.

    Example:
        >>> shown("gauss")
        "'gauss'"
    """
    try:
        text = repr(value)
    except Exception as error:  # noqa: BLE001 - whatever it is: a description must not keep a function from running
        return f"a value of type {type(value).__qualname__} (no repr: {type(error).__name__}; {mark(value)})"
    return shortened(text, value)


def shortened(text: str, value: Hashable) -> str:
    """A text, or its beginning and a mark that tells it apart from others that begin alike.

    Args:
        text: what is shown.
        value: what it stands for.
    """
    if len(text) <= _LONGEST:
        return text
    return f"{text[: _LONGEST // 2]}… ({len(text)} characters, {mark(value)})"


def mark(value: Hashable) -> str:
    """A few digits by which unequal values can be told apart, within this process."""
    return f"#{hash(value) & 0xFFFFFFFF:08x}"
