"""Fault 5: two copies of one policy."""

from __future__ import annotations

import pytest

import zrun_tf as zrun


def is_numerical():
    calls = []
    zrun.gradient(lambda x: (calls.append(1), x**2)[1], 1.0)
    return len(calls) > 1


@pytest.mark.parametrize("autograd", [True, False])
def test_what_the_run_manager_says_is_what_derivatives_do(autograd):
    # Setting one of the two copies used to leave the other, which was the one reported.
    zrun.run.set_mode(autograd=autograd)
    try:
        assert zrun.run.current_policy_autograd() is zrun.run.mode["autograd"] is autograd
        assert is_numerical() is not autograd
        with zrun.run.using(autograd=not autograd):
            assert zrun.run.current_policy_autograd() is zrun.run.policy.autograd is not autograd
            assert is_numerical() is autograd
    finally:
        zrun.run.set_mode_default()
    assert zrun.run.current_policy_autograd() is True
    assert is_numerical() is False
