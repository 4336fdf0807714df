"""Keys of containers: how they are read, and how a container is made from its parts."""

# Nodes read keys of every kind; each uses of its arguments what it needs.
# ruff: noqa: ARG001, ARG002, ARG005

from __future__ import annotations

from collections import OrderedDict, deque
from itertools import chain
from typing import TYPE_CHECKING, Any

from ._nodes import Key, KeyRow, Node, Rebuilding
from ._words import MOST_PARTS, mark

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeAlias

    # Takes the type, the names and the parts.
    Assemble: TypeAlias = Callable[[Any, Any, list[Any]], Any]

_PLAIN = (tuple, list, dict)


class ContainerNode(Node):
    """(node, type, names, *children): a container whose parts have names, or else are numbered.

    Args:
        name: what such a container is called.
        assemble: makes one from its type, the names and the parts.
        label: what is appended to the path for a part, with a place for its name.
    """

    def __init__(self, name: str, assemble: Assemble, label: str = "[{!r}]") -> None:
        self._name = name
        self._assemble = assemble
        self._label = label

    def rebuild(self, key: Key, to: Rebuilding) -> Any:
        """Put the container together."""
        slot = len(to.made)
        to.made.append(None)
        made = self._assemble(key[1], key[2], [to.build(child) for child in key[3:]])
        to.made[slot] = made
        return made

    def rows(self, key: Key, path: str) -> Iterator[KeyRow]:
        """The type where it says more than the parts do, then the parts."""
        parts = key[3:]
        if not parts or key[1] not in _PLAIN:
            yield KeyRow(path, self.title(key), True)
        for index, child in enumerate(parts[:MOST_PARTS]):
            yield from child[0].rows(child, path + self.label(key[2], parts, index))
        yield from rest_in_words(parts[MOST_PARTS:], path)

    def title(self, key: Key) -> str:
        """The container in words, without its parts."""
        return f"{self._name} {key[1].__qualname__}" if len(key) > 3 else f"empty {self._name}"

    def label(self, names: Any, parts: Sequence[Any], index: int) -> str:
        """What to append to the path for a part."""
        return self._label.format(index if names is None else names[index])


def rest_in_words(parts: tuple[Key, ...], path: str) -> Iterator[KeyRow]:
    """One line for the parts of a container that are too many to be described one by one."""
    if parts:
        alike = all(child == parts[0] for child in parts)
        text = f"each {_in_words(parts[0])}" if alike else mark(parts)
        inputs = alike and not any(row.static for row in parts[0][0].rows(parts[0], ""))
        yield KeyRow(f"{path}[{MOST_PARTS}:]", f"{len(parts)} more parts, {text}", not inputs)


def _in_words(key: Key) -> str:
    return ", ".join(row.text for row in key[0].rows(key, ""))


class _ImmutableNode(ContainerNode):
    """Like `ContainerNode`, for containers that cannot change, so that sharing them shows nowhere."""

    def rebuild(self, key: Key, to: Rebuilding) -> Any:
        return self._assemble(key[1], key[2], [to.build(child) for child in key[3:]])


class _DequeNode(ContainerNode):
    """(node, type, maxlen, *children)."""

    def title(self, key: Key) -> str:
        return super().title(key) + (f" with maxlen={key[2]}" if key[2] is not None else "")

    def label(self, names: Any, parts: Sequence[Any], index: int) -> str:
        return f"[{index}]"


class _PairsNode(ContainerNode):
    """(node, type, None, key, value, key, value, …): a mapping of which not all keys are strings."""

    def rows(self, key: Key, path: str) -> Iterator[KeyRow]:
        if key[1] not in _PLAIN:
            yield KeyRow(path, self.title(key), True)
        pairs = list(zip(key[3::2], key[4::2], strict=True))
        for name, value in pairs[:MOST_PARTS]:
            yield from value[0].rows(value, f"{path}[{_in_words(name)}]")
        yield from rest_in_words(tuple(chain(*pairs[MOST_PARTS:])), path)

    def label(self, names: Any, parts: Sequence[Any], index: int) -> str:
        name = parts[index - index % 2]
        label = f"[{getattr(name, 'value', name)!r}]"
        return label if index % 2 else f" key {label}"


def _make_tuple(cls: Any, names: Any, parts: list[Any]) -> Any:
    if cls is tuple:
        return tuple(parts)
    try:
        return tuple.__new__(cls, parts)
    except TypeError:
        # Tuples with names that are written in C, such as time.struct_time, make themselves.
        return cls(parts)


def _make_list(cls: Any, names: Any, parts: list[Any]) -> Any:
    # Subclasses may override the methods; those of the base are what put the items there.
    made = cls.__new__(cls)
    list.extend(made, parts)
    return made


def _make_deque(cls: Any, maxlen: Any, parts: list[Any]) -> Any:
    made = cls.__new__(cls)
    deque.__init__(made, parts, maxlen)
    return made


def _make_dict(cls: Any, names: Any, parts: list[Any]) -> Any:
    made = cls.__new__(cls)
    dict.update(made, zip(names, parts, strict=True))
    return made


def _make_ordered(cls: Any, names: Any, parts: list[Any]) -> Any:
    made = cls.__new__(cls)
    for name, part in zip(names, parts, strict=True):
        OrderedDict.__setitem__(made, name, part)
    return made


def _make_default(cls: Any, names: Any, parts: list[Any]) -> Any:
    made = cls.__new__(cls)
    made.default_factory, items = parts
    dict.update(made, items)
    return made


def _make_namespace(cls: Any, names: Any, parts: list[Any]) -> Any:
    made = cls.__new__(cls)
    vars(made).update(zip(names, parts, strict=True))
    return made


def _make_partial(cls: Any, names: Any, parts: list[Any]) -> Any:
    function, args, keywords = parts
    return cls(function, *args, **keywords)


def _paired(make: Assemble) -> Assemble:
    return lambda cls, names, parts: make(cls, parts[::2], parts[1::2])


TUPLE = _ImmutableNode("tuple", _make_tuple)
NAMED_TUPLE = _ImmutableNode("named tuple", _make_tuple, ".{}")
LIST = ContainerNode("list", _make_list)
DEQUE = _DequeNode("deque", _make_deque)
DICT = ContainerNode("dict", _make_dict)
DICT_PAIRS = _PairsNode("dict", _paired(_make_dict))
ORDERED = ContainerNode("ordered dict", _make_ordered)
ORDERED_PAIRS = _PairsNode("ordered dict", _paired(_make_ordered))
DEFAULT = ContainerNode("default dict", _make_default, "{}")
PROXY = ContainerNode("mapping proxy", lambda cls, names, parts: cls(*parts), "{}")
NAMESPACE = ContainerNode("namespace", _make_namespace, ".{}")
METHOD = _ImmutableNode("method", lambda cls, names, parts: cls(*parts), ".{}")
PARTIAL = _ImmutableNode("partial", _make_partial, ".{}")
INDICES = _ImmutableNode("indices", lambda cls, names, parts: cls(*parts), ".{}")
