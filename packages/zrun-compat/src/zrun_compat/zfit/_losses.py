"""Losses taken apart: the events are inputs of a graph, so a new loss on new data runs the graph of an earlier one.

That is done for losses, data and models of zfit's own classes only, and only where `_state` can write down everything
else that a graph depends on. Models and constraints belong to the key by identity, with their state; what a graph is
traced for is checked once more while it is traced.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple
from weakref import WeakKeyDictionary, WeakValueDictionary

import tensorflow as tf

from zrun_core._nodes import KeyRow, Node
from zrun_core.errors import DoNotTrace

from ._arguments import ByValue
from ._state import NotUnderstood, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from zrun_core._flattening import Flattening
    from zrun_core._nodes import Key, Rebuilding

_LISTS: Final = ("_model", "_data", "_fit_range", "_constraints")
_OFFSET: Final = "subtr_const_value"
# Made anew for the loss that a graph is traced with, or of no effect on it.
_OF_LOSS: Final = frozenset(
    {*_LISTS, "_options", "_cache", "_cachers", "_is_precompiled", "_precompiled_hashes", "hs3"}
)
_OF_DATA: Final = frozenset({"dataset", "_weights", "_cache", "_cachers", "_name", "_label", "_nentries", "hs3"})
_NAMES: Final = ("name", "label")
_OF_BINNED_DATA: Final = frozenset({"holder", "hs3", *_NAMES})

_tokens: Final[WeakValueDictionary[ByValue, ByValue]] = WeakValueDictionary()


class NotShared(Exception):  # noqa: N818 - a signal between modules of this package
    """What was taken for the same is not the same after all; the loss gets a graph of its own."""


class ReadsItsData(NotShared, DoNotTrace):
    """What is traced is Python that will read the data of the loss; a function of the user's runs eagerly then."""


class Parts(NamedTuple):
    """What tracing needs to put a loss together again; the first loss of its structure gave it.

    Attributes:
        cls: the class of the loss.
        attributes: those that are not put together from other parts.
        options: the options, but for the offset.
        data: for each data set the function that makes one of tensors.
        fit_range: the ranges.
        models: how many models there are.
        depends: the state of models and constraints.
    """

    cls: Any
    attributes: dict[str, Any]
    options: dict[str, Any]
    data: Sequence[Callable[[Iterator[Any]], Any]]
    fit_range: list[Any]
    models: int
    depends: Any


class Plan:
    """How one loss is taken apart for one function.

    Args:
        loss: the loss.
        settings: what tracing reads of zfit's settings.

    Attributes:
        held: names of the lists that the loss holds, by their ids.

    Raises:
        NotUnderstood: it cannot be.
    """

    def __init__(self, loss: Any, settings: Any) -> None:
        self._loss_options = loss._options
        self._lists = [getattr(loss, name) for name in _LISTS]
        self._ids = self._identities()
        self.held = {id(held): name for held, name in zip(self._lists, _LISTS, strict=True)}
        models, data, fit_range, constraints = self._lists
        state, self._leaves = State(), []
        recipes, specs = [], []
        for each in data:
            recipe, spec, tensors = data_apart(each, state)
            recipes.append(recipe)
            specs.append(spec)
            self._leaves += tensors
        attributes = {name: value for name, value in vars(loss).items() if name not in _OF_LOSS}
        options = {name: value for name, value in loss._options.items() if name != _OFFSET}
        rest = (state.of(attributes), state.of(options), state.of(fit_range), tuple(specs), settings)
        depends, weak = _depends(models, constraints)
        parts = Parts(type(loss), attributes, options, recipes, list(fit_range), len(models), depends)
        made = ByValue(parts, (type(loss), rest, depends))
        self._token = one_for_all(made)
        self._weak = [*models, *constraints, *weak, *state.weak]
        self._named = tuple(map(id, (*models, *constraints)))

    def is_for(self, loss: Any) -> bool:
        """Whether the loss still holds what it held."""
        return self._loss_options is loss._options and self._ids == self._identities()

    def _identities(self) -> tuple[int, ...]:
        return tuple(id(part) for held in self._lists for part in (held, *held))

    @property
    def token(self) -> ByValue:
        """What losses of one structure have in common."""
        return self._token

    def visit(self, into: Flattening) -> Key:
        """The key of the loss; its tensors go into the leaves."""
        into.weak += self._weak
        into.leaves += self._leaves
        offset = self._loss_options.get(_OFFSET)
        if isinstance(offset, tf.Tensor):
            into.leaves.append(offset)
            return (LOSS, self._token, self._named, "an input", offset.dtype, tuple(offset.shape))
        return (LOSS, self._token, self._named, None if offset is None else float(offset).hex())


def one_for_all(made: ByValue) -> ByValue:
    """One object for all that are equal, so that looking it up compares no states."""
    return _tokens.setdefault(made, made)


def _depends(models: Sequence[Any], constraints: Sequence[Any]) -> tuple[Any, list[Any]]:
    state = State()
    return (state.of(list(models)), state.of(list(constraints))), state.weak


def data_apart(data: Any, state: State) -> tuple[Callable[[Iterator[Any]], Any], Any, list[Any]]:
    """A data set as the function that makes it of tensors, what all such have in common, and its tensors.

    Args:
        data: the data set.
        state: writes down what is no tensor.

    Raises:
        NotUnderstood: it cannot be taken apart.
    """
    if (type(data).__module__, type(data).__name__) == ("zfit._data.binneddatav1", "BinnedData"):
        return _binned_apart(data, state)
    dataset: Any = getattr(data, "dataset", None)
    if (type(data).__module__, type(data).__name__) != ("zfit.core.data", "Data") or data._use_hash:
        raise NotUnderstood(repr(type(data)))
    if type(dataset).__name__ != "LightDataset" or type(dataset).__module__ != "zfit.core.data":
        raise NotUnderstood(repr(type(dataset)))
    whole, places = dataset._tensor, dict(dataset._tensormap)
    tensors = [] if whole is None else [whole]
    columns = [name for name, place in places.items() if not isinstance(place, int)]
    tensors += [places.pop(name) for name in columns]
    if data._weights is not None:
        tensors.append(data._weights)
    if not all(isinstance(each, tf.Tensor) and hasattr(each, "numpy") for each in tensors):
        raise NotUnderstood("data that can change")
    rest = {name: value for name, value in vars(data).items() if name not in _OF_DATA}
    named = {name: getattr(data, name) for name in ("_name", "_label")}
    sizes = tuple((each.dtype, tuple(each.shape)) for each in tensors)
    spec = (sizes, whole is None, tuple(places.items()), tuple(columns), data._weights is None, dataset._ndims)
    ndims = dataset._ndims
    cls: Any = type(data)
    holder: Any = type(dataset)
    has_whole, has_weights = whole is not None, data._weights is not None

    def together(leaves: Iterator[Any]) -> Any:
        light = holder.__new__(holder)
        tensor = next(leaves) if has_whole else None
        tensormap = {**places, **{name: next(leaves) for name in columns}}
        vars(light).update(_tensor=tensor, _tensormap=tensormap, _ndims=ndims, _nevents=None)
        made = object.__new__(cls)
        vars(made).update(rest, **named, dataset=light, _nentries=None, _cache={}, _cachers=WeakKeyDictionary())
        vars(made)["_weights"] = next(leaves) if has_weights else None
        return made

    return together, (state.of(rest), spec), tensors


def _binned_apart(data: Any, state: State) -> tuple[Callable[[Iterator[Any]], Any], Any, list[Any]]:
    """The same for a histogram, of which values and variances are the tensors."""
    holder = data.holder
    if type(holder).__name__ != "BinnedHolder" or data._use_hash:
        raise NotUnderstood(repr(type(holder)))
    has_variances = holder.variances is not None
    tensors = [holder.values, holder.variances] if has_variances else [holder.values]
    if not all(isinstance(each, tf.Tensor) and hasattr(each, "numpy") for each in tensors):
        raise NotUnderstood("data that can change")
    rest = {name: value for name, value in vars(data).items() if name not in _OF_BINNED_DATA}
    sizes = tuple((each.dtype, tuple(each.shape)) for each in tensors)
    cls, of_holder, space, named = type(data), type(holder), holder.space, {n: getattr(data, n) for n in _NAMES}

    def together(leaves: Iterator[Any]) -> Any:
        held = object.__new__(of_holder)
        vars(held).update(space=space, values=next(leaves), variances=next(leaves) if has_variances else None)
        made = object.__new__(cls)
        vars(made).update(rest, **named, holder=held)
        return made

    return together, (cls, state.of(rest), state.of(space), sizes), tensors


class _LossNode(Node):
    """(node, what is common, ids of models and constraints, offset, *spec of the offset)."""

    def rebuild(self, key: Key, to: Rebuilding) -> Any:
        parts: Parts = key[1].obj
        held = [to.weak[place] for place in key[2]]
        models, constraints = held[: parts.models], held[parts.models :]
        if _depends(models, constraints)[0] != parts.depends:
            raise NotShared
        loss = parts.cls.__new__(parts.cls)
        data = [together(to.leaves) for together in parts.data]
        options = dict(parts.options)
        if key[3] is not None:
            options[_OFFSET] = next(to.leaves) if len(key) > 4 else float.fromhex(key[3])
        lists = dict(zip(_LISTS, (models, data, list(parts.fit_range), constraints), strict=True))
        vars(loss).update(parts.attributes, **lists, _options=options, _cache={}, _cachers=WeakKeyDictionary())
        vars(loss).update(_is_precompiled=True, _precompiled_hashes=[None] * len(data))
        to.made.append(loss)
        return loss

    def rows(self, key: Key, path: str) -> Iterator[KeyRow]:
        parts: Parts = key[1].obj
        yield KeyRow(path, f"a {parts.cls.__name__}, its data as inputs, of state {hash(key[1]):#x}", True)
        yield KeyRow(f"{path}._options[{_OFFSET!r}]", str(key[3]), True)


LOSS: Final = _LossNode()
