"""Putting zrun under zfit, before or after zfit is imported, and taking it away again."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version
from threading import RLock
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from zrun_core._tracing import is_tracing
from zrun_core.errors import IllegalInGraphError, ZrunError

from ._hook import Hook

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._functions import OnZrun
    from ._released import Exchange

SUPPORTED: Final = ("0.28",)
_SWAPPED: Final = (
    "numerical_gradient",
    "numerical_hessian",
    "autodiff_gradient",
    "autodiff_value_gradient",
    "autodiff_hessian",
    "automatic_value_gradient_hessian",
)
_LOSSES: Final = (
    "UnbinnedNLL",
    "ExtendedUnbinnedNLL",
    "BinnedNLL",
    "ExtendedBinnedNLL",
    "BinnedChi2",
    "ExtendedBinnedChi2",
)
_PLACE: Final = "_functions_on_zrun"

_lock: Final = RLock()
_functions: Final[WeakSet[OnZrun]] = WeakSet()
_hook: Hook | None = None
_undo: Callable[[], None] | None = None


class ZfitNotSupportedError(ZrunError, ImportError):
    """zfit is not installed, or in a version that zrun cannot be put under; nothing was changed."""


def install() -> None:
    """Put zrun under zfit: `zfit.run`, `z.function` with its cache of graphs, and the numerical derivatives.

    Before zfit is imported, it is done as soon as that has been. Called again, it changes nothing. No file of zfit is
    changed, and objects that were imported from it stay the same ones.

    Raises:
        ZfitNotSupportedError: zfit is not installed, or in another version than 0.28. Nothing was changed.
        PolicyShadowedError: `zfit.run` has a mode that a `using` block of this context would hide. Nothing was changed.
        IllegalInGraphError: a graph is being built.

    Scope: process.

    Example:
        >>> import zrun_compat.zfit
        >>> zrun_compat.zfit.install()  # doctest: +SKIP
    """
    global _hook  # noqa: PLW0603 - one per process
    with _lock:
        if _undo is not None or _hook is not None:
            return
        _check_outside_of_graphs("install")
        _check_version()
        module = sys.modules.get("zfit")
        if module is None:
            _hook = Hook("zfit", _zfit_was_imported)
            _hook.enter()
        elif getattr(module.__spec__, "_initializing", False):
            raise ZfitNotSupportedError(
                "zrun_compat.zfit.install() was called while zfit is being imported. Call it before or after."
            )
        else:
            _apply()


def uninstall() -> None:
    """Take zrun away from under zfit: everything is again as `install` found it.

    The mode of `zfit.run` is again the one from before `install`, and so is what zrun's policy was given through it.
    Graphs are dropped. Without `install` before, it changes nothing.

    Raises:
        PolicyShadowedError: the policy is to change, and a `using` block of this context would hide that. Nothing was
            changed.
        IllegalInGraphError: a graph is being built.

    Scope: process.
    """
    global _hook, _undo  # noqa: PLW0603 - one per process
    with _lock:
        if _hook is not None:
            _hook.leave()
            _hook = None
        if _undo is not None:
            _check_outside_of_graphs("uninstall")
            _undo()
            _undo = None


def installed() -> bool:
    """Whether zrun is under zfit, or will be as soon as zfit is imported. Scope: process."""
    return _undo is not None or _hook is not None


def _check_outside_of_graphs(name: str) -> None:
    if is_tracing():
        raise IllegalInGraphError(
            f"zrun_compat.zfit.{name}() was called while a graph is being built; what it drops and exchanges would be "
            f"in use. Call it outside of the function that is traced."
        )


def _check_version() -> None:
    try:
        found = version("zfit")
    except PackageNotFoundError:
        raise ZfitNotSupportedError(
            "zrun_compat.zfit.install() needs zfit, which is not installed. Install it: pip install 'zfit==0.28.*'"
        ) from None
    if ".".join(found.split(".")[:2]) not in SUPPORTED:
        raise ZfitNotSupportedError(
            f"zrun can be put under zfit {' and '.join(f'{each}.*' for each in SUPPORTED)}; zfit {found} is installed. "
            f"Install one of these (pip install 'zfit=={SUPPORTED[-1]}.*'), or leave zrun_compat.zfit.install() out."
        )


def _zfit_was_imported() -> None:
    global _hook  # noqa: PLW0603 - one per process
    with _lock:
        if _hook is None:
            return
        _hook.leave()
        _hook = None
        _apply()


def clear_caches(*, release_memory: bool = False) -> None:
    """Drop every graph and what zfit's objects have kept; what `zfit.run.clear_graph_cache` does on zrun.

    Args:
        release_memory: also collect garbage and give memory back to the system.
    """
    from zfit.util.cache import GraphCachable

    import zrun_tf

    for function in list(_functions):
        function.forget()
    zrun_tf.run.clear_graph_cache(release_memory=release_memory)
    for instance in list(GraphCachable.instances):
        instance.reset_cache("global")


def _apply() -> None:
    global _undo  # noqa: PLW0603 - one per process
    from ._released import Exchange

    exchange = Exchange()
    try:
        give_rest_back = _exchange_all(exchange)
    except BaseException:
        exchange.give_back()
        raise

    def undo() -> None:
        give_rest_back()
        exchange.give_back()
        from zfit.z.zextension import FunctionWrapperRegistry

        for wrapper in list(FunctionWrapperRegistry.registries):
            vars(wrapper).pop(_PLACE, None)

    _undo = undo


def _exchange_all(exchange: Exchange) -> Callable[[], None]:
    """Exchange everything; returns what gives mode and handlers back."""
    import tensorflow as tf
    import zfit
    from zfit.core.baseobject import OrderedSet
    from zfit.core.space import BaseSpace
    from zfit.util import cache
    from zfit.z import math, zextension

    from . import _templates
    from ._arguments import Visits
    from ._functions import OnZrun, Surroundings
    from ._handlers import Handlers
    from ._released import inner_code
    from ._run import OfZfit, on_zrun

    registry = zextension.FunctionWrapperRegistry
    released_code = inner_code(registry.__call__, "concrete_func")
    template = inner_code(_templates.outer, "concrete_func")
    if released_code is None or template is None or released_code.co_freevars != template.co_freevars:
        raise ZfitNotSupportedError(
            f"z.function of the installed zfit {version('zfit')} is not what zrun knows of 0.28, so zrun cannot be put "
            f"under it. Install zfit as released: pip install --force-reinstall 'zfit==0.28.*'"
        )

    def settings() -> Any:
        tables = (zfit.settings.ztypes, zfit.settings.options)
        return tuple(tuple((name, repr(table[name])) for name in sorted(table)) for table in tables)

    losses = tuple(getattr(zfit.loss, name) for name in _LOSSES)
    around = Surroundings(registry, zextension.DoNotCompile, losses, settings)
    Visits((BaseSpace,), OrderedSet)

    def call_on_zrun(self: Any, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not tf.executing_eagerly():
            if self.force_eager:
                raise zextension.DoNotCompile
            return func(*args, **kwargs)
        if self.force_eager or tf.config.functions_run_eagerly():
            return func(*args, **kwargs)
        made: dict[Any, OnZrun] = vars(self).setdefault(_PLACE, {})
        function = made.get(func)
        if function is None or function.size != self.cachesize:
            function = made[func] = OnZrun(around, self, func)
            _functions.add(function)
        return function(args, kwargs)

    released_call = registry.__call__

    def decorate(self: Any, func: Callable[..., Any]) -> Any:
        decorated = released_call(self, func)
        exchange.closure(decorated)
        return decorated

    released_reset = cache.GraphCachable.reset_cache

    def reset_cache(self: Any, reseter: Any) -> None:
        released_reset(self, reseter)
        if not tf.executing_eagerly():
            # Outside of graphs zfit clears all by itself.
            clear_caches()

    of_zfit = OfZfit()
    give_mode_back = _take_mode(zfit, registry, of_zfit)
    exchange.attribute(registry, "_call_on_zrun", call_on_zrun)
    exchange.attribute(registry, "__call__", decorate)
    exchange.attribute(cache.GraphCachable, "reset_cache", reset_cache)
    exchange.function(cache.clear_graph_cache, _templates.clear_graph_cache)
    for name in _SWAPPED:
        exchange.function(getattr(math, name), getattr(_templates, name))
    exchange.closures(released_code, template)
    zfit.run.__class__ = on_zrun(type(zfit.run), registry, of_zfit)
    handlers = Handlers((zfit.Data, zfit.data.BinnedData), zfit.Parameter, losses, settings)

    def give_rest_back() -> None:
        give_mode_back()
        handlers.leave()

    return give_rest_back


def _take_mode(zfit: Any, registry: Any, of_zfit: Any) -> Callable[[], None]:
    """Hand the mode of zfit.run to zrun where it is not the default; returns what undoes that and what came after."""
    import tensorflow as tf

    import zrun_tf

    from ._run import set_graph

    run, options, released = zfit.run, zfit.settings.options, type(zfit.run)
    mode, numerical, table = dict(run._mode), options.numerical_grad, dict(registry.do_jit_types)
    switch = tf.config.functions_run_eagerly()
    if mode["graph"] != "auto":
        set_graph(of_zfit, mode["graph"], set_backend=switch)
    if not mode["autograd"]:
        of_zfit.set(autograd=False)
    if not zrun_tf.run.current_policy_autograd():
        options.numerical_grad = True
    for kind in registry.do_jit_types:
        registry.do_jit_types[kind] = registry._DEFAULT_DO_JIT_TYPES[kind]

    def give_back() -> None:
        # First, since it may be refused.
        of_zfit.give_back()
        clear_caches()
        run.__class__ = released
        run._mode.update(mode)
        options.numerical_grad = numerical
        registry.do_jit_types.update(table)
        tf.config.run_functions_eagerly(switch)

    return give_back
