"""The engine under every decorated function: policy, key, cache, backend.

A call reads the policy once. Inside a trace the body is inlined; where the policy says so it runs as Python; otherwise
the arguments are taken apart, the key is looked up, and the graph runs on the leaves.
"""

from __future__ import annotations

from functools import update_wrapper
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Concatenate, Generic, NamedTuple, ParamSpec, Protocol, TypeVar, overload
from weakref import ref

from ._cache import CacheOwner, Reentrant
from ._decorate import check_body
from ._events import Event, emit, listening
from ._kinds import KINDS
from ._policy import Policy, check_bool
from ._retrace import check_retraces
from ._scope import current
from ._signature import Signature
from ._structure import TOO_DEEP, Flattening, Key, KeyRow, Rebuilding, Refusal, refused
from .errors import DoNotTrace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ._backend import Executable
    from ._events import EventName
    from ._manager import RunManager

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")


class EagerMark(NamedTuple):
    """What the cache holds for a structure that was found not to be traceable."""

    reason: str
    nbytes: int = 0


class Taken(Protocol):
    """What was collected on taking the arguments of a call apart."""

    @property
    def leaves(self) -> list[Any]:
        """The dynamic parts."""
        ...

    @property
    def weak(self) -> list[Any]:
        """The opaque objects."""
        ...


class Ruling(NamedTuple):
    """What a policy means for one function; worked out once per policy.

    Attributes:
        policy: the policy.
        generation: of the kinds, when it was worked out.
        graph: whether the function builds a graph.
        jit: whether that is compiled.
        bits: what of the policy is part of the key.
        memo: for a backend that finds entries again by a shorter way; shared by rulings of equal bits.
    """

    policy: Policy
    generation: int
    graph: bool
    jit: bool
    bits: tuple[Any, ...]
    memo: dict[Any, Any]


class Function(Generic[P, R]):
    """A decorated function. Made by `RunManager.function`; see there for what the options mean."""

    def __init__(
        self,
        body: Callable[P, R],
        manager: RunManager,
        *,
        kind: str = "tensor",
        static: Iterable[str] = (),
        force_eager: bool = False,
        jit_compile: bool | None = None,
        max_graphs: int | None = None,
    ) -> None:
        name = getattr(body, "__qualname__", type(body).__qualname__)
        check_body(body, name)
        KINDS.check(kind, f"function {name}")
        check_bool("force_eager", force_eager)
        if jit_compile is not None:
            check_bool("jit_compile", jit_compile)
        signature = Signature(body, static)
        owner = CacheOwner(name, kind, max_graphs)
        if isinstance(body, FunctionType):
            # Attributes of the function, but none that would hide one of this class.
            vars(self).update({n: v for n, v in vars(body).items() if not hasattr(type(self), n)})
        update_wrapper(self, body, updated=())
        self._name = name
        self._body = body
        self._manager = manager
        self._kind = kind
        self._force_eager = force_eager
        self._jit_compile = jit_compile
        self._signature = signature
        self._owner = owner
        self._ruling: Ruling | None = None
        self._memos: dict[Any, dict[Any, Any]] = {}

    @property
    def kind(self) -> str:
        """The kind of function, which the policy goes by."""
        return self._kind

    @property
    def force_eager(self) -> bool:
        """Whether the Python body always runs."""
        return self._force_eager

    @property
    def owner(self) -> CacheOwner:
        """The function as the graph cache knows it."""
        return self._owner

    @property
    def python_function(self) -> Callable[P, R]:
        """The function that was decorated."""
        return self._body

    @overload
    def __get__(self, instance: None, owner: type) -> Function[P, R]: ...
    @overload
    def __get__(self: Function[Concatenate[Any, Q], R], instance: object, owner: Any = None) -> Callable[Q, R]: ...
    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else MethodType(self, instance)

    def __repr__(self) -> str:
        return f"<zrun function {self._name} of kind {self._kind!r}>"

    def __reduce__(self) -> str:
        # By name, like the function it stands for; a graph does not travel.
        return self._name

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        if self._manager.backend.is_tracing():
            return self._inline(*args, **kwargs)
        ruling = self._rule(current())
        if not ruling.graph:
            if listening("eager"):
                self._emit("eager", self.why(ruling))
            return self._body(*args, **kwargs)
        key, taken = self._take_apart(self._signature.ordered(args, kwargs), ruling)
        return self._run_graph(key, taken, ruling, args, kwargs)

    def run_taken(self, args: tuple[Any, ...], parts: Sequence[Key], taken: Taken) -> R:
        """A call whose arguments were taken apart before, because they do not change from call to call.

        Args:
            args: the arguments, for a body that runs as Python.
            parts: the key of each argument.
            taken: their leaves and opaque objects, in order.

        Returns:
            The result.
        """
        backend = self._manager.backend
        if backend.is_tracing():
            return self._inline(*args)  # type: ignore[call-arg]
        ruling = self._rule(current())
        if not ruling.graph:
            if listening("eager"):
                self._emit("eager", self.why(ruling))
            return self._body(*args)  # type: ignore[call-arg]
        return self._run_graph((ruling.bits, backend.context(), *parts), taken, ruling, args, {})

    def _run_graph(self, key: Key, taken: Taken, ruling: Ruling, args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        manager = self._manager
        found: Executable | EagerMark | None = manager.cache.get(self._owner, key)
        if found is None:
            try:
                found = manager.cache.get_or_build(
                    self._owner,
                    key,
                    lambda: self._build(key, taken, ruling),
                    weak=taken.weak,
                    rows=lambda: self.rows(key),
                )
            except Reentrant:
                return self._inline(*args, **kwargs)
        elif listening("hit") and not isinstance(found, EagerMark):
            self._emit("hit")
        if isinstance(found, EagerMark):
            if listening("eager"):
                self._emit("eager", found.reason)
            return self._body(*args, **kwargs)
        return found(taken.leaves)  # type: ignore[no-any-return]

    def _inline(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        if self._force_eager:
            raise DoNotTrace(
                f"{self._name} is decorated with force_eager=True and was called while a graph is being built. "
                f"Functions of zrun that call it run eagerly; a tf.function of your own cannot."
            )
        if listening("inline"):
            self._emit("inline", "called while a graph is being built")
        return self._run_inline(*args, **kwargs)

    def _run_inline(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """The body as part of the graph that is being built; a backend may convert it first."""
        return self._body(*args, **kwargs)

    def _emit(self, name: EventName, reason: str = "") -> None:
        emit(Event(name, self._name, self._kind, reason, owner=self._owner.token))

    def _rule(self, policy: Policy) -> Ruling:
        ruling = self._ruling
        if ruling is None or ruling.policy is not policy or ruling.generation != KINDS.generation:
            generation = KINDS.generation
            graph = self._manager.backend.compiles and not self._force_eager and policy.builds_graph(self._kind)
            jit = policy.compiles(self._kind) if self._jit_compile is None else self._jit_compile
            bits = (policy.autograd, jit, policy.check_numerics, policy.chunksize)
            memo = self._memos.setdefault(bits, {})
            ruling = self._ruling = Ruling(policy, generation, graph, jit, bits, memo)
        return ruling

    def why(self, ruling: Ruling) -> str:
        """Which rule says whether the function builds a graph, in words."""
        if self._force_eager:
            return "it is decorated with force_eager=True"
        if not self._manager.backend.compiles:
            return f"the {self._manager.backend.name} backend builds no graphs"
        graph = ruling.policy.graph
        if isinstance(graph, bool):
            return f"the policy says graph={graph}"
        verb = "builds" if ruling.graph else "does not build"
        return f"the policy says graph={graph!r}, and kind {self._kind!r} {verb} a graph under it"

    def _take_apart(self, values: Sequence[Any], ruling: Ruling) -> tuple[Key, Flattening]:
        into = Flattening()
        signature = self._signature
        try:
            parts = into.parts(signature, None, signature.marked(values) if signature.static else values)
        except Refusal as refusal:
            raise refused(refusal, f"{self._name}: ") from None
        except RecursionError as error:
            raise refused(Refusal(TOO_DEEP), f"{self._name}: an argument") from error
        return (ruling.bits, self._manager.backend.context(), *parts), into

    def _build(self, key: Key, taken: Taken, ruling: Ruling) -> Executable | EagerMark:
        check_retraces(self._manager.watch, self._owner, lambda: self.rows(key), ruling.policy.retrace)
        # The closure must not keep them alive where a backend keeps the closure.
        weak = [ref(obj) for obj in taken.weak]

        def arguments(leaves: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
            to = Rebuilding(leaves, [held() for held in weak])
            return self._signature.call_form([to.build(part) for part in key[2:]])

        from ._backend import Build

        own_jit = self._jit_compile is not None
        build = Build(self._name, self._body, arguments, taken.leaves, ruling.policy, ruling.jit, own_jit, bool(weak))
        try:
            return self._manager.backend.compile(build)
        except DoNotTrace as signal:
            return EagerMark(str(signal) or "DoNotTrace was raised while it was traced")

    def rows(self, key: Key) -> tuple[KeyRow, ...]:
        """A key of this function as lines that name the arguments."""
        autograd, jit, check_numerics, chunksize = key[0]
        said = {"autograd": autograd, "jit": jit, "check_numerics": check_numerics, "chunksize": chunksize}
        lines = [KeyRow(f"policy.{name}", repr(value), True) for name, value in said.items()]
        if key[1] is not None:
            lines.append(KeyRow("context", str(key[1]), True))
        for name, part in zip(self._signature.names, key[2:], strict=True):
            lines.extend(part[0].rows(part, name))
        return tuple(lines)

    def look_up(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Ruling, Key | None]:
        """What a call would be here.

        Args:
            args: its positional arguments.
            kwargs: its keyword arguments.

        Returns:
            The ruling, and the key where the call would be a graph.

        Raises:
            TypeError: the arguments do not fit the parameters, or cannot be taken apart.
        """
        ruling = self._rule(current())
        values = self._signature.ordered(args, kwargs)
        return ruling, self._take_apart(values, ruling)[0] if ruling.graph else None
