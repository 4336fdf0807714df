"""Who read what: while a graph is being built, reads of tracked state are noted; later changes reach the reader.

An object that was read has a cell per attribute. The cell knows the recordings that read it, weakly; a recording knows
its cells. Cells know nothing of the object, and the table of cells holds it weakly, so nothing keeps anything alive.
"""

from __future__ import annotations

from contextvars import ContextVar
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import ref

from ._fork import Guard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from typing_extensions import Self

WHOLE = "*"


class Read(NamedTuple):
    """One thing that was read while recording.

    Attributes:
        object: the object, weakly.
        attribute: the attribute's name; `"*"` for the object as a whole.
        version: of the attribute, at the first read.
    """

    object: ref[Any]
    attribute: str
    version: int


class _Cell:
    """One attribute of one object: its version, and the recordings that read it, by id."""

    __slots__ = ("readers", "version")

    def __init__(self) -> None:
        self.version = next(_versions)
        self.readers: dict[int, ref[Recording]] = {}


class _ObjectRef(ref[Any]):
    """A weak reference that knows where it is kept."""

    __slots__ = ("key",)

    key: int


class _State:
    """The cells of one object."""

    __slots__ = ("cells", "ref")

    def __init__(self, obj: object) -> None:
        self.cells: dict[str, _Cell] = {}
        self.ref = _ObjectRef(obj, _forget)
        self.ref.key = id(obj)


class Recording:
    """What is read while a `with` block runs; it goes on telling whether that has changed, until it is dropped.

    Not made of a generator: an interrupt in its machinery would leave that to end at any later time, in any thread.

    Scope: context (thread, asyncio task); it nests, and an outer recording also notes what is read in an inner one.
        Threads that are started inside are not seen, unless the context is handed to them.

    Attributes:
        open: whether it notes what is read.
        outdated: why what was read is no longer what it was; empty as long as it is.
    """

    __slots__ = ("__weakref__", "_outer", "_reads", "_watcher", "open", "outdated")

    def __init__(self) -> None:
        self._reads: dict[_Cell, Read] = {}
        self._watcher: Callable[[str], None] | None = None
        self._outer: tuple[Recording, ...] = ()
        self.open = True
        self.outdated = ""

    def __enter__(self) -> Self:
        # Without those that an interrupt kept from ending.
        outer = self._outer = tuple([each for each in active.get() if each.open])
        try:
            active.set((*outer, self))
        except BaseException:
            active.set(outer)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.open = False
        active.set(self._outer)
        self._outer = ()

    @property
    def reads(self) -> tuple[Read, ...]:
        """What was read, in the order of the first reads."""
        return tuple(self._reads.values())

    def watch(self, watcher: Callable[[str], None]) -> None:
        """Have `watcher(reason)` called, once, when something that was read changes.

        Args:
            watcher: called in the thread that makes the change. What changed before is only in `outdated`.
        """
        self._watcher = watcher

    def replay(self) -> None:
        """Note everything that was read here in the recordings of this context, as if it were read again."""
        for recording in active.get():
            for cell, read in tuple(self._reads.items()):
                recording._note(cell, read)
            if self.outdated:
                recording._outdate(self.outdated)

    def _note(self, cell: _Cell, read: Read) -> None:
        # A task that was started while recording may go on reading after the end.
        if self.open and cell not in self._reads:
            self._reads[cell] = read
            cell.readers[id(self)] = ref(self)

    def _outdate(self, reason: str) -> None:
        self.outdated = self.outdated or reason
        # Forgotten when it has been told, because a change that was interrupted is announced again.
        if (watcher := self._watcher) is not None:
            watcher(reason)
            self._watcher = None

    def __del__(self) -> None:
        # Empty-handed where an interrupt hit the constructor.
        for cell in getattr(self, "_reads", ()):
            cell.readers.pop(id(self), None)


_versions = count(1)


class _Announced:
    """What has been announced to have changed, whoever read it. Scope: process.

    Attributes:
        version: another one after each change.
    """

    version = 0


announced = _Announced()
_states: dict[int, _State] = {}
# The open recordings of this context, the outermost first.
active: ContextVar[tuple[Recording, ...]] = ContextVar("zrun_recordings", default=())
_guard = Guard()


def _forget(gone: _ObjectRef, states: dict[int, _State] = _states) -> None:
    # As a default, because objects die on after the names of a module have gone at the end of the interpreter.
    state = states.get(gone.key)
    if state is not None and state.ref is gone:
        del states[gone.key]


def _cell_of(obj: object, attribute: str) -> tuple[_Cell, Read]:
    state = _states.get(id(obj))
    if state is None or state.ref() is not obj:
        made = _State(obj)
        with _guard.lock:
            state = _states.get(id(obj))
            # An id may be in use again though the old object's reference was cleared without a word.
            if state is None or state.ref() is not obj:
                state = _states[id(obj)] = made
    cell = state.cells.get(attribute) or state.cells.setdefault(attribute, _Cell())
    return cell, Read(state.ref, attribute, cell.version)


def note_read(obj: object, attribute: str = WHOLE) -> None:
    """Note that the graph being built in this context depends on an object.

    Args:
        obj: the object; nothing is noted where Python cannot refer to it weakly.
        attribute: what of it; the default is the object as a whole, which `touch(obj)` and a bare `@invalidates`
            change.

    Scope: context.
    """
    if recordings := active.get():
        try:
            cell, read = _cell_of(obj, attribute)
        except TypeError:
            return
        for each in recordings:
            each._note(cell, read)


def changed(obj: object, attributes: Iterable[str] | None, reason: str) -> None:
    """Outdate the recordings that read these attributes of an object.

    Args:
        obj: the object.
        attributes: their names; None means all, and the object as a whole.
        reason: what happened, in words.

    Scope: process.
    """
    try:
        state = _states.get(id(obj))
        if state is None or state.ref() is not obj:
            return
        cells = dict(state.cells)
        for name in cells if attributes is None else attributes:
            if name in cells:
                cells[name].version = next(_versions)
                for reader in list(cells[name].readers.values()):
                    if (found := reader()) is not None:
                        found._outdate(reason)
    finally:
        # Last, so that what is computed under the new version no longer comes from an outdated graph.
        announced.version = next(_versions)
