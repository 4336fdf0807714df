"""The order in which the entries of a cache were used: the places in it, and its two ends.

A finalizer may change an order between two steps of a look at it; then the look is taken again.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any
from weakref import ref

from ._owner import Entry

if TYPE_CHECKING:
    from collections import OrderedDict


class Place(ref[Entry]):
    """An entry's place in the order of use. It knows what the entry weighs, also when that is gone."""

    __slots__ = ("nbytes",)

    nbytes: int

    @classmethod
    def of(cls, entry: Entry) -> Place:
        """The place of an entry.

        Args:
            entry: the entry.
        """
        made = cls(entry)
        made.nbytes = entry.nbytes
        return made


def first(order: OrderedDict[int, Any]) -> int:
    """The first of what is in order; -1 where there is none any more.

    Args:
        order: by serial number.
    """
    while True:
        with suppress(RuntimeError):
            return next(iter(order), -1)


def last(order: OrderedDict[int, Any], number: int) -> list[int]:
    """The last of what is in order, the very last first.

    Args:
        order: by serial number.
        number: how many of them, at most.
    """
    while True:
        with suppress(RuntimeError):
            return list(islice(reversed(order), number))
