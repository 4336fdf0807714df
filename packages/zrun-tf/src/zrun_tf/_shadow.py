"""Graphs that set variables without touching the user's.

A loss that reads variables is traced as it stands: the graph assigns the parameters and reads them. Before it runs for
the first time, the variables it captured are exchanged for private ones of the same dtype and shape, its shadows. So
the user's variables hold what they held before, whatever happens inside, and other threads never see the assignment.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import chain
from typing import TYPE_CHECKING, Any, Final
from weakref import ref

import tensorflow as tf

from zrun_core.errors import StructureError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping


class AfterTracing:
    """What a function that is being traced asks to be done with its graph.

    Attributes:
        variables: those the graph is to set shadows of.
        callbacks: called with the concrete function.
        compiled: whether XLA is to compile the graph, now or later.
    """

    def __init__(self) -> None:
        self.variables: list[tf.Variable] = []
        self.callbacks: list[Callable[[Any], None]] = []
        self.compiled = False


_asked: ContextVar[AfterTracing | None] = ContextVar("zrun_after_tracing", default=None)


def shadow_of(variable: tf.Variable) -> tf.Variable:
    """A private variable of the same dtype and shape, and with the same value."""
    shadow = tf.Variable(variable, dtype=variable.dtype, trainable=variable.trainable, name="zrun_shadow")
    shadow.zrun_original = ref(variable)
    return shadow


# Shadows that nobody uses, by what tells them apart: making a variable takes longer than a step of a minimiser.
_free: Final[dict[Hashable, list[tf.Variable]]] = defaultdict(list)
_MOST_FREE: Final = 256


def borrow_shadow(variable: tf.Variable) -> tf.Variable:
    """A shadow whose value is to be set before it is read; given back with `give_back_shadows`.

    Args:
        variable: what it stands for.
    """
    try:
        shadow = _free[_like(variable)].pop()
    except IndexError:
        return shadow_of(variable)
    shadow.zrun_original = ref(variable)
    return shadow


def give_back_shadows(shadows: Mapping[int, tf.Variable]) -> None:
    """Have shadows used again by others.

    Args:
        shadows: nobody may use them any more.
    """
    for shadow in shadows.values():
        free = _free[_like(shadow)]
        if len(free) < _MOST_FREE:
            free.append(shadow)


def _like(variable: tf.Variable) -> Hashable:
    return variable.dtype, tuple(variable.shape), variable.trainable, variable.device


def ask(variables: Iterable[tf.Variable], callback: Callable[[Any], None]) -> None:
    """Called while tracing: have the graph set shadows of these variables, and the callback called with it."""
    asked = _asked.get()
    if asked is not None:
        asked.variables.extend(variables)
        asked.callbacks.append(callback)


@contextmanager
def tracing() -> Iterator[AfterTracing]:
    """A block in which what `ask` says is collected."""
    asked = AfterTracing()
    token = _asked.set(asked)
    try:
        yield asked
    finally:
        _asked.reset(token)


def traced_here() -> AfterTracing | None:
    """What has been asked for so far in the zrun function that is being traced here; None where none is."""
    return _asked.get()


def exchange(name: str, concrete: Any, variables: Iterable[tf.Variable], inputs: Iterable[Any]) -> list[tf.Variable]:
    """Have a concrete function read and set shadows where it captured these variables.

    Args:
        name: of the function, for messages.
        concrete: a concrete function.
        variables: what to exchange; those it did not capture are passed over.
        inputs: what it was traced for.

    Returns:
        The shadows, to be kept as long as the function is.

    Raises:
        StructureError: it reads a variable both as an input, which is a shadow, and directly.
    """
    originals = [held() for leaf in inputs if (held := getattr(leaf, "zrun_original", None)) is not None]
    twice = {id(v.handle): v for v in originals if v is not None}
    shadows = {id(v.handle): shadow_of(v) for v in variables}
    used: list[tf.Variable] = []
    captures = []
    for outside, _ in concrete.graph.captures:
        if id(outside) in twice:
            raise StructureError(
                f"{name} reads the parameter {twice[id(outside)].name} both as an argument (a field of its self, or "
                f"data) and directly (from a closure or a global). Read it in one way, so that a fit can set it and "
                f"leave yours alone."
            )
        shadow = shadows.get(id(outside))
        if shadow is not None:
            used.append(shadow)
        captures.append(outside if shadow is None else shadow.handle)
    if used:
        concrete.set_external_captures(captures)
    return used


def calls_python(concrete: Any) -> bool:
    """Whether a concrete function, or one that it calls, runs Python code of the host that zrun knows nothing of.

    What `numpy_function` and `py_function` of zrun run has inputs, and is refused if it reads a parameter besides.
    """
    definition = concrete.graph.as_graph_def()
    nodes = chain(definition.node, *(function.node_def for function in definition.library.function))
    calls = (node.name.rpartition("/")[2] for node in nodes if node.op in PYTHON_OPERATIONS)
    return not all(name.startswith(OWN_OPERATION) for name in calls)


PYTHON_OPERATIONS: Final = frozenset({"EagerPyFunc", "PyFunc", "PyFuncStateless"})

OWN_OPERATION: Final = "zrun_python"
"""How the operations are named with which zrun itself calls Python."""
