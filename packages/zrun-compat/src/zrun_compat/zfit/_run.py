"""`zfit.run` on zrun: the object stays, its mode and its caches are zrun's."""

from __future__ import annotations

from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any

import tensorflow as tf

import zrun_tf
from zrun_core._kinds import KINDS
from zrun_core._scope import default

from ._functions import kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_lock = Lock()


class OfZfit:
    """Parts of zrun's process default that are set through zfit, to be given back. Scope: process."""

    def __init__(self) -> None:
        self._before: dict[str, Any] = {}
        self._last: dict[str, Any] = {}

    def set(self, **parts: Any) -> None:
        """Set them."""
        before = default().mode
        zrun_tf.run.set_mode(**parts)
        after = default().mode
        for name in parts:
            self._before.setdefault(name, before[name])
            self._last[name] = after[name]

    def give_back(self) -> None:
        """Set what was there before zfit set anything, but for what somebody else has set since.

        Raises:
            PolicyShadowedError: a `using` block of this context would hide that. Nothing was changed.
        """
        now = default().mode
        parts = {name: self._before[name] for name, last in self._last.items() if now[name] == last}
        if any(now[name] != part for name, part in parts.items()):
            zrun_tf.run.set_mode(**parts)


def set_graph(of_zfit: OfZfit, graph: Any, *, set_backend: bool) -> None:
    """Set zrun's policy for graphs for the process, as zfit spells it.

    Args:
        of_zfit: remembers it.
        graph: True, False, `"auto"` or a dict of kinds.
        set_backend: whether False also has every `tf.function` run eagerly.
    """
    if isinstance(graph, dict):
        for kind in graph:
            if kind_of(kind, True) != kind and kind not in KINDS.names():
                raise ValueError(f"set_graph_mode: {kind!r} is no name of a kind of function. Use an identifier.")
    switch = tf.config.functions_run_eagerly()
    of_zfit.set(graph=dict(graph) if isinstance(graph, dict) else graph)
    if not set_backend:
        tf.config.run_functions_eagerly(switch)


def on_zrun(released: type[Any], registry: Any, of_zfit: OfZfit) -> type[Any]:
    """The class that `zfit.run` is given.

    Args:
        released: zfit's `RunManager`.
        registry: zfit's `FunctionWrapperRegistry`.
        of_zfit: remembers what is set.

    Returns:
        A class derived from `released`.
    """

    class RunManager(released):  # type: ignore[misc]
        """zfit's run manager, of which policy and caches are zrun's."""

        _cpu: list[str]

        @property
        def mode(self) -> dict[str, Any]:
            """The policy in force here; changing the dict changes nothing."""
            mode = zrun_tf.run.mode
            graph = mode["graph"]
            return {"graph": graph if isinstance(graph, (bool, str)) else dict(graph), "autograd": mode["autograd"]}

        def _set_graph_mode(self, graph: Any, *, set_backend: bool = True) -> None:
            set_graph(of_zfit, "auto" if graph is None else graph, set_backend=set_backend)
            # What was switched in zfit's own table was for the mode before.
            for kind in list(registry.do_jit_types):
                registry.do_jit_types[kind] = registry._DEFAULT_DO_JIT_TYPES[kind]

        def _set_autograd_mode(self, autograd: bool | None) -> None:
            if autograd is not None:
                of_zfit.set(autograd=autograd)
                super()._set_autograd_mode(autograd)

        @contextmanager
        def aquire_cpu(self, max_cpu: int = -1) -> Iterator[list[str]]:
            """Take CPUs out of the pool for the length of a block, however that is left."""
            if isinstance(max_cpu, bool) or not isinstance(max_cpu, int):
                raise TypeError(f"aquire_cpu: max_cpu must be an integer, where -1 means all; got {max_cpu!r}.")
            with _lock:
                count = min(max_cpu if max_cpu >= 0 else max(self.n_cpu + 1 + max_cpu, 0), self.n_cpu)
                split = self.n_cpu - count
                taken, self._cpu = self._cpu[split:], self._cpu[:split]
            try:
                yield taken
            finally:
                with _lock:
                    self._cpu = [*self._cpu, *taken]

    RunManager.__module__, RunManager.__qualname__ = released.__module__, released.__qualname__
    RunManager.__doc__ = released.__doc__
    return RunManager
