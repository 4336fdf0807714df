"""Fault 12: a shared set of functions that were being traced; the engine of zrun-core, without TensorFlow."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from zrun_core import PythonBackend, RunManager
from zrun_core.errors import StructureError


class Graph:
    nbytes = 0

    def __init__(self, result):
        self.result = result

    def __call__(self, leaves):
        return self.result


class Tracer(PythonBackend):
    """Traces by running the body once with None for each input."""

    compiles = True

    def __init__(self):
        self.traces = 0

    def compile(self, build):
        self.traces += 1
        args, kwargs = build.arguments([None] * len(build.leaves))
        return Graph(build.body(*args, **kwargs))


def test_an_error_while_the_key_is_built_does_not_make_later_calls_eager():
    # After one such error every later call used to run eagerly, silently.
    run = RunManager(backend=Tracer())
    f = run.function(lambda x, y=1: "eager" if x is not None else "traced")
    with pytest.raises(StructureError):
        f(object())
    with pytest.raises(TypeError):
        f(1.5, nonsense=2)
    assert [f(1.5), f(2.5)] == ["traced", "traced"]
    assert run.backend.traces == 1


def test_an_error_while_tracing_does_not_make_later_calls_eager():
    run = RunManager(backend=Tracer())
    fails = [True]

    @run.function
    def f(x):
        if fails.pop():
            raise LookupError
        return "eager" if x is not None else "traced"

    with pytest.raises(LookupError):
        f(1.5)
    fails.extend([False, False])
    assert [f(1.5), f(2.5)] == ["traced", "traced"]


def test_a_thread_that_calls_during_a_trace_does_not_run_eagerly():
    # A second thread that called while the first was tracing used to run eagerly.
    run = RunManager(backend=Tracer())
    tracing, go_on = Event(), Event()

    @run.function
    def f(x):
        if x is None:
            tracing.set()
            assert go_on.wait(timeout=60)
        return "eager" if x is not None else "traced"

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(f, 1.5)
        assert tracing.wait(timeout=60)
        second = pool.submit(f, 2.5)
        assert not second.done()
        go_on.set()
        assert [first.result(timeout=60), second.result(timeout=60)] == ["traced", "traced"]
    assert run.backend.traces == 1
