"""Fault 14: tables that grew when they were read, and options that were accepted misspelt."""

from __future__ import annotations

import pytest

from zrun_core import Policy, run
from zrun_core._kinds import KINDS
from zrun_core.errors import UnknownKindError


def test_reading_an_unknown_kind_raises_and_adds_nothing():
    # Reading a key that was misspelt used to create it.
    before = KINDS.names()
    for _ in range(2):
        with pytest.raises(UnknownKindError, match="'typo_key'"):
            run.builds_graph("typo_key")
        with pytest.raises(UnknownKindError, match="'typo_key'"):
            run.policy.compiles("typo_key")
        assert "typo_key" not in KINDS
    assert KINDS.names() == before


def test_a_kind_that_is_known_by_its_parent_is_not_added():
    before = KINDS.names()
    assert run.builds_graph("model.pdf") is False
    assert KINDS.names() == before


def test_reading_the_mode_adds_nothing():
    with pytest.raises(KeyError):
        run.mode["grpah"]
    assert set(run.mode) == {"graph", "autograd"}
    with run.using(graph={"model": True}) as policy:
        with pytest.raises(KeyError):
            policy.graph["los"]
        assert policy.graph == {"model": True}


@pytest.mark.parametrize(
    "call",
    [
        lambda: run.set_mode(grpah=False),
        lambda: run.using(grpah=False),
        lambda: run.function(lambda: 0, knd="loss"),
        lambda: Policy(grpah=False),
        lambda: run.policy.changed(grpah=False),
    ],
)
def test_a_misspelt_option_is_an_error(call):
    # Misspelt options used to be accepted and to do nothing.
    before = run.policy
    with pytest.raises(TypeError, match=r"grpah|knd"):
        call()
    assert run.policy is before


def test_a_misspelt_attribute_is_an_error():
    with pytest.raises(AttributeError):
        _ = run.policy.grpah
    with pytest.raises(AttributeError):
        run.policy.grpah = False
