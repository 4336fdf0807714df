"""Exceptions of Python operations that come out of a graph as they are, also where exceptions carry no notes."""

from __future__ import annotations

import pytest
import tensorflow as tf

import zrun_tf as zrun
from zrun_tf import _python_errors


@pytest.fixture
def no_notes(monkeypatch):
    """As on Python 3.10; this used to lose the exception there."""
    monkeypatch.setattr(_python_errors, "add_note", lambda error, text: False)


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


class MyError(Exception):
    """Cannot be made of its text alone."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (MyError(1, 2), tf.errors.UnknownError, "MyError: 1 and 2"),
        (KeyError("missing"), tf.errors.UnknownError, "KeyError: 'missing'"),
        (UnicodeDecodeError("utf8", b"a", 0, 1, "bad"), tf.errors.InvalidArgumentError, "UnicodeDecodeError: 'utf8'"),
        (TypeError("no number"), tf.errors.InvalidArgumentError, "TypeError: no number"),
        (StopIteration("ended"), tf.errors.OutOfRangeError, "StopIteration: ended"),
        (NotImplementedError("later"), tf.errors.UnimplementedError, "NotImplementedError: later"),
        (tf.errors.DataLossError(None, None, "lost"), tf.errors.UnknownError, "DataLossError: lost"),
    ],
    ids=lambda part: type(part).__name__ if isinstance(part, BaseException) else "",
)
@pytest.mark.parametrize("what", ["numpy_function", "py_function"])
@pytest.mark.parametrize("notes", [True, False])
def test_an_error_in_a_plain_graph_names_the_function(request, notes, what, error, kind, said):
    """This used to hold with notes only, that is, not on Python 3.10."""
    if not notes:
        request.getfixturevalue("no_notes")

    def failing(x):
        raise error from ZeroDivisionError("the reason")

    with pytest.raises(kind) as caught:
        tf.function(lambda x: getattr(zrun, what)(failing, [x]))(tf.constant(1.0))
    text = str(caught.value)
    assert said in text
    assert "raise error from" in text
    assert "ZeroDivisionError: the reason" in text
    assert text.count(f"This happened in {what} of test_an_error_in_a_plain_graph_names_the_function") in (1, 2)
    assert text.count("The above exception was the direct cause") == 1
    assert "During handling of the above exception" not in text
