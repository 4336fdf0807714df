"""The decorated function, with what TensorFlow needs on top of zrun-core's, and the short way to a known entry.

Tensors, NumPy arrays and floats say all that a key needs by their types, dtypes and shapes; whole numbers, bools,
strings and None by their values. So after the first call of a structure with such arguments, its entry in the cache is
found by a short key of these, without taking anything apart. It is checked as in any other look-up: what is evicted,
outdated or gone is not used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar
from weakref import ref

import numpy as np

from zrun_core._events import listening
from zrun_core._function import Function as CoreFunction
from zrun_core._kinds import KINDS
from zrun_core._scope import current
from zrun_core._structure import Flattening

from ._autograph import DO_NOT_CONVERT, converted
from ._dispatch import DirectGraph, direct, in_strategy
from ._graph import NUMBERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from zrun_core._function import Ruling

    from ._carried import Carried
    from ._dispatch import Symbols

P = ParamSpec("P")
R = TypeVar("R")

_BY_VALUE: Final = frozenset({int, bool, str, bytes, type(None)})
# A function with very many structures would fill its memo with references to what is no longer there.
_MOST_REMEMBERED: Final = 256


class Function(CoreFunction[P, R]):
    """A decorated function. AutoGraph leaves its machinery alone and converts its body only."""

    autograph_info__ = DO_NOT_CONVERT

    def __init__(self, body: Callable[P, R], *args: Any, **options: Any) -> None:
        super().__init__(body, *args, **options)
        # How many positional arguments make a call that may have a short key.
        self._plain = -1 if self._signature.static else self._signature.exact
        # Entries that have no short way, so that it is not looked for at each call.
        self._slow: dict[tuple[Any, ...], ref[Any]] = {}

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        ruling = self._ruling
        private = direct.symbols
        if private is None or ruling is None or kwargs or len(args) != self._plain or not ruling.graph:
            return super().__call__(*args, **kwargs)
        # One long function, because what is called between two executions of a graph costs several times its length:
        # TensorFlow leaves little of it in the processor's caches.
        context = private.context()
        if not ruling.memo:
            # `run.explain` may have been all so far, or another thread traces the first graph; a tensor that is made
            # before TensorFlow has started would crash.
            context.ensure_initialized()
        state = private.state_of(context)
        eager_tensor = private.EagerTensor
        # An empty name is looked up, which takes three times as long as the rest.
        device = state.device_name or None
        key: list[Any] = []
        inputs: list[Any] = []
        given: tuple[Any, ...] = args
        for arg in given:
            cls = type(arg)
            if cls is eager_tensor:
                key += (private.dtype_of(arg), private.shape_of(arg))
                inputs.append(arg)
            elif cls is float:
                key.append(cls)
                # Not of the number, which TensorFlow 2.16 crashes on without the name of a device.
                inputs.append(eager_tensor(np.array(arg), device, None))
            elif cls is np.ndarray and arg.dtype.char in NUMBERS:
                key += (arg.dtype, arg.shape)
                # A tensor may share the memory of an array, which can change later.
                inputs.append(eager_tensor(arg.copy(), device, None))
            elif cls in _BY_VALUE:
                key += (cls, arg)
            else:
                return super().__call__(*args, **kwargs)
        short = tuple(key)
        held = ruling.memo.get(short)
        entry = held() if held is not None else None
        graph = self._usable(entry, ruling, private, state)
        if graph is not None:
            return graph.finish(graph.execute(inputs, context))  # type: ignore[no-any-return]
        result = super().__call__(*args, **kwargs)
        if entry is None:
            self._remember(short, args)
        return result

    def _remember(self, short: tuple[Any, ...], args: tuple[Any, ...]) -> None:
        """Note where the entry for a call is, after it was made."""
        ruling, backend = self._ruling, self._manager.backend
        # What was traced under a distribution strategy is for that alone.
        if ruling is None or not ruling.graph or backend.is_tracing() or backend.context() is not None:
            return
        slow = self._slow.get(short)
        if slow is not None and slow() is not None:
            return
        entry = self._owner.table.get(self._take_apart(args, ruling)[0])
        if entry is None:
            return
        memo = ruling.memo if isinstance(entry.value, DirectGraph) else self._slow
        if len(memo) >= _MOST_REMEMBERED:
            memo.clear()
        memo[short] = ref(entry)

    def _usable(self, entry: Any, ruling: Ruling, private: Symbols, state: Any) -> DirectGraph | None:
        """The graph of an entry that was found by a short way, if this call may use it as it is."""
        if (
            entry is None
            or not state.is_eager
            or ruling.policy is not current()
            or ruling.generation != KINDS.generation
            or not private.no_tape()
            or private.cancellation() is not None
            or in_strategy(private)
        ):
            return None
        graph: DirectGraph | None = self._manager.cache.use(self._owner, entry)
        if graph is not None and listening("hit"):
            self._emit("hit")
        return graph

    def run_with(self, carried: Carried, last: Any) -> R:
        """A call of which all arguments but the last were taken apart before.

        Args:
            carried: these arguments.
            last: the last one, which is a leaf.

        Returns:
            The result.
        """
        ruling = self._ruling
        private = direct.symbols
        at = (self._owner.token, ruling.bits if ruling is not None else None)
        held = carried.memo.get(at)
        entry = held() if held is not None else None
        if (
            entry is not None
            and ruling is not None
            and private is not None
            and carried.inputs is not None
            and type(last) is np.ndarray
        ):
            context = private.context()
            state = private.state_of(context)
            graph = self._usable(entry, ruling, private, state)
            if graph is not None:
                tensor = private.EagerTensor(last.copy(), state.device_name or None, None)
                return graph.finish(graph.execute([*carried.inputs, tensor], context))  # type: ignore[no-any-return]
        into = Flattening()
        parts = (*carried.parts, into.visit(last))
        taken = carried.with_last(into.leaves[0])
        result = self.run_taken((*carried.arguments, last), parts, taken)
        ruling = self._ruling
        if entry is None and carried.inputs is not None and ruling is not None and ruling.graph:
            # What was traced under a distribution strategy is not found: it is for that alone.
            entry = self._owner.table.get((ruling.bits, None, *parts))
            if entry is not None and isinstance(entry.value, DirectGraph):
                carried.memo[self._owner.token, ruling.bits] = ref(entry)
        return result

    def _run_inline(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return converted(self._body)(*args, **kwargs)  # type: ignore[no-any-return]
