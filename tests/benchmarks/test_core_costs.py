"""What zrun-core adds to a call, beside the nearest thing in the standard library and in JAX."""

from __future__ import annotations

import contextvars
import dataclasses
import decimal
import functools
import pickle

import pytest

from zrun_core import CacheOwner, GraphCache, RunManager, current_policy, flatten, run

try:
    import jax
except ImportError:
    jax = None

_variable = contextvars.ContextVar("variable", default=0)


@dataclasses.dataclass
class Point:
    x: float
    y: float
    name: str = "p"


def _using():
    with block:
        pass


def _new_using():
    with run.using(graph=False):
        pass


block = run.using(graph=False)


def _contextvar():
    _variable.reset(_variable.set(1))


def _decimal_context():
    with decimal.localcontext():
        pass


def test_reading_the_policy(compare):
    peers = {"ContextVar.get": _variable.get, "decimal.getcontext": decimal.getcontext}
    if jax is not None:
        peers["jax.config.jax_enable_x64"] = lambda: jax.config.jax_enable_x64
    assert current_policy() is run.policy
    compare("read the policy", current_policy, peers)


def test_entering_and_leaving_a_block(compare):
    peers = {"ContextVar.set + reset": _contextvar, "decimal.localcontext": _decimal_context}
    if jax is not None:

        def jax_context():
            with jax.disable_jit():
                pass

        peers["jax.disable_jit"] = jax_context
    with block as policy:
        assert policy.graph is False
    compare("enter and leave a block", _using, peers)
    # As it is mostly written, and as its peer in JAX is: made anew each time, its parts checked.
    compare("with using(graph=False)", _new_using, peers)


ARGUMENTS = {
    "three floats": (1.0, 2.0, 3.0),
    "a dict and a list": ({"a": 1.0, "b": [2.0, 3.0]}, "name", 4),
    "a dataclass": (Point(1.0, 2.0), 3.0),
}


@pytest.mark.parametrize("what", ARGUMENTS)
def test_taking_arguments_apart(compare, what):
    arguments = ARGUMENTS[what]
    peers = {"pickle.dumps": lambda: pickle.dumps(arguments)}
    if jax is not None:
        if what == "a dataclass":
            jax.tree_util.register_dataclass(Point, data_fields=["x", "y"], meta_fields=["name"])
        peers["jax.tree.flatten"] = lambda: jax.tree.flatten(arguments)
    flat = flatten(arguments)
    assert flat.rebuild(flat.leaves) == arguments
    compare(f"flatten {what}", lambda: flatten(arguments), peers)


def test_a_hit_in_the_cache(compare):
    cache = GraphCache(max_entries=100, sizeof=lambda value: 1)
    owner = CacheOwner("f")
    key = ("f", 3, "double")
    cache.get_or_build(owner, key, lambda: "value")

    @functools.lru_cache(maxsize=100)
    def cached(*key):
        return "value"

    stored = {key: "value"}
    peers = {"functools.lru_cache": lambda: cached("f", 3, "double"), "dict.get": lambda: stored.get(key)}
    assert cache.get(owner, key) == cached("f", 3, "double") == stored.get(key)
    compare("cache hit", lambda: cache.get(owner, key), peers)


class _Same:
    """A backend whose programs are the Python functions."""

    name, compiles = "same", True

    def is_tracing(self):
        return False

    def context(self):
        return None

    def compile(self, build):
        program = functools.partial(_call, build)
        return _Program(program)

    def default_changed(self, old, new):
        pass

    def evaluate(self, obj):
        return obj

    def set_threads(self, intra, inter):
        pass

    def release_memory(self):
        return 0


class _Program:
    nbytes = 1

    def __init__(self, program):
        self.program = program

    def __call__(self, leaves):
        return leaves[0]


def _call(build, leaves):
    return build.body(*leaves)


def test_a_call_that_hits(compare):
    manager = RunManager(backend=_Same())

    @manager.function
    def function(x, y, z):
        return x

    assert function(1.0, 2.0, 3.0) == 1.0
    peers = {"a Python call": lambda: function.python_function(1.0, 2.0, 3.0)}
    if jax is not None:
        jitted = jax.jit(lambda x, y, z: x)
        peers["jax.jit, with its execution"] = lambda: jitted(1.0, 2.0, 3.0)
    compare("a decorated call that hits", lambda: function(1.0, 2.0, 3.0), peers)
