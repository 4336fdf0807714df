"""Derivatives that are computed, told to whoever listens."""

from __future__ import annotations

from zrun_core._events import Event, emit, listening


def note_gradient(function: str, what: str, *, autograd: bool) -> None:
    """Emit an event for a derivative.

    Args:
        function: the name of the function.
        what: `"gradient"`, `"jacobian"`, `"hessian"`, ...
        autograd: whether it is automatic.

    Scope: process (whoever listens).
    """
    if listening("gradient"):
        emit(Event("gradient", function, what, "automatic" if autograd else "numerical"))
