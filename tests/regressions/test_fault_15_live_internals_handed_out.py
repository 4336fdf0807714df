"""Fault 15: live internals handed out, so that anything could be written into the policy."""

from __future__ import annotations

import pytest

from zrun_core import DEFAULT_MODE, run

DICT_POLICY = {"model": True, "loss": False}


def write_mode():
    run.mode["graph"] = "nonsense"


def write_kind():
    run.mode["graph"]["model"] = "nonsense"


def write_policy_kind():
    run.policy.graph["model"] = "nonsense"


def write_jit_kind():
    run.policy.jit["loss"] = "nonsense"


def write_default_mode():
    run.DEFAULT_MODE["graph"] = "nonsense"


def write_exported_default_mode():
    DEFAULT_MODE["graph"] = "nonsense"


def write_attribute():
    run.policy.graph = "nonsense"


def write_manager():
    run.mode = {"graph": "nonsense"}


def delete_kind():
    del run.mode["graph"]["model"]


def clear():
    run.mode["graph"].clear()


@pytest.mark.parametrize(
    "write",
    [
        write_mode,
        write_kind,
        write_policy_kind,
        write_jit_kind,
        write_default_mode,
        write_exported_default_mode,
        write_attribute,
        write_manager,
        delete_kind,
        clear,
    ],
)
def test_what_is_handed_out_cannot_be_written_to(write):
    # `run.mode["graph"] = "nonsense"` used to be accepted.
    with run.using(graph=DICT_POLICY, jit={"loss": True}) as policy:
        with pytest.raises((TypeError, AttributeError)):
            write()
        assert run.policy is policy
        assert (policy.graph, policy.jit) == (DICT_POLICY, {"loss": True})
    assert dict(run.mode) == {"graph": "auto", "autograd": True} == dict(DEFAULT_MODE)


def test_a_dict_that_is_handed_out_is_a_copy():
    with run.using(graph=DICT_POLICY):
        run.current_policy_graph()["model"] = "nonsense"
        assert run.current_policy_graph() == DICT_POLICY


def test_a_dict_that_was_given_is_copied():
    given = dict(DICT_POLICY)
    block = run.using(graph=given)
    given["model"] = "nonsense"
    with block:
        assert run.current_policy_graph() == DICT_POLICY
