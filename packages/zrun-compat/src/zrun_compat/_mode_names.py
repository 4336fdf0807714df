"""The old names for the mode: set, got, and set for a block."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import tensorflow as tf
from typing_extensions import deprecated

import zrun_tf

from ._deprecate import Notice, old
from ._mode import ModeChange

if TYPE_CHECKING:
    from zrun_core._policy import GraphPolicy

_NO_MODE: Final = Notice("run.set_mode() without arguments", "Remove it: it changes nothing", removed_in="1.0")


class ModeNames(zrun_tf.RunManager):
    """The part of the run manager that answers to the old names for the mode."""

    def set_mode(  # type: ignore[override]  # zrun's returns None, which nobody uses
        self, graph: GraphPolicy | None = None, autograd: bool | None = None
    ) -> ModeChange:
        """Set the mode for good or, in a `with` statement, for a block; the block is deprecated.

        Args:
            graph: True, False, `"auto"` or a dict of kinds to bool; None leaves it as it is.
            autograd: whether derivatives are automatic; None leaves it as it is.

        Returns:
            The change; see `ModeChange`. `with` yields the mode.

        Raises:
            PolicyError: a part has a value that it cannot take. Nothing is changed.
            PolicyShadowedError: the call is for good, and a `using` block of this context would hide the new default.
            IllegalInGraphError: the call is for good, and a graph is being built.

        Scope: process; in a `with` block, context.
        """
        given_or_none: dict[str, Any] = {"graph": graph, "autograd": autograd}
        parts = {name: part for name, part in given_or_none.items() if part is not None}
        if not parts:
            _NO_MODE.warn()
            return ModeChange(self, super().set_mode, {})
        given = ", ".join(f"{name}={part!r}" for name, part in parts.items())
        block = Notice(f"with run.set_mode({given})", f"Write `with zrun.run.using({given}):`", removed_in="1.0")
        return ModeChange(self, super().set_mode, parts, notice=block)

    def set_mode_default(self) -> ModeChange:  # type: ignore[override]  # as for set_mode
        """Back to `graph="auto"` and `autograd=True`, for good or, in a `with` statement, for a block.

        Returns:
            The change; see `ModeChange`. `with` yields the mode.

        Raises:
            PolicyShadowedError: the call is for good, and a `using` block of this context would hide the new default.
            IllegalInGraphError: the call is for good, and a graph is being built.

        Scope: process; in a `with` block, context.
        """
        block = Notice(
            "with run.set_mode_default()", "Write `with zrun.run.using(graph='auto', autograd=True):`", removed_in="1.0"
        )
        return ModeChange(self, super().set_mode, self.DEFAULT_MODE, notice=block)

    @deprecated("Write `zrun.run.set_mode(graph=...)`, or `with zrun.run.using(graph=...):`", category=None)
    @old("run.set_graph_mode(...)", removed_in="1.0")
    def set_graph_mode(self, graph: GraphPolicy | None = None, *, set_backend: bool | None = None) -> ModeChange:
        """Set the policy for graph building, for good or, in a `with` statement, for a block.

        Args:
            graph: True, False, `"auto"` or a dict of kinds to bool; None means `"auto"`.
            set_backend: whether `graph=False` also has every `tf.function` of the process run eagerly; None means yes.

        Returns:
            The change; `with` yields the policy that was set.

        Scope: process; in a `with` block, context.
        """
        graph = "auto" if graph is None else graph
        backend_too = set_backend is None or bool(set_backend)
        switch = tf.config.functions_run_eagerly()
        change = ModeChange(self, super().set_mode, {"graph": graph}, value=graph, tensorflow=backend_too)
        if not backend_too:
            tf.config.run_functions_eagerly(switch)
        return change

    @deprecated("Write `zrun.run.set_mode(autograd=...)`, or `with zrun.run.using(autograd=...):`", category=None)
    @old("run.set_autograd_mode(...)", removed_in="1.0")
    def set_autograd_mode(self, autograd: bool | None = None) -> ModeChange:
        """Set whether derivatives are automatic, for good or, in a `with` statement, for a block.

        Args:
            autograd: True for automatic, False for numerical derivatives; None means True.

        Returns:
            The change; `with` yields what was set.

        Scope: process; in a `with` block, context.
        """
        autograd = True if autograd is None else autograd
        return ModeChange(self, super().set_mode, {"autograd": autograd}, value=autograd)

    @deprecated("Write `zrun.run.current_policy_graph()`", category=None)
    @old("run.get_graph_mode()", removed_in="1.0")
    def get_graph_mode(self) -> GraphPolicy:
        """The graph policy in force here. Scope: context."""
        return self.current_policy_graph()

    @deprecated("Write `zrun.run.current_policy_autograd()`", category=None)
    @old("run.get_autograd_mode()", removed_in="1.0")
    def get_autograd_mode(self) -> bool:
        """Whether derivatives are automatic here. Scope: context."""
        return self.current_policy_autograd()

    @deprecated("Write `tf.executing_eagerly()`, or `zrun.run.assert_executing_eagerly()`", category=None)
    @old("run.executing_eagerly()", removed_in="1.0")
    def executing_eagerly(self) -> bool:
        """Whether Python side effects are seen, that is whether no graph is being built."""
        return not self.backend.is_tracing()

    # -- experimental names, old in zfit 0.5 already ----------------------------------------------------------------

    @staticmethod
    @deprecated("Write `zrun.run.set_mode(graph=False)`", category=None)
    @old("run.experimental_enable_eager(...)", removed_in="0.3")
    def experimental_enable_eager(eager: bool = False) -> None:
        """Run everything as Python does (True), or everything as a graph (False). Scope: process."""
        zrun_tf.run.set_mode(graph=not eager)

    @property
    @deprecated("Write `zrun.run.current_policy_graph() is False`", category=None)
    @old("run.experimental_is_eager", removed_in="0.3", read=True)
    def experimental_is_eager(self) -> bool:
        """Whether no function builds a graph. Scope: context."""
        return self.current_policy_graph() is False

    @deprecated("Write `zrun.run.clear_graph_cache()`", category=None)
    @old("run.experimental_clear_caches()", removed_in="0.3")
    def experimental_clear_caches(self) -> None:
        """Drop every cached graph. Scope: process."""
        super().clear_graph_cache()
