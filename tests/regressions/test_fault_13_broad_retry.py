"""The exception of a user's body passes through as it is, and the body has run once."""

from __future__ import annotations

import pytest

from zrun_core._cache import CacheOwner, GraphCache


@pytest.mark.parametrize("error", [KeyError("user"), RuntimeError("user"), TypeError("user"), ValueError("user")])
def test_the_body_runs_once(error):
    # A KeyError of the body used to be taken for a failed look-up, and the body ran a second time.
    cache, owner, calls = GraphCache(max_entries=None, sizeof=lambda value: 1), CacheOwner("loss"), []

    def body():
        calls.append(1)
        raise error

    with pytest.raises(type(error)) as raised:
        cache.get_or_build(owner, "key", body)
    assert raised.value is error
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None
    assert len(calls) == 1
    assert (owner.misses, owner.builds, cache.info().total.graphs) == (1, 0, 0)
