"""Fixtures for pytest, found through the entry point `zrun`. Nothing else of zrun imports pytest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .testing import TraceCounter


@pytest.fixture
def zrun_traces() -> Iterator[TraceCounter]:
    """Counts the traces of the test: `zrun_traces.total`, `zrun_traces.by_function`."""
    # Imported late, so that coverage sees these modules being imported.
    from .testing import count_traces

    with count_traces() as counter:
        yield counter


@pytest.fixture
def zrun_policy_unchanged() -> Iterator[None]:
    """Fails the test if it leaves another policy behind than it found."""
    from .testing import policy_unchanged

    with policy_unchanged():
        yield
