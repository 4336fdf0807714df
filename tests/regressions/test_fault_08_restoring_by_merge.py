"""Fault 8: a policy that was restored by merging."""

from __future__ import annotations

import pytest

from zrun_core import run


@pytest.mark.parametrize("error", [None, LookupError])
def test_a_dict_policy_is_restored_exactly(error):
    # After a block that set {"model": True} inside a dict policy, "model" used to stay True.
    run.set_mode(graph={"loss": False})
    try:
        before = run.policy
        if error is None:
            with run.using(graph={"model": True}):
                assert run.current_policy_graph() == {"model": True}
        else:
            with pytest.raises(error), run.using(graph={"model": True}):
                raise error
        assert run.policy is before
        assert run.current_policy_graph() == {"loss": False}
        assert not run.builds_graph("model")
    finally:
        run.set_mode_default()
    assert run.current_policy_graph() == "auto"


def test_setting_a_dict_policy_replaces_the_one_before():
    run.set_mode(graph={"model": True})
    try:
        run.set_mode(graph={"loss": False})
        assert run.current_policy_graph() == {"loss": False}
    finally:
        run.set_mode_default()
