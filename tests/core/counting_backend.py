"""A tiny backend that "compiles" by counting, to prove the `Backend` protocol.

Its values are `Cell`s. Tracing runs the body once on symbolic cells, which note the operations; running the graph
replays them on the leaves of the call. So what is traced is really what runs later, as with a real backend: a value
that was baked in shows.
"""

from __future__ import annotations

import operator
import threading
from contextlib import contextmanager

from zrun_core._structure import LeafNode, add_visitor


class Cell:
    """A symbolic number: how to compute it from the leaves."""

    def __init__(self, compute):
        self.compute = compute

    def _with(self, other, operation):
        if isinstance(other, Cell):
            return Cell(lambda leaves: operation(self.compute(leaves), other.compute(leaves)))
        return Cell(lambda leaves: operation(self.compute(leaves), other))

    def __add__(self, other):
        return self._with(other, operator.add)

    def __mul__(self, other):
        return self._with(other, operator.mul)

    def __sub__(self, other):
        return self._with(other, operator.sub)

    __radd__ = __add__
    __rmul__ = __mul__

    def __float__(self):
        raise TypeError("a symbolic number has no value while it is traced")

    __bool__ = __int__ = __float__


class Array:
    """A leaf with a length, as arrays are."""

    def __init__(self, *values):
        self.values = values

    def __len__(self):
        return len(self.values)


ARRAY = LeafNode("array", lambda length: f"array ({length},)")
add_visitor(Array, lambda obj, into: into.leaf(obj, (ARRAY, len(obj))))


class CountingGraph:
    """A traced function."""

    def __init__(self, result, nbytes, build):
        self.result, self.nbytes = result, nbytes
        # Some backends keep what they were asked for; that must not keep arguments alive.
        self.build = build._replace(leaves=())
        self.runs = 0

    def __call__(self, leaves):
        self.runs += 1
        return self.result(leaves)


class CountingBackend:
    """Counts what it is asked to do.

    Attributes:
        traced: the names of the functions that were traced, in order.
        policies: the policies they were traced under.
        jits: whether each was to be compiled.
        defaults: the changes of the process default it was told of.
        threads: the thread counts it was given.
        place: what graphs depend on besides arguments and policy.
        before_trace: called before each trace.
    """

    name = "counting"
    compiles = True

    def __init__(self):
        self.traced = []
        self.policies = []
        self.jits = []
        self.defaults = []
        self.threads = []
        self.place = None
        self.before_trace = lambda: None
        self._here = threading.local()

    @property
    def traces(self):
        return len(self.traced)

    def is_tracing(self):
        return getattr(self._here, "depth", 0) > 0

    def context(self):
        return self.place

    @contextmanager
    def _tracing(self):
        self._here.depth = getattr(self._here, "depth", 0) + 1
        try:
            yield
        finally:
            self._here.depth -= 1

    def compile(self, build):
        self.traced.append(build.name)
        self.policies.append(build.policy)
        self.jits.append(build.jit)
        self.before_trace()
        symbolic = [Cell(lambda leaves, index=index: leaves[index]) for index in range(len(build.leaves))]
        with self._tracing():
            args, kwargs = build.arguments(symbolic)
            result = build.body(*args, **kwargs)
        return CountingGraph(_runner(result), 100 * (1 + len(symbolic)), build)

    def default_changed(self, old, new):
        self.defaults.append((old, new))

    def evaluate(self, obj):
        return obj.values if isinstance(obj, Array) else obj

    def set_threads(self, intra, inter):
        self.threads.append((intra, inter))

    def release_memory(self):
        return 12345


def _runner(result):
    """A function of the leaves that returns the result with its cells computed."""
    if isinstance(result, Cell):
        return result.compute
    if isinstance(result, (tuple, list)):
        parts = [_runner(part) for part in result]
        return lambda leaves: type(result)(part(leaves) for part in parts)
    return lambda leaves: result
