"""Whether this code is being traced, by whichever backend: what is process-wide cannot be set then."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import ref

from ._fork import Guard

if TYPE_CHECKING:
    from ._backend import Backend

_backends: tuple[ref[Backend], ...] = ()
_guard = Guard()


def know_backend(backend: Backend) -> None:
    """Have a backend asked by `is_tracing`.

    Args:
        backend: the backend; held weakly, and giving it again has no effect.

    Scope: process.
    """
    global _backends  # noqa: PLW0603 - replaced as a whole, so that asking needs no lock
    made = ref(backend)
    with _guard.lock:
        _backends = (*(held for held in _backends if held() is not None and held is not made), made)


def is_tracing() -> bool:
    """Whether the code that calls this is being traced by any backend of the process.

    Scope: context, as far as the backends tell contexts apart.
    """
    return any(backend is not None and backend.is_tracing() for backend in [held() for held in _backends])
