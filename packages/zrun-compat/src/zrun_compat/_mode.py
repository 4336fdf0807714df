"""What `run.set_mode(...)` returns: the one object that sets for good and also for the length of a block."""

from __future__ import annotations

import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from zrun_core._fork import Guard
from zrun_core._scope import default
from zrun_core.errors import PolicyShadowedError, ZrunWarning

from ._caller import caller, discards_result, enters_result

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from zrun_core import Policy

    from ._deprecate import Notice
    from ._mode_names import ModeNames

_guard = Guard()
_not_entered: WeakSet[ModeChange] = WeakSet()


class ModeChange:
    """A change of the mode: for good where it was asked for by a call alone, for a block where by a `with` statement.

    A call alone sets the process default, as `zrun_tf.run.set_mode` does. A call in a `with` statement is a block, as
    `zrun_tf.run.using` is: the change holds for this context until the end of the block, however that is left. So,
    unlike in zfit, other threads and tasks do not see a block; `run.bind` hands it over.

    Where the object is kept, the call has set the process default; entering the object takes that back, unless it was
    set to something else since, and makes it a block. It can be entered again, and each time it sets and restores.

    Inside of another block, old or new, a default would be hidden. There a call whose result is thrown away raises
    `PolicyShadowedError`. One whose result is kept acts when the object is entered; if it never is, a `ZrunWarning`
    says so.

    Args:
        run: the run manager.
        set_for_good: zrun's `set_mode`.
        parts: the parts of the policy to change; none is allowed, and changes nothing.
        value: what `with` yields; None means the mode inside of the block.
        tensorflow: whether a block with `graph=False` has every `tf.function` of the process run eagerly, as the
            change for good has.
        notice: that the block is deprecated; None where the call has said so.

    Raises:
        PolicyError: a part has a value that it cannot take. Nothing is changed.
        PolicyShadowedError: the result is thrown away, and a block of this context would hide the change.
        IllegalInGraphError: the call is for good, and a graph is being built.

    Scope: process; in a `with` block, context.
    """

    _unused_at: tuple[str, int] | None = None

    def __init__(
        self,
        run: ModeNames,
        set_for_good: Callable[..., None],
        parts: Mapping[str, Any],
        *,
        value: Any = None,
        tensorflow: bool = True,
        notice: Notice | None = None,
    ) -> None:
        self._run, self._set_for_good, self._parts = run, set_for_good, parts
        self._value, self._notice = value, notice
        self._made: tuple[Policy, Policy] | None = None
        self._block = run.using(**parts, tensorflow=tensorflow and parts.get("graph") is False)
        frame = caller()
        if enters_result(frame) or not parts:
            return
        with _guard.lock:
            before = default()
            try:
                set_for_good(**parts)
            except PolicyShadowedError:
                if discards_result(frame):
                    raise
                self._unused_at = frame.f_code.co_filename, frame.f_lineno
            else:
                self._made = before, default()
                _not_entered.add(self)

    def __enter__(self) -> Any:
        """Turn the change into a block, or enter the block again.

        Returns:
            The value that was set: what `get_graph_mode` or `get_autograd_mode` would return, or the whole mode.
        """
        self._unused_at = None
        # First, so that a warning that is an error leaves everything as it was before the call.
        self._take_back()
        if self._notice is not None:
            self._notice.warn()
        self._block.__enter__()
        return self._run.mode if self._value is None else self._value

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Restore exactly what was there when the block was entered."""
        self._block.__exit__(kind, error, trace)

    def _take_back(self) -> None:
        """Put the default of before the call back, unless another one was set since."""
        with _guard.lock:
            made, self._made = self._made, None
            if made is None:
                return
            before, after = made
            # Inside of another block the change for good stays one.
            with suppress(PolicyShadowedError):
                if default() == after:
                    self._set_for_good(**{name: before.mode[name] for name in self._parts})
            # What was called later, and is still to be entered, has seen a default that is no more.
            for other in _not_entered:
                if other._made is not None and other._made[0] == after:
                    other._made = before, other._made[1]

    def __repr__(self) -> str:
        return f"set_mode({', '.join(f'{name}={value!r}' for name, value in self._parts.items())})"

    def __del__(self) -> None:
        if self._unused_at is not None:
            text = (
                f"{self!r} had no effect: a using block hides the process default, and the result was never entered. "
                f"Write 'with run.using(...)', or make the call before the block."
            )
            warnings.warn_explicit(text, ZrunWarning, *self._unused_at)
