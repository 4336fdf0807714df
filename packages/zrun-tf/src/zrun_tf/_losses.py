"""What an objective computes, as zrun functions of (loss, parameters, vector, data): one set for each loss function.

The loss is an argument like any other: a plain function by its identity, a method with `self` taken apart. So a new
model object of the same structure, with new data, runs the same graphs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, ref

from zrun_core._fork import Guard
from zrun_core._manager import UNSET
from zrun_core._scope import current
from zrun_core._structure import (
    REFERENCE,
    Flattening,
    KeyRow,
    Node,
    add_visitor,
    visit_opaque,
)

from ._autograph import leave_alone
from ._carried import Carried, state_of
from ._data import as_inputs
from ._parameters import Bound
from ._problem import COMPILED_BATCH, COMPUTE, Problem
from ._run import run as manager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import tensorflow as tf

    from zrun_core._policy import Chunksize
    from zrun_core._structure import Key, Rebuilding

    from ._chunked_objective import ByPolicy
    from ._function import Function


class _BoundNode(Node):
    """(node, layout, *variables): the parameters of a loss as an argument.

    A variable that the loss carries with it, as a field of its `self`, is known by its place there; one that the loss
    merely refers to is known by its identity.
    """

    def rebuild(self, key: Key, to: Rebuilding) -> Any:
        return Bound(key[1], tuple(to.build(child) for child in key[2:]))

    def rows(self, key: Key, path: str) -> Iterator[KeyRow]:
        yield KeyRow(path, ", ".join(key[1].entries()), True)
        for index, child in enumerate(key[2:]):
            yield from child[0].rows(child, f"{path}[{index}]")


_BOUND = _BoundNode()


def _visit_bound(params: Bound, into: Flattening) -> Key:
    keys: list[Key] = []
    for index, variable in enumerate(params.variables):
        if (found := into.seen.get(id(variable))) is None:
            keys.append(visit_opaque(variable, into))
            continue
        keys.append((REFERENCE, found[0]))
        # The graph sets its inputs, so it gets private ones.
        place = next(i for i, leaf in enumerate(into.leaves) if leaf is variable)
        into.leaves[place] = params.shadow(index)
    return (_BOUND, params.layout, *keys)


add_visitor(Bound, _visit_bound)


class LossFunctions:
    """The zrun functions that compute a loss and its derivatives.

    Args:
        loss: the loss; only its name and kind are kept.

    Attributes:
        name: of the loss, for messages.
    """

    def __init__(self, loss: Callable[..., Any]) -> None:
        self.name = getattr(loss, "__qualname__", type(loss).__qualname__)
        self._kind = getattr(loss, "kind", "loss")
        self._functions: dict[str, Function[..., Any]] = {}
        # The variables that it reads besides its parameters, as far as it has been seen to.
        self._others: list[ref[tf.Variable]] = []

    def inputs(self, data: dict[str, Any]) -> dict[str, Any]:
        """The data as `Carried` takes them."""
        return as_inputs(data)

    def run(self, what: str, carried: Carried, x: Any) -> Any:
        """Compute `"value"`, `"gradient"`, `"jacobian"`, `"hessian"` or, for `Rows` of points, `"batch"`.

        Args:
            what: which of these.
            carried: what the loss is called with besides `x`.
            x: a float64 array of shape `(n,)`, or `Rows` of such.
        """
        if what == "batch" and current().compiles(self._kind):
            what = COMPILED_BATCH
        return (self._functions.get(what) or self._function(what)).run_with(carried, x)

    def _function(self, what: str) -> Function[..., Any]:
        found = self._functions.get(what)
        if found is None:
            compute = COMPUTE[what]

            @leave_alone
            # `params` after all that may carry variables of theirs, which are then known by their place there.
            def body(loss: Callable[..., Any], data: Mapping[str, Any], params: Bound, x: tf.Tensor) -> Any:
                own = {id(v) for v in params.variables}
                problem = Problem(self.name, loss, params, data, lambda read: self._note(read, own))
                return problem.solve(compute, x)

            body.__qualname__ = f"{self.name} ({what})"
            # Of a batch, it is the loss that is compiled: XLA would run the loop around it on one core.
            jit = False if what in ("batch", COMPILED_BATCH) else None
            made: Any = manager.function(kind=self._kind, jit_compile=jit)(body)
            found = self._functions.setdefault(what, made)
        return found

    def _note(self, read: Iterable[tf.Variable], own: set[int]) -> None:
        # A variable that is an input of a graph has no value here; its owner is an argument.
        others = {id(v): v for v in read if id(v) not in own and hasattr(v.handle, "numpy")}
        with _guard.lock:
            alive = {id(v): held for held in self._others if (v := held()) is not None}
            # In place, since it is shared; and without those that are gone, of objects that come and go.
            self._others[:] = [*alive.values(), *(ref(v) for key, v in others.items() if key not in alive)]

    def other_state(self) -> tuple[Any, ...]:
        """The values of the variables that the loss reads besides its parameters, as far as it has been seen to."""
        alive = [v for held in list(self._others) if (v := held()) is not None]
        return tuple(state_of(v) for v in alive)


_guard = Guard()
_known: WeakKeyDictionary[Any, LossFunctions] = WeakKeyDictionary()


def functions_of(loss: Callable[..., Any], chunksize: Chunksize = None) -> LossFunctions:
    """The functions of a loss: one set for each Python function, shared by the objects it is a method of.

    Args:
        loss: the loss.
        chunksize: rows of the data that it is given at once, or `"auto"`; None: all of them; `UNSET`: as the policy
            says at each call.
    """
    if chunksize is UNSET:
        return PolicyFunctions(loss)
    if chunksize is not None:
        from ._chunked_objective import ChunkedFunctions

        return ChunkedFunctions(loss, chunksize)
    function = getattr(loss, "__func__", loss)
    try:
        found = _known.get(function)
        return found if found is not None else _known.setdefault(function, LossFunctions(loss))
    except TypeError:
        # Neither hashable nor weakly referable: a callable object with functions of its own.
        return LossFunctions(loss)


class PolicyFunctions(LossFunctions):
    """What an objective computes, in one piece or chunk by chunk, as the policy says at each call.

    Args:
        loss: the loss.
    """

    def __init__(self, loss: Callable[..., Any]) -> None:
        super().__init__(loss)
        self._loss = loss
        self._whole = functions_of(loss)
        self._chunked: ByPolicy | None = None

    def other_state(self) -> tuple[Any, ...]:
        """See `LossFunctions.other_state`."""
        state = self._whole.other_state()
        return state if self._chunked is None else (*state, *self._chunked.other_state())

    def run(self, what: str, carried: Carried, x: Any) -> Any:
        """See `LossFunctions.run`."""
        functions = self._whole if current().chunksize is None or what == "jacobian" else self._in_chunks(carried)
        return functions.run(what, carried, x)

    def _in_chunks(self, carried: Carried) -> LossFunctions:
        """Those that go through the data in chunks, if there are data with rows."""
        if self._chunked is None:
            from ._chunked_objective import ByPolicy

            self._chunked = ByPolicy(self._loss)
        return self._chunked if self._chunked.has_rows(carried) else self._whole
