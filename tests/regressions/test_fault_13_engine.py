"""Fault 13: a broad retry; the engine of zrun-core, without TensorFlow."""

from __future__ import annotations

import pytest

from zrun_core import PythonBackend, RunManager


class Tracer(PythonBackend):
    compiles = True

    def compile(self, build):
        args, kwargs = build.arguments(build.leaves)
        raise AssertionError(build.body(*args, **kwargs))


@pytest.mark.parametrize("error", [KeyError, TypeError, ValueError, NotImplementedError, RuntimeError, RecursionError])
@pytest.mark.parametrize("backend", [Tracer, PythonBackend])
def test_an_error_of_the_user_runs_the_body_once(error, backend):
    # A KeyError of the user used to run the body twice.
    run = RunManager(backend=backend())
    raised = error("mine")
    runs = []

    @run.function
    def f(x):
        runs.append(x)
        raise raised

    with pytest.raises(error) as caught:
        f(1.5)
    assert caught.value is raised
    assert runs == [1.5]
