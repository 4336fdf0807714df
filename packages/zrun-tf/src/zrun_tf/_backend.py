"""TensorFlow as a backend: tracing, and the switches of which TensorFlow has only one per process."""

from __future__ import annotations

import warnings
from threading import RLock
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import tensorflow as tf

from zrun_core._structure import Flattening, Refusal, refused
from zrun_core.errors import DoNotTrace, ZrunWarning

from ._autograph import converted, note_missing_conversion
from ._constants import constants_of
from ._dispatch import executable
from ._evaluate import evaluate
from ._floats import FloatInput
from ._graph import Traced, placeholder
from ._leaves import COMPOSITES
from ._release import Release, give_back
from ._shadow import calls_python, exchange, tracing

if TYPE_CHECKING:
    from collections.abc import Hashable

    from zrun_core._backend import Build, Executable
    from zrun_core._policy import Policy

# What an operation of a graph takes in memory, measured on TensorFlow 2.16 to 2.21 (11 to 13 kB): an estimate.
BYTES_PER_OPERATION = 12_000


class TensorFlowBackend:
    """Traces with `tf.function` and runs concrete functions.

    Scope: process. `run_functions_eagerly` and the thread counts are TensorFlow's, one for the whole process.
    """

    name = "tensorflow"
    compiles = True

    def __init__(self) -> None:
        self._lock = RLock()
        self._eager_requests = 0
        self._default_asks = False
        self._users_switch = False
        self._release = Release()

    def is_tracing(self) -> bool:
        """Whether the code that calls this is being traced, by zrun or by a `tf.function`."""
        return not tf.executing_eagerly()

    def context(self) -> Hashable:
        """The distribution strategy in scope and the replica, which graphs are built for."""
        if not tf.distribute.has_strategy():
            return None
        strategy, replica = tf.distribute.get_strategy(), tf.distribute.get_replica_context()
        number = None if replica is None else int(replica.replica_id_in_sync_group)
        return _Place(type(strategy).__name__, id(strategy), number)

    def compile(self, build: Build) -> Executable:
        """Trace the body once, with placeholders for the leaves."""
        body = converted(build.body)
        result_keys: list[Any] = []
        composites = [leaf for leaf in build.leaves if isinstance(leaf, COMPOSITES)]

        def traced(*inputs: Any) -> list[Any]:
            symbolic = [
                FloatInput(inp) if isinstance(leaf, (float, complex)) and not hasattr(leaf, "dtype") else inp
                for leaf, inp in zip(build.leaves, inputs, strict=True)
            ]
            args, kwargs = build.arguments(symbolic)
            key, tensors = _take_result_apart(body(*args, **kwargs), build.name)
            result_keys.append(key)
            composites.extend(tensor for tensor in tensors if isinstance(tensor, COMPOSITES))
            if build.policy.check_numerics:
                tensors = [_checked(tensor, build.name) for tensor in tensors]
            return tensors

        self._release.settle()
        # XLA keeps what it compiled for good, so what few calls may share is compiled when it has been called often.
        at_once = build.jit and (build.own_jit or not build.opaque)
        function = tf.function(traced, autograph=False, jit_compile=at_once or None)
        try:
            with tracing() as asked:
                asked.compiled = bool(build.jit)
                concrete = function.get_concrete_function(*map(placeholder, build.leaves))
        except tf.errors.OperatorNotAllowedInGraphError as error:
            note_missing_conversion(error, build.body)
            raise
        for callback in asked.callbacks:
            callback(concrete)
        shadows = exchange(build.name, concrete, asked.variables, build.leaves)
        if asked.variables and calls_python(concrete):
            # What Python reads on its own is the user's variable, not its shadow.
            reason = f"{build.name} has variables for parameters and calls Python from its graph"
            warnings.warn(f"{reason}; it runs eagerly, so that Python sees them set.", ZrunWarning, stacklevel=2)
            raise DoNotTrace(reason)
        jit: Literal["no", "now", "later"] = "now" if at_once else "later" if build.jit else "no"
        constants = constants_of(concrete)
        made = executable(
            Traced(
                build.name,
                concrete,
                result_keys[-1],
                nbytes=BYTES_PER_OPERATION * len(concrete.graph.get_operations()) + constants.kept,
                jit=jit,
                notes=constants.notes(),
                whole=bool(composites),
                shadows=shadows,
                single=build.opaque,
            )
        )
        self._release.watch(made, concrete.graph)
        return made

    def default_changed(self, old: Policy, new: Policy) -> None:  # noqa: ARG002 - the protocol
        """Have every `tf.function` of the process follow `graph=False`, and give back what was set before."""
        # By what was asked for before, not by `old`: a change that was interrupted half-way is put right by the next.
        with self._lock:
            asks, self._default_asks = self._default_asks, new.graph is False
        if self._default_asks and not asks:
            self.request_eager()
        elif asks and not self._default_asks:
            self.release_eager()

    def request_eager(self) -> None:
        """Switch TensorFlow's `run_functions_eagerly` on; the first request remembers what the user had."""
        with self._lock:
            if self._eager_requests == 0:
                self._users_switch = tf.config.functions_run_eagerly()
                tf.config.run_functions_eagerly(True)
            self._eager_requests += 1

    def release_eager(self) -> None:
        """Undo one request; the last gives back what the user had, unless they changed it since."""
        with self._lock:
            self._eager_requests -= 1
            if self._eager_requests == 0 and tf.config.functions_run_eagerly():
                tf.config.run_functions_eagerly(self._users_switch)

    def evaluate(self, obj: Any) -> Any:
        """Tensors, and structures of them, as NumPy."""
        return evaluate(obj)

    def set_threads(self, intra: int | None, inter: int | None) -> None:
        """Set TensorFlow's thread counts. Scope: process, before its first operation."""
        from ._threads import set_threads

        set_threads(intra, inter)

    def release_memory(self) -> int:
        """Collect garbage and hand freed memory back to the system; returns the bytes the process shrank by."""
        return give_back()


class _Place(NamedTuple):
    """Where the code of a distribution strategy runs: for one replica, or for all of them (None)."""

    strategy: str
    identity: int
    replica: int | None

    def __str__(self) -> str:
        where = "across replicas" if self.replica is None else f"replica {self.replica}"
        return f"{self.strategy} at {self.identity:#x}, {where}"


def _take_result_apart(result: Any, name: str) -> tuple[Any, list[Any]]:
    """The key of a result and its tensors. Python numbers and the like are part of the key, as they are."""
    into = Flattening()
    try:
        key = into.visit(_without_operations(result))
    except Refusal as refusal:
        raise refused(refusal, f"{name}: the result") from None
    if into.weak:
        raise TypeError(
            f"{name}: the result holds an object of type {type(into.weak[0]).__name__}, which cannot leave a graph. "
            f"Return tensors, or containers, dataclasses and @struct classes of them."
        )
    return key, [_to_output(leaf) for leaf in into.leaves]


def _to_output(leaf: Any) -> Any:
    if isinstance(leaf, FloatInput):
        return leaf.tensor
    if isinstance(leaf, COMPOSITES):
        return leaf
    return tf.convert_to_tensor(leaf)


def _without_operations(result: Any) -> Any:
    """An operation without a value counts as None, as for `tf.function`."""
    return None if isinstance(result, tf.Operation) else result


def _checked(tensor: Any, name: str) -> Any:
    if isinstance(tensor, tf.Tensor) and tensor.dtype.is_floating:
        return tf.debugging.check_numerics(tensor, f"{name} returned NaN or infinity (check_numerics is on)")
    return tensor
