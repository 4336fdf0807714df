"""Exceptions of Python operations that come out of a graph as they are, also where exceptions carry no notes."""

from __future__ import annotations

import pytest
import tensorflow as tf

import zrun_tf as zrun
from zrun_tf import _python_errors
from zrun_tf._pyfunc import _graph


@pytest.fixture
def no_notes(monkeypatch):
    """As on Python 3.10; this used to lose the exception there."""
    for module in (_python_errors, _graph):
        monkeypatch.setattr(module, "add_note", lambda error, text: False)


@pytest.mark.usefixtures("no_notes")
def test_without_notes_an_exception_is_known_by_its_text(path):
    error = KeyError("first\nsecond")

    def failing(x):
        raise error

    compute = zrun.function(lambda x: zrun.numpy_function(failing, [x]))
    for _ in range(2):
        with pytest.raises(KeyError) as caught:
            compute(tf.constant(1.0))
        assert caught.value is error


@pytest.mark.usefixtures("no_notes")
def test_without_notes_the_latest_of_the_same_text_is_meant():
    older, newer, other = ValueError("same"), ValueError("same"), ValueError("sam")
    for error in (older, newer, other):
        _python_errors.remember(error)
    told = tf.errors.InvalidArgumentError(None, None, "ValueError: same\n\n\t [[node]]")
    assert _python_errors.original(told) is newer
    assert _python_errors.original(told) is older
    assert _python_errors.original(told) is None
    assert _python_errors.original(tf.errors.UnknownError(None, None, "text: ValueError: sam")) is None
    assert _python_errors.original(tf.errors.UnknownError(None, None, "ValueError: sam")) is other
