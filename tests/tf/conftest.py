"""What the tests of zrun_tf share: the two ways in which a call of a graph is dispatched."""

from __future__ import annotations

import pytest

# A program of its own, which sets up devices when it is loaded.
collect_ignore = ["device_cases.py"]


@pytest.fixture(autouse=True)
def _retraces_of_this_test_only():
    # Tests share functions; how many traces of one fall into a minute would depend on how fast the machine is.
    from zrun_tf import run

    run.watch._histories.clear()


@pytest.fixture(params=["direct", "called", "public"])
def path(request, monkeypatch):
    """Run a test with the fast dispatch, with small graphs run by name or called by an operation from the first call
    on, and once more as if a private symbol of TensorFlow were missing.

    The value is the name of the path.
    """
    from zrun_tf import _dispatch

    if request.param == "public":
        with _dispatch.hidden():
            assert _dispatch.in_use() == "public"
            yield "public"
        return
    # Where this fails, TensorFlow has moved a private symbol, and nothing would be tested here.
    assert _dispatch.in_use() == "direct"
    if request.param == "called":
        monkeypatch.setattr(_dispatch, "CALLS_UNTIL_CALLED", (1, 1))
    yield request.param
