"""`z.function` on zrun: each function that zfit decorated is a function of zrun, called with its arguments as one.

What zrun cannot do for a function (a result that is no tensor, an argument that cannot be referred to) is done by zfit,
as released.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary, WeakSet

import numpy as np
import tensorflow as tf

import zrun_tf
from zrun_core._kinds import KINDS
from zrun_core._scope import current
from zrun_core.errors import DoNotTrace, StructureError
from zrun_tf._autograph import converted
from zrun_tf._leaves import COMPOSITES

from ._arguments import Call
from ._losses import NotShared, Plan
from ._state import NotUnderstood

if TYPE_CHECKING:
    from collections.abc import Callable

    from zrun_core._explain import Difference

# Arguments of `tf.function` that z.function sets or that zrun has, and those that change nothing of a result.
_UNDERSTOOD: Final = frozenset({"autograph", "jit_compile", "reduce_retracing", "experimental_relax_shapes"})
# CachedPDF creates variables in its graphs, from what it is called with, which takes the first call of a `tf.function`;
# TensorFlow raises this error, whose class is not public, where that is tried without a call.
_UNLIFTABLE: Final = "UnliftableError"
_NO_KIND: Final = "zfit"


class Unreturnable(Exception):  # noqa: N818 - a signal between modules of this package
    """A function returns what a graph of zrun cannot."""


class Surroundings:
    """What the functions need of zfit, found once.

    Args:
        registry: `zfit.z.zextension.FunctionWrapperRegistry`.
        do_not_compile: the exception with which a function asks to run eagerly.
        losses: the classes of losses that are taken apart.
        settings: gives what tracing reads of zfit's settings, as a hashable.
    """

    def __init__(
        self, registry: Any, do_not_compile: type[Exception], losses: tuple[type, ...], settings: Callable[[], Any]
    ) -> None:
        self.registry, self.do_not_compile, self.losses, self.settings = registry, do_not_compile, losses, settings
        self.released: Callable[[Any, Any], Any] = registry.__call__

    def builds_graph(self, wraps: str | None, kind: str) -> bool:
        """Whether functions of a kind build graphs: not where zfit's own table says so, else as zrun's policy says."""
        registry = self.registry
        switched_off = registry._DEFAULT_DO_JIT_TYPES[wraps] and not registry.do_jit_types[wraps]
        return registry.allow_jit and not switched_off and current().builds_graph(kind)


class OnZrun:
    """One function that zfit decorated.

    Args:
        around: what is needed of zfit.
        wrapper: zfit's `FunctionWrapperRegistry` object that decorated it.
        func: the Python function.
    """

    def __init__(self, around: Surroundings, wrapper: Any, func: Callable[..., Any]) -> None:
        self._around, self._wrapper, self._func = around, wrapper, func
        options = wrapper._initial_user_kwargs
        self._given_back = False
        # Losses that create variables when they are traced.
        self._creates: WeakSet[Any] = WeakSet()
        self.size = wrapper.cachesize
        self.kind = kind_of(wrapper.wraps, bool(around.registry._DEFAULT_DO_JIT_TYPES[wrapper.wraps]))
        self._plans: WeakKeyDictionary[Any, Plan | None] = WeakKeyDictionary()
        self._own: set[int] = set()
        if not _UNDERSTOOD.issuperset(options):
            self._give_back()
            return
        body = converted(func) if options.get("autograph") else func
        at_most = None if self.size == wrapper.DEFAULT_CACHE_SIZE else self.size
        self._function = zrun_tf.run.function(
            self._body(body), kind=self.kind, jit_compile=options.get("jit_compile"), max_graphs=at_most
        )
        owner, of_zfit = self._function.owner, func.__module__.partition(".")[0] == "zfit"
        owner.advise = advice_on_losses if of_zfit else advice
        # A user can do something about losses, nothing about what else zfit calls with whatever it calls it with.
        owner.watched = not of_zfit or wrapper.wraps == "loss"

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call it outside of any graph."""
        if not self._around.builds_graph(self._wrapper.wraps, self.kind):
            return self._func(*args, **kwargs)
        if self._given_back or (self._creates and self._of_loss(args) and args[0] in self._creates):
            return self._released(*args, **kwargs)
        plan = self._plan(args)
        try:
            if plan is not None:
                try:
                    return self._function(Call(args, kwargs, plan))
                except NotShared:
                    self._plans[args[0]] = None
                    if len(self._own) > 1000:
                        self._own.clear()
                    self._own.add(hash(plan.token))
            return self._function(Call(args, kwargs))
        except (StructureError, Unreturnable):
            self._give_back()
            return self(args, kwargs)
        except Exception as error:
            if type(error).__name__ != _UNLIFTABLE:
                raise
            if self._of_loss(args):
                self._creates.add(args[0])
            else:
                self._give_back()
            return self(args, kwargs)

    def forget(self) -> None:
        """Forget what was found out about losses, and the graphs of zfit where it was given back."""
        self._plans.clear()
        self._own.clear()
        self._wrapper.reset()

    def _give_back(self) -> None:
        self._given_back = True

    def _of_loss(self, args: tuple[Any, ...]) -> bool:
        return bool(args) and type(args[0]) in self._around.losses

    @cached_property
    def _released(self) -> Callable[..., Any]:
        """The function as zfit decorates it."""
        function: Callable[..., Any] = self._around.released(self._wrapper, self._func)
        return function

    def _plan(self, args: tuple[Any, ...]) -> Plan | None:
        if not self._of_loss(args):
            return None
        loss = args[0]
        if loss in self._plans:
            known = self._plans[loss]
            if known is None or known.is_for(loss):
                return known
        try:
            plan = Plan(loss, self._around.settings())
        except (NotUnderstood, AttributeError, RecursionError):
            self._plans[loss] = None
            return None
        made = self._plans[loss] = None if hash(plan.token) in self._own else plan
        return made

    def _body(self, func: Callable[..., Any]) -> Callable[[Call], Any]:
        losses, do_not_compile = self._around.losses, self._around.do_not_compile

        def body(call: Call) -> Any:
            if tf.executing_eagerly():
                return func(*call.args, **call.kwargs)
            # Nothing of the user's is in a loss that was taken apart, so what fails there is the taking apart.
            shared = bool(call.args) and type(call.args[0]) in losses and is_symbolic(call.args[0])
            try:
                return _returned(func(*call.args, **call.kwargs))
            except do_not_compile as error:
                if shared:
                    raise NotShared from error
                raise DoNotTrace(f"{func.__qualname__} asked to run eagerly") from error
            except Exception as error:
                if shared:
                    raise NotShared from error
                raise

        body.__qualname__ = body.__name__ = getattr(func, "__qualname__", "function of zfit")
        body.__module__ = getattr(func, "__module__", __name__)
        # zfit converts nothing that does not ask for it.
        body.autograph_info__ = {}  # type: ignore[attr-defined]
        return body


def advice(change: Difference) -> str:
    """What the user can do about a function of his own being traced again for a change."""
    if change.new is None or not change.new.static:
        return change.hint
    if change.new.text.startswith("the object "):
        return f"give the same object as {change.path} again; z.function knows objects by their identity"
    return f"give {change.path} as a tensor, which is an input; z.function knows Python values by value"


def advice_on_losses(change: Difference) -> str:
    """What the user can do about a function of zfit's losses being traced again for a change."""
    if change.new is None or not (change.path.startswith("call.args[0]") or change.new.text.startswith("the object ")):
        return ""
    return (
        "make the model once and only data and loss anew: losses of zfit's own classes on the same model and on data "
        "of the same shape share a graph (docs: zfit on zrun, 'Which losses share a graph')"
    )


def is_symbolic(loss: Any) -> bool:
    """Whether a loss was put together for a graph."""
    for data in loss._data:
        dataset = getattr(data, "dataset", None)
        held = () if dataset is None else (dataset._tensor, *dataset._tensormap.values())
        if hasattr(data, "holder"):
            held = (data.holder.values,)
        if any(isinstance(each, tf.Tensor) and not hasattr(each, "numpy") for each in held):
            return True
    return False


def _returned(result: Any) -> Any:
    """A result with numbers as tensors, as `tf.function` returns them."""
    if result is None or isinstance(result, (tf.Tensor, *COMPOSITES)):
        return result
    if isinstance(result, (bool, int, float, complex, str, bytes, np.ndarray, np.generic, tf.Variable)):
        return tf.convert_to_tensor(result)
    if isinstance(result, tf.Operation):
        return None
    if type(result) in (list, tuple):
        return type(result)(map(_returned, result))
    if type(result) is dict:
        return {name: _returned(part) for name, part in result.items()}
    raise Unreturnable(repr(type(result)))


def kind_of(wraps: Any, graph: bool) -> str:
    """The kind of function in zrun for what zfit calls `wraps`; made known where it is new."""
    kind = wraps if isinstance(wraps, str) and all(part.isidentifier() for part in wraps.split(".")) else _NO_KIND
    if kind not in KINDS.names():
        KINDS.define(kind, graph)
    return kind
