"""The package's own names: loaded when they are used."""

from __future__ import annotations

import pytest

import zrun_core


def test_every_name_can_be_had_and_is_listed():
    assert [name for name in zrun_core.__all__ if getattr(zrun_core, name, None) is None] == []
    assert set(zrun_core.__all__) <= set(dir(zrun_core))


def test_a_module_of_the_package_is_loaded_when_it_is_asked_for(monkeypatch):
    import zrun_core.testing as loaded

    # Python sets the attribute when the module is first imported, so take it away to see it fetched.
    monkeypatch.delattr(zrun_core, "testing")

    assert zrun_core.testing is loaded


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'zrun_core' has no attribute 'nothing'"):
        zrun_core.nothing  # noqa: B018
