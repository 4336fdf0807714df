"""Derivatives that are computed, counted and told to whoever listens."""

from __future__ import annotations

from collections import Counter

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


class Evaluations(Counter[str]):
    """How often each method of an objective computed something, by name."""

    def note(self, function: str, what: str, *, autograd: bool) -> None:
        """Count one, and emit an event if it is a derivative."""
        self[what] += 1
        if what != "value":
            note_gradient(function, what, autograd=autograd)
