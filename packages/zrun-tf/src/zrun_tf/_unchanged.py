"""Whether objects that were taken apart are as they were, which is quicker to see than to take them apart again."""

from __future__ import annotations

from operator import is_
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from zrun_core._attributes import is_its_dict

if TYPE_CHECKING:
    from collections.abc import Iterable


class Snapshot:
    """What the containers among some objects held.

    Args:
        dicts: the dicts.
        lists: the lists.
        objects: those that are what their `__dict__` holds.
    """

    __slots__ = ("_dicts", "_lists", "_objects")

    def __init__(self, dicts: Iterable[dict[Any, Any]], lists: Iterable[list[Any]], objects: Iterable[Any]) -> None:
        self._objects = [(one, type(one), vars(one)) for one in objects]
        held = [*dicts, *(instance for _, _, instance in self._objects)]
        self._dicts = [(one, list(one), list(one.values())) for one in held]
        self._lists = [(one, list(one)) for one in lists]

    def is_current(self) -> bool:
        """Whether they hold the same objects, in the same order and under the same names."""
        # Both can be set to another.
        for obj, cls, instance in self._objects:
            if type(obj) is not cls or obj.__dict__ is not instance:
                return False
        # Copied at once, since another thread may be changing them; compared by identity, since tensors have no other.
        for mapping, names, values in self._dicts:
            now = list(mapping.values())
            if len(now) != len(values) or not all(map(is_, now, values)) or not all(map(is_, list(mapping), names)):
                return False
        for items, before in self._lists:
            there = list(items)
            if len(there) != len(before) or not all(map(is_, there, before)):
                return False
        return True


def snapshot(seen: Iterable[Any]) -> Snapshot | None:
    """A snapshot of what was met on the way through an object; None where something else may change unseen.

    Args:
        seen: everything that can change and was met, variables and arrays apart.
    """
    dicts: list[dict[Any, Any]] = []
    lists: list[list[Any]] = []
    objects: list[Any] = []
    for obj in seen:
        if isinstance(obj, tf.Variable):
            continue
        if type(obj) is dict:
            dicts.append(obj)
        elif type(obj) is list:
            lists.append(obj)
        elif is_its_dict(obj):
            objects.append(obj)
        else:
            return None
    return Snapshot(dicts, lists, objects)
