"""Objects that lie, refuse to be shown, are very long or very deep: a right key or a clear error, and short words."""

from __future__ import annotations

import typing
from collections import OrderedDict, defaultdict, deque
from typing import Annotated, Generic, Literal, NamedTuple, Optional, TypeVar

import pytest

from zrun_core import RunManager, Static, flatten, struct
from zrun_core._structure import rows
from zrun_core._words import MOST_PARTS, shown
from zrun_core.errors import StructureError

from .counting_backend import CountingBackend

T = TypeVar("T")


# -- containers whose methods say something else than they hold --------------------------------------------------------


class Pair(NamedTuple):
    first: float
    second: float


def lying(base, **content):
    """A subclass whose methods for reading say that it holds nothing, or its items in another order."""

    def backwards(self):
        return reversed(list(base.__iter__(self)))

    methods = {
        "__iter__": backwards,
        "__len__": lambda self: 0,
        "__getitem__": lambda self, index: "wrong",
        "keys": backwards,
        "values": lambda self: [],
        "items": lambda self: [],
        "copy": lambda self: None,
    }
    return type(f"Lying{base.__name__}", (base,), methods)


SEQUENCES = [list, tuple, deque]
MAPPINGS = [dict, OrderedDict]


@pytest.mark.parametrize("base", SEQUENCES)
def test_a_sequence_is_read_as_what_it_holds(base):
    # This used to lose the items without a word.
    obj = lying(base)([1.5, 2.5, "a"])
    flat = flatten(obj)
    assert flat.leaves == [1.5, 2.5]
    made = flat.rebuild([3.5, 4.5])
    assert type(made) is type(obj)
    assert list(base.__iter__(made)) == [3.5, 4.5, "a"]


@pytest.mark.parametrize("base", MAPPINGS)
@pytest.mark.parametrize("content", [{"b": 1.5, "a": 2.5}, {"b": 1.5, 3: 2.5}], ids=["names", "pairs"])
def test_a_mapping_is_read_as_what_it_holds(base, content):
    # This used to give each value to the key of another.
    obj = lying(base)(**content) if "a" in content else lying(base)()
    for name, value in content.items():
        base.__setitem__(obj, name, value)
    flat = flatten(obj)
    assert flat.leaves == [1.5, 2.5]
    assert list(base.items(flat.rebuild(flat.leaves))) == list(content.items())


def test_other_containers_are_read_as_what_they_hold():
    counted = lying(defaultdict)(list)
    dict.update(counted, {"b": 1.5, "a": 2.5})
    assert dict(dict.items(flatten(counted).rebuild([3.5, 4.5]))) == {"b": 3.5, "a": 4.5}
    assert set.__eq__(flatten(lying(set)([1, 2])).rebuild([]), {1, 2})
    assert frozenset.__eq__(flatten(lying(frozenset)([1, 2])).rebuild([]), {1, 2})
    made = flatten(lying(Pair)(1.5, 2.5)).rebuild([3.5, 4.5])
    assert tuple(tuple.__iter__(made)) == (3.5, 4.5)


# -- aliases of types --------------------------------------------------------------------------------------------------


@struct
class Peak(Generic[T]):
    mean: float


@pytest.mark.parametrize(
    "make",
    [
        lambda: list[int],
        lambda: dict[str, list[float]],
        lambda: int | None,
        lambda: Optional[int],  # noqa: UP045 - until 3.13 another type of alias
        lambda: Literal["a"],
        lambda: Annotated[int, "label"],
        lambda: typing.Callable[[int], str],
        lambda: Peak[int](1.5),
    ],
)
def test_aliases_of_types_are_compared_by_value(make):
    # Each time it is written, list[int] is another object; kept by identity it would trace anew and die at once.
    one, other = flatten(make()), flatten(make())
    assert one.weak == []
    assert (one.key, hash(one.key)) == (other.key, hash(other.key))


def test_different_aliases_have_different_keys():
    keys = [flatten(alias).key for alias in (list[int], list[float], typing.List[int], int | str, Literal[1])]  # noqa: UP006
    assert len(set(keys)) == len(keys)
    assert flatten(Peak[int](1.5)).key != flatten(Peak[str](1.5)).key
    assert flatten(Peak[int](1.5)).rebuild([2.5]).__orig_class__ == Peak[int]


def test_an_alias_that_cannot_be_hashed_is_known_by_its_identity():
    alias = Annotated[int, []]
    assert flatten(alias).weak == [alias]
    assert flatten(alias).rebuild([]) is alias


# -- values that refuse ------------------------------------------------------------------------------------------------


class Refusing:
    """A value, by its slots and its hash, of which a part raises."""

    __slots__ = ()
    fails = ""

    def __hash__(self):
        return self.answer("hash", 3)

    def __eq__(self, other):
        return self.answer("eq", isinstance(other, Refusing))

    def __repr__(self):
        return self.answer("repr", "refusing")

    def answer(self, question, answer):
        if question == self.fails:
            raise ZeroDivisionError(question)
        return answer


@pytest.mark.parametrize("fails", ["hash", "repr"])
def test_a_value_that_cannot_be_a_key_is_refused_by_name(fails):
    obj = type("Refusing", (Refusing,), {"__slots__": (), "fails": fails})()
    with pytest.raises(StructureError, match=r"^data\[0\] is of type Refusing, which zrun cannot take apart"):
        flatten([obj], name="data")


def test_an_exception_in_comparing_keys_passes_through_and_leaves_the_cache_usable():
    run = RunManager(backend=CountingBackend())

    @run.function
    def f(x, label):
        return x + x

    # It clears the caches of others too, in whose process this may run.
    run.clear_graph_cache()
    cls = type("Refusing", (Refusing,), {"__slots__": ()})
    label = cls()
    assert f(1.5, label) == 3.0
    cls.fails = "eq"
    with pytest.raises(ZeroDivisionError, match="eq"):
        f(1.5, cls())
    assert f(1.5, label) == 3.0
    assert run.clear_graph_cache().graphs == 1
    cls.fails = ""
    assert f(1.5, cls()) == 3.0
    assert run.cache_info().total.graphs == 1


class Shy(int):
    __slots__ = ()

    def __repr__(self):
        raise ZeroDivisionError


@pytest.mark.parametrize("value", [10**5000, Shy(3)], ids=["a number too long for Python to print", "no repr"])
def test_a_value_without_a_repr_is_an_argument_like_any_other(value):
    # This used to raise when the function was traced, because the key could not be described.
    run = RunManager(backend=CountingBackend())

    @run.function
    def f(x, n):
        return x + x

    assert f(1.5, value) == 3.0
    assert f(2.5, value) == 5.0
    assert run.cache_info().total.misses == 1
    other = type(value)(value + 1)
    report = str(run.explain(f, 1.5, other))
    assert "n: a value of type" in report
    assert "no repr" in report


def test_texts_that_stand_for_others_tell_them_apart():
    assert shown(Shy(3)) != shown(Shy(4))
    assert shown("a" * 1000) != shown("a" * 1000 + "b")
    assert shown("a" * 1000) == shown("a" * 1000)


# -- very long and very deep -------------------------------------------------------------------------------------------


def test_long_values_are_shortened_in_words():
    run = RunManager(backend=CountingBackend())

    @run.function
    def f(x, text):
        return x + x

    f(1.5, "a" * 1_000_000)
    report = str(run.explain(f, 1.5, "a" * 1_000_000 + "b"))
    assert len(report) < 1000
    assert "(1000002 characters, #" in report
    (row,) = rows(flatten({f"member {n}" for n in range(1000)}).key, "x")
    assert len(row.text) < 200


@pytest.mark.parametrize("make", [list, tuple, dict], ids=["list", "tuple", "pairs"])
def test_of_long_containers_the_first_parts_are_described(make):
    def of(n, value=1.5):
        items = [value] * n
        return dict(enumerate(items)) if make is dict else make(items)

    many = rows(flatten(of(100_000)).key, "x")
    assert len(many) == MOST_PARTS + 1
    more = 100_000 - MOST_PARTS
    assert many[-1].path == f"x[{MOST_PARTS}:]"
    if make is not dict:
        assert many[-1] == (f"x[{MOST_PARTS}:]", f"{more} more parts, each float", False)
        static = rows(flatten(of(1000, 7)).key, "x")[-1]
        assert static == (f"x[{MOST_PARTS}:]", f"{1000 - MOST_PARTS} more parts, each 7", True)
    assert rows(flatten(of(MOST_PARTS)).key, "x") == many[:-1]


def test_what_differs_far_down_a_long_container_is_still_a_difference():
    numbers = list(range(1000))
    one, other = (rows(flatten([*numbers, last]).key, "x") for last in (1, 2))
    assert one[:-1] == other[:-1]
    assert one[-1].text != other[-1].text


def nested(depth):
    obj = [1.5]
    for _ in range(depth):
        obj = [obj]
    return obj


def test_what_is_nested_too_deeply_is_refused_by_name():
    # This used to be a RecursionError that named no argument.
    assert flatten(nested(100)).leaves == [1.5]
    with pytest.raises(StructureError, match=r"^data is nested too deeply to be taken apart\. Flatten it") as caught:
        flatten(nested(100_000), name="data")
    assert isinstance(caught.value.__cause__, RecursionError)
    run = RunManager(backend=CountingBackend())

    @run.function
    def f(x):
        return x[0]

    with pytest.raises(StructureError, match="f: an argument is nested too deeply"):
        f(nested(100_000))
    with pytest.raises(StructureError, match="nested too deeply"):
        f(Static(nested(100_000)))
    assert f([1.5]) == 1.5
