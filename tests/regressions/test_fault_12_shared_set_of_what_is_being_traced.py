"""What is being built is known per context; an error, or another thread, never makes a call run eagerly in silence."""

from __future__ import annotations

import threading

import pytest

from zrun_core._cache import CacheOwner, GraphCache, Reentrant

LONG = 60


def make():
    return GraphCache(max_entries=None, sizeof=lambda value: 1), CacheOwner("loss")


def fail(*args):
    raise RuntimeError("no key")


@pytest.mark.parametrize(
    "request_with_error",
    [
        pytest.param(
            lambda cache, owner: cache.get_or_build(owner, "key", lambda: 1, rows=fail), id="describing the key"
        ),
        pytest.param(lambda cache, owner: cache.get_or_build(owner, "key", lambda: 1, weak=[3]), id="weak references"),
        pytest.param(lambda cache, owner: cache.get_or_build(owner, "key", fail), id="the body"),
    ],
)
def test_an_error_on_the_way_leaves_no_mark(request_with_error):
    # This used to leave the function in the set of those being traced: every later call ran eagerly, silently.
    cache, owner = make()
    with pytest.raises((RuntimeError, TypeError)):
        request_with_error(cache, owner)
    for _ in range(2):
        assert cache.get_or_build(owner, "key", lambda: "graph") == "graph"
    assert owner.builds == 1


def test_a_failing_size_estimate_leaves_no_mark():
    cache, owner = make()
    cache._sizeof = fail
    with pytest.raises(RuntimeError):
        cache.get_or_build(owner, "key", lambda: "graph")
    cache._sizeof = lambda value: 1
    assert cache.get_or_build(owner, "key", lambda: "graph") == "graph"


def test_a_second_thread_waits_for_the_graph():
    # This used to find the function in the shared set, and ran its body eagerly.
    cache, owner = make()
    started, go_on, results = threading.Event(), threading.Event(), []

    def build():
        started.set()
        assert go_on.wait(LONG)
        return "graph"

    def call():
        try:
            results.append(cache.get_or_build(owner, "key", build))
        except Reentrant:
            results.append("ran eagerly")

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert started.wait(LONG)
    go_on.set()
    for thread in threads:
        thread.join(LONG)
    assert results == ["graph"] * 4
    assert owner.builds == 1


def test_only_the_context_that_builds_is_told_to_inline():
    cache, owner = make()
    seen = []

    def build():
        with pytest.raises(Reentrant):
            cache.get_or_build(owner, "key", build)
        # Another key of the same function is a graph of its own, not a recursion.
        seen.append(cache.get_or_build(owner, "another key", lambda: "another graph"))
        return "graph"

    assert cache.get_or_build(owner, "key", build) == "graph"
    assert seen == ["another graph"]
