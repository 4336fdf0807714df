"""Why a look-up missed: the nearest key seen before, and the differences as sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ._structure import KeyRow

if TYPE_CHECKING:
    from collections.abc import Iterable

Rows = tuple[KeyRow, ...]

FIRST_CALL = "first call"


class Difference(NamedTuple):
    """One part in which two keys differ.

    Attributes:
        path: the part, named from the argument on: `data.weights`.
        old: its row in the key seen before; None where that key has no such part.
        new: its row in the key asked for; None where this key has no such part.
    """

    path: str
    old: KeyRow | None
    new: KeyRow | None

    def __str__(self) -> str:
        if self.old is None or self.new is None:
            return f"{self.path}: {_one_sided(self.old, self.new)}"
        if self.old.static != self.new.static:
            return f"{self.path}: {_with_role(self.old)} -> {_with_role(self.new)}"
        shared = len(_shared_head(self.old, self.new))
        static = ", static" if self.new.static else ""
        return f"{self.path}: {self.old.text} -> {self.new.text[shared:]}{static}"

    @property
    def hint(self) -> str:
        """What to do about it, where that is known; else empty."""
        if self.old is None or self.new is None or self.old.static != self.new.static:
            return ""
        if self.new.static:
            return _static_hint(self.path, self.old.text, self.new.text)
        old_head, new_head = _head(self.old), _head(self.new)
        if old_head == new_head:
            return f"pad {self.path} to a fixed shape, or accept one trace per shape"
        if self.old.text[len(old_head) :] == self.new.text[len(new_head) :]:
            return f"convert {self.path} to one dtype before the call"
        return ""


def _one_sided(old: KeyRow | None, new: KeyRow | None) -> str:
    if new is not None:
        return f"added, {_with_role(new)}"
    return f"missing, was {_with_role(old)}" if old is not None else "unchanged"


def _with_role(row: KeyRow) -> str:
    return f"{row.text} ({'static' if row.static else 'an input'})"


def _head(row: KeyRow) -> str:
    """What comes before the shape, or before the address of an object."""
    mark = " at 0x" if row.static else " ("
    head, found, _ = row.text.partition(mark)
    return f"{head} " if found else ""


def _shared_head(old: KeyRow, new: KeyRow) -> str:
    return _head(new) if _head(old) == _head(new) else ""


def _is_number(text: str) -> bool:
    try:
        complex(text)
    except ValueError:
        return False
    return True


def _is_text(text: str) -> bool:
    """Whether a row shows a str or bytes, which are shown as Python writes them."""
    return text.removeprefix("b").startswith(("'", '"'))


def _static_hint(path: str, old: str, new: str) -> str:
    if _is_number(old) and _is_number(new):
        return f"pass {path} as a float or an array to make it an input"
    if old.startswith("the object ") and new.startswith("the object "):
        return (
            f"each object given as {path} has graphs of its own; make its class a dataclass or a @struct class, "
            f"so that objects of one structure share them"
        )
    if _is_text(old) and _is_text(new):
        return f"each text given as {path} has a graph of its own; leave it out where the result does not depend on it"
    return ""


def differences(old: Rows, new: Rows) -> tuple[Difference, ...]:
    """The parts in which two keys differ.

    Args:
        old: the rows of the key seen before.
        new: the rows of the key asked for.

    Returns:
        Changed and added parts in the order of the new key, then missing ones in the order of the old.
    """
    was = {row.path: row for row in old}
    now = {row.path: row for row in new}
    changed = [Difference(path, was.get(path), row) for path, row in now.items() if was.get(path) != row]
    return (*changed, *(Difference(path, row, None) for path, row in was.items() if path not in now))


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a look-up finds, or why it misses; prints as text.

    Attributes:
        hit: there is an entry with this key.
        seen: how many keys it was compared with.
        nearest: the index, among these, of the key with the fewest differences; None where there was none.
        differences: what differs from the nearest.
        dropped: why an entry with an equal key is no longer there; empty where there was none.
        seconds: what building the entry, or the nearest one, took; None where that is not known.
    """

    hit: bool = False
    seen: int = 0
    nearest: int | None = None
    differences: tuple[Difference, ...] = ()
    dropped: str = ""
    seconds: float | None = None

    @property
    def reason(self) -> str:
        """The answer in one line."""
        if self.hit:
            return "found"
        if self.dropped:
            return f"its graph was dropped: {self.dropped}"
        if self.differences:
            return "; ".join(map(str, self.differences))
        if self.nearest is not None:
            return "the keys differ in a part that has no row"
        return "called before, but its keys have no description" if self.seen else FIRST_CALL

    @property
    def hints(self) -> tuple[str, ...]:
        """What to do about the differences, where that is known."""
        return tuple(dict.fromkeys(d.hint for d in self.differences if d.hint))

    def __str__(self) -> str:
        lines = ["hit" if self.hit else f"miss: {self.reason}"]
        if self.seconds is not None:
            what = "it" if self.hit or self.dropped else "the nearest graph"
            lines.append(f"  tracing {what} took {self.seconds:.3g} s")
        lines.extend(f"  {hint}" for hint in self.hints)
        return "\n".join(lines)


def nearest(rows: Rows, candidates: Iterable[Rows]) -> Explanation:
    """Explain a miss by the key with the fewest differences.

    Args:
        rows: the key asked for.
        candidates: the keys to compare with, the most recent first; of equally near ones the first is taken.

    Returns:
        The explanation.

    Example:
        >>> old = (KeyRow("data", "float64 (1000,)", False), KeyRow("order", "3", True))
        >>> new = (KeyRow("data", "float64 (1001,)", False), KeyRow("order", "3", True))
        >>> print(nearest(new, [old]))
        miss: data: float64 (1000,) -> (1001,)
          pad data to a fixed shape, or accept one trace per shape
    """
    compared = [differences(candidate, rows) for candidate in candidates]
    if not compared:
        return Explanation()
    index = min(range(len(compared)), key=lambda i: len(compared[i]))
    return Explanation(seen=len(compared), nearest=index, differences=compared[index])
