"""Fault 6: a block that acted in its constructor."""

from __future__ import annotations

from zrun_core import run


def test_making_a_block_changes_nothing():
    # The policy used to change when the object was made, with or without a `with`.
    before = run.policy
    run.using(graph=False)
    assert run.policy is before


def test_a_second_with_on_the_same_object_works():
    # The second `with` used to do nothing.
    block = run.using(graph=False)
    seen = []
    for _ in range(3):
        with block:
            seen.append(run.current_policy_graph())
    assert seen == [False, False, False]
    assert run.current_policy_graph() == "auto"


def test_interleaved_exits_end_where_it_began():
    # This used to end with the policy of a block that had been left.
    before = run.policy
    first, second = run.using(graph=False), run.using(graph=True)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    assert run.policy is before


def test_a_block_within_itself_restores_each_level():
    before = run.policy
    block = run.using(graph=False)
    with block:
        outer = run.policy
        with run.using(graph=True), block:
            pass
        assert run.policy is outer
    assert run.policy is before
