"""Fault 7: a change that was half applied when it raised."""

from __future__ import annotations

import ast
import re

import pytest

from zrun_core import PythonBackend, RunManager
from zrun_core.errors import PolicyError


class Switch(PythonBackend):
    """A backend with a switch of which there is only one."""

    def __init__(self, fails=False):
        self.eager = False
        self.fails = fails

    def default_changed(self, old, new):
        if self.fails:
            raise OSError("the switch is stuck")
        self.eager = new.graph is False


@pytest.mark.parametrize("graph", ["bad", "default", 3, {"modle": True}, {"loss": "yes"}])
def test_an_invalid_mode_changes_neither_the_policy_nor_the_backend(graph):
    # This used to raise after the backend had been switched already.
    backend = Switch()
    run = RunManager(backend=backend)
    run.set_mode(graph=False)
    try:
        with pytest.raises(PolicyError):
            run.set_mode(graph=graph, autograd=False)
        assert backend.eager is True
        assert dict(run.mode) == {"graph": False, "autograd": True}
    finally:
        run.set_mode_default()
    assert backend.eager is False


def test_a_backend_that_refuses_leaves_the_policy_and_the_other_backends():
    first, stuck = Switch(), Switch(fails=True)
    run, other = RunManager(backend=first), RunManager(backend=stuck)
    before = run.policy
    try:
        with pytest.raises(OSError, match="stuck"):
            run.set_mode(graph=False)
        assert run.policy is other.policy is before
        assert first.eager is False
    finally:
        stuck.fails = False


def test_every_value_that_the_message_offers_is_accepted():
    # The message used to offer a value that was not accepted.
    run = RunManager()
    with pytest.raises(PolicyError) as raised:
        run.set_mode(graph="bad")
    offered = re.findall(r"True|False|'auto'|\{.*\}", str(raised.value).partition("; got")[0])
    assert len(offered) == 4
    for value in offered:
        with run.using(graph=ast.literal_eval(value)) as policy:
            assert policy.graph == ast.literal_eval(value)
