"""What differs between the versions of Python, NumPy and TensorFlow, each with the version that ends it."""

from __future__ import annotations

import sys
from traceback import format_exception_only
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np


def byte_bounds(array: np.ndarray[Any, Any]) -> tuple[int, int]:
    """The addresses of the first byte of an array and of the one after its last."""
    import numpy as np

    if hasattr(np, "byte_bounds"):
        # Until NumPy 1.26 is dropped.
        return np.byte_bounds(array)  # type: ignore[no-any-return] # noqa: NPY201
    from numpy.lib.array_utils import byte_bounds as bounds

    return bounds(array)


def add_note(error: BaseException, text: str) -> bool:
    """Say something with an exception that is about to pass, once; False where exceptions carry no notes."""
    if sys.version_info >= (3, 11):
        if text not in getattr(error, "__notes__", ()):
            error.add_note(text)
        can = True
    else:
        # Until Python 3.10 is dropped.
        can = False
    return can


def with_note(error: BaseException, text: str) -> BaseException:
    """An exception that prints as another one does, with a note; for where exceptions carry no notes.

    Until Python 3.10 is dropped. For TensorFlow, which takes the kind and the text of it: the exception itself cannot
    be copied, and belongs to the user.
    """
    kind = type(error)
    # TensorFlow makes an error of a kind of its own of each of these.
    known = (ValueError, TypeError, StopIteration, MemoryError, NotImplementedError)
    base = next((one for one in known if isinstance(error, one)), Exception)
    names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    told: BaseException = type(kind.__name__, (base,), names)(f"{error}\n{text}")
    told.__cause__ = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return told.with_traceback(error.__traceback__)


def told_in(text: str, errors: Iterable[BaseException]) -> BaseException | None:
    """The first of several exceptions whose kind and message stand in a text; for where notes cannot tell which it was.

    Until Python 3.10 is dropped. Of two with the same kind and message, either may be meant.
    """
    said = (("".join(format_exception_only(type(error), error)).strip(), error) for error in errors)
    return next((error for line, error in said if f"\n{line}\n" in f"\n{text}\n"), None)


def nameless_between(named: int, nameless: int, between: int) -> int:
    """How many threads without a name are those that TensorFlow runs operations in, side by side.

    Until TensorFlow 2.20 is dropped, which gives its threads no names.

    Args:
        named: the threads of that pool that have its name.
        nameless: the threads without a name that may be of that pool.
        between: how many threads the pool was asked to have.
    """
    return 0 if named else min(nameless, between)
