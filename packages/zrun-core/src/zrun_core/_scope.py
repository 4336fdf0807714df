"""Where the policy lives: one default per process, one `ContextVar` on top of it.

A `using` block pushes a frame that holds a whole policy; leaving it takes that very frame out again. Reading the
policy is one look at the context variable.
"""

from __future__ import annotations

from contextlib import ExitStack
from contextvars import ContextVar
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, ParamSpec, TypeVar
from weakref import WeakMethod

from ._decorate import is_coroutine_function, within
from ._fork import Guard
from ._policy import Policy, checked_parts
from .errors import PolicyShadowedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

P = ParamSpec("P")
R = TypeVar("R")


class _Frame(NamedTuple):
    policy: Policy
    owner: object
    parent: _Frame | None


class _Process:
    """What there is one of per process."""

    def __init__(self) -> None:
        self.default: Policy | None = None
        self.observers: tuple[WeakMethod[Callable[[Policy, Policy], None]], ...] = ()
        self.guard = Guard()

    def first(self) -> Policy:
        """The default; made from the environment where nothing has set it."""
        from ._environment import policy_from_environment

        with self.guard.lock:
            if self.default is None:
                self.default = policy_from_environment()
            return self.default

    def put(self, policy: Policy) -> None:
        self.default = policy


_frame: ContextVar[_Frame | None] = ContextVar("zrun_policy", default=None)
_process = _Process()


def current() -> Policy:
    """The policy in force here.

    Returns:
        The policy of the innermost `using` block of this context, else the process default.

    Scope: context (thread, asyncio task).
    """
    frame = _frame.get()
    if frame is not None:
        return frame.policy
    return _process.default or _process.first()


def default() -> Policy:
    """The process default, without the `using` blocks of this context.

    Returns:
        The default; at first use it is made from the environment variables `ZRUN_GRAPH`, `ZRUN_AUTOGRAD` and
        `ZRUN_CHUNKSIZE`.

    Raises:
        EnvironmentVariableError: one of these variables holds an invalid value.

    Scope: process.
    """
    return _process.default or _process.first()


def set_default(changes: Mapping[str, Any], asked: str) -> None:
    """Replace parts of the process default, telling the backends first. If one of them refuses, nothing is changed.

    Args:
        changes: the new parts by name.
        asked: the call that asks for it, for the error message.

    Raises:
        PolicyError: a part has a value it cannot take.
        PolicyShadowedError: a `using` block of this context would hide the new default.

    Scope: process.
    """
    checked = checked_parts(changes)
    if _frame.get() is not None:
        raise PolicyShadowedError(
            f"{asked} inside a using block or a bound function of the same context: the new default would not be seen "
            f"here, and the block would hide it until its end. Call it before the block, or use run.using(...) for a "
            f"part of the block."
        )
    # The old default is read under the lock, so that of two threads that set two parts neither undoes the other.
    with _process.guard.lock, ExitStack() as undo:
        old = default()
        new = old.with_checked(checked)
        undo.callback(_process.put, old)
        for held in _process.observers:
            if (observer := held()) is not None:
                observer(old, new)
                undo.callback(observer, new, old)
        _process.put(new)
        undo.pop_all()


def observe_default(observer: Callable[[Policy, Policy], None]) -> None:
    """Have the method `observer(old, new)` called before the process default changes; it may raise to refuse that.

    Args:
        observer: a bound method. The object it belongs to is held weakly; giving it again has no effect.

    Scope: process.
    """
    made = WeakMethod(observer)
    with _process.guard.lock:
        others = (held for held in _process.observers if held() is not None and held != made)
        _process.observers = (*others, made)


def _without(frame: _Frame | None, owner: object) -> _Frame | None:
    """Frames without the innermost one of an owner. Blocks entered later that are still open stay as they are."""
    above: list[_Frame] = []
    while frame is not None and frame.owner is not owner:
        above.append(frame)
        frame = frame.parent
    if frame is None:
        raise RuntimeError(
            "A using block was left in another context (thread, task) than the one it was entered in; the policy here "
            "is unchanged. Enter and leave it in the same one; run.bind(fn) hands a policy over."
        )
    rest = frame.parent
    for later in reversed(above):
        rest = later._replace(parent=rest)
    return rest


class _Block:
    """A block under a policy: context manager, decorator; can be entered again, also while it is entered."""

    def _policy(self) -> Policy:
        raise NotImplementedError

    def _on_enter(self) -> None:
        """Hook for what a backend does on top; undone by `_on_exit`."""

    def _on_exit(self) -> None:
        """Undo `_on_enter`."""

    def __enter__(self) -> Policy:
        policy = self._policy()
        before = _frame.get()
        try:
            _frame.set(_Frame(policy, self, before))
            self._on_enter()
            return policy
        except BaseException:
            _frame.set(before)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        frame = _frame.get()
        # A generator that is resumed may leave its block while a later one is open.
        rest = frame.parent if frame is not None and frame.owner is self else _without(frame, self)
        try:
            _frame.set(rest)
        finally:
            self._on_exit()

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        return within(self, function, "using")


class Using(_Block):
    """What `RunManager.using` returns: the policy of the context with some parts replaced.

    The parts are checked when it is made; the rest of the policy is the one found when the block is entered.

    Args:
        changes: parts of the policy by name.
        enter: called on entering.
        leave: called on leaving, once for each call of `enter` that returned.

    Raises:
        PolicyError: a part has a value it cannot take.

    Scope: context (thread, asyncio task).
    """

    def __init__(
        self,
        changes: Mapping[str, Any],
        enter: Callable[[], None] | None = None,
        leave: Callable[[], None] | None = None,
    ) -> None:
        self._changes = checked_parts(changes)
        self._enter, self._leave = enter, leave
        self._made: tuple[Policy, Policy] | None = None

    def _policy(self) -> Policy:
        base = current()
        # One tuple, read and written whole, so that threads that share this object never mix two pairs.
        if (made := self._made) is not None and made[0] is base:
            return made[1]
        policy = base.with_checked(self._changes)
        self._made = (base, policy)
        return policy

    def _on_enter(self) -> None:
        if self._enter is not None:
            self._enter()

    def _on_exit(self) -> None:
        if self._leave is not None:
            self._leave()

    def __repr__(self) -> str:
        return f"using({', '.join(f'{name}={value!r}' for name, value in self._changes.items())})"


class _Pinned(_Block):
    """A block under one given policy."""

    def __init__(self, policy: Policy) -> None:
        self._pinned = policy

    def _policy(self) -> Policy:
        return self._pinned


class _Bound(Generic[P, R]):
    """A function that runs under the policy it was bound with; pickles where the function does."""

    def __init__(self, function: Callable[P, R], policy: Policy) -> None:
        self._function = function
        self._policy = policy
        update_wrapper(self, function, updated=())

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with _Pinned(self._policy):
            return self._function(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Bound, (self._function, self._policy)

    def __repr__(self) -> str:
        return f"<{self._function!r} bound to {self._policy!r}>"


def bind(function: Callable[P, R]) -> Callable[P, R]:
    """Hand the policy of this context to another thread, task or pool.

    Args:
        function: any callable; coroutine functions too.

    Returns:
        A callable with the same signature that runs `function` under the policy found now, wherever it is called. It
        can be pickled, for a pool of processes, if `function` can and is no coroutine function.

    Raises:
        TypeError: `function` cannot be called, or is a generator function.

    Scope: reads the context when it is called.

    Example:
        >>> from concurrent.futures import ThreadPoolExecutor
        >>> import zrun_core
        >>> with zrun_core.run.using(graph=False), ThreadPoolExecutor() as pool:
        ...     pool.submit(zrun_core.run.bind(zrun_core.run.current_policy_graph)).result()
        False
    """
    policy = current()
    if is_coroutine_function(function, "bind"):
        return within(_Pinned(policy), function, "bind")
    return _Bound(function, policy)
