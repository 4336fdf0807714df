"""Taking objects apart and putting them together: what each type gives, one by one."""

from __future__ import annotations

import enum
import gc
import math
import time
import weakref
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from functools import partial
from pathlib import PurePosixPath, PureWindowsPath
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple

import pytest

from zrun_core import Static, flatten, register
from zrun_core._flattening import _forget, _found, visitor_of
from zrun_core._structure import (
    Flattening,
    LeafNode,
    Node,
    Refusal,
    SharedLeafNode,
    add_rule,
    add_visitor,
    rebuild,
    rows,
    visit_opaque,
    visit_static,
)
from zrun_core.errors import StructureError


class Colour(enum.Enum):
    RED = 1
    CRIMSON = RED
    BLUE = 2


class Level(enum.IntEnum):
    NONE = 0
    SOME = 1


class Right(enum.Flag):
    READ = 1
    WRITE = 2


class Scale(float, enum.Enum):
    NONE = 0.0
    HALF = 0.5


class Point(NamedTuple):
    x: float
    y: float


Pair = namedtuple("Pair", "first second")


class Opaque:
    """Nobody can take this apart."""


class Array:
    """Stands for an array: a leaf with a length."""

    def __init__(self, length):
        self.length = length


class Variable:
    """Stands for a variable: a leaf with an identity."""


ARRAY = LeafNode("array", lambda length: f"array ({length},)")
VARIABLE = SharedLeafNode("variable")
add_visitor(Array, lambda obj, into: into.leaf(obj, (ARRAY, obj.length)))
add_visitor(Variable, lambda obj, into: VARIABLE.visit(obj, into))


def key(obj, **options):
    return flatten(obj, **options).key


def round_trip(obj):
    flat = flatten(obj)
    return flat.rebuild(flat.leaves)


def texts(obj, name="x"):
    return [f"{path}: {text}{', static' if static else ''}" for path, text, static in rows(key(obj), name)]


# -- scalars ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [1.5, 0.0, math.nan, math.inf, 2 + 1j])
def test_floats_and_complex_numbers_are_inputs(value):
    flat = flatten(value)
    assert flat.leaves == [value] or math.isnan(flat.leaves[0])
    assert flat.key == key(type(value)(3.25))
    assert flat.rebuild([7.0]) == 7.0


@pytest.mark.parametrize("value", [0, 3, -1, 10**50, True, False, "", "text", b"", b"bytes", None, ..., NotImplemented])
def test_other_scalars_are_part_of_the_key(value):
    flat = flatten(value)
    assert flat.leaves == []
    assert flat.weak == []
    assert flat.rebuild([]) is value
    assert flat.key == key(value)


def test_scalars_that_are_equal_but_of_different_types_have_different_keys():
    values = [1, True, 1.0, 1 + 0j, "1", b"1", Level.SOME, Right.READ, Colour.RED, Scale.HALF, 0.5]
    assert len({key(value, static=True) for value in values}) == len(values)
    assert len({key((value,), static=True) for value in values}) == len(values)


@pytest.mark.parametrize(
    "values",
    [
        (0.0, -0.0),
        (1.0, math.nextafter(1.0, 2.0)),
        (math.inf, -math.inf, math.nan),
        (0j, -0j, complex(-0.0, 0.0), complex(0.0, -0.0)),
        (complex(math.nan, 1), complex(1, math.nan)),
    ],
)
def test_static_floats_are_compared_exactly(values):
    assert len({key(value, static=True) for value in values}) == len(values)


@pytest.mark.parametrize(
    "value",
    [0.1, -0.0, math.inf, math.nan, 5e-324, complex(-0.0, math.inf), complex(math.nan, -0.0), 1e308 + 1e-308j],
    ids=repr,
)
def test_static_floats_come_back_exactly(value):
    flat = flatten(value, static=True)
    assert flat.leaves == []
    assert flat.key == key(type(value)(repr(value)), static=True)
    assert repr(flat.rebuild([])) == repr(value)
    assert texts(Static(value)) == [f"x: {value!r}, static"]


class Float(float):
    pass


class Complex(complex):
    pass


def test_classes_derived_from_float_are_inputs_and_keep_their_type_where_they_are_static():
    assert flatten(Float(1.5)).leaves == [1.5]
    assert flatten(Complex(1j)).leaves == [1j]
    for value in (Float(1.5), Complex(1 + 2j)):
        made = flatten(value, static=True).rebuild([])
        assert (type(made), made) == (type(value), value)


@pytest.mark.parametrize(
    "member",
    [Colour.RED, Level.NONE, Level.SOME, Right.READ, Right.READ | Right.WRITE, Right(0), Scale.NONE, Scale.HALF],
)
def test_members_of_enums_are_part_of_the_key(member):
    flat = flatten(member)
    assert flat.leaves == []
    assert flat.rebuild([]) is member
    assert (key(member) == key(Level.SOME)) == (member is Level.SOME)


def test_names_of_enums_in_words():
    assert texts([Colour.CRIMSON, Level.NONE]) == ["x[0]: Colour.RED, static", "x[1]: Level.NONE, static"]


class Integer(int):
    pass


class Text(str):
    __slots__ = ()


def test_classes_derived_from_int_and_str_are_compared_by_value_and_type():
    for value, plain in ((Integer(3), 3), (Text("a"), "a")):
        flat = flatten(value)
        assert flat.leaves == []
        assert type(flat.rebuild([])) is type(value)
        assert flat.key == key(type(value)(plain))
        assert flat.key != key(plain)


def test_a_scalar_with_attributes_of_its_own_is_refused():
    number = Integer(3)
    number.unit = "GeV"
    with pytest.raises(StructureError, match=r"x is of type Integer, a scalar with attributes of its own \(unit\)"):
        flatten(number, name="x")


# -- containers ---------------------------------------------------------------------------------------------------


class Name(list):
    """A list with attributes."""

    def __init__(self, name, *items):
        super().__init__(items)
        self.name = name


class Loud(list):
    """A list whose methods are its own."""

    def extend(self, items):
        raise AssertionError

    def append(self, item):
        raise AssertionError


class Count(OrderedDict):
    def __init__(self, start):
        super().__init__()
        self["start"] = start


class Slotted(dict):
    __slots__ = ("note",)


class Track(tuple):  # noqa: SLOT001 - it is to have attributes
    pass


class Place(Point):
    pass


def with_attributes(obj, **attributes):
    for name, value in attributes.items():
        setattr(obj, name, value)
    return obj


CONTAINERS = [
    [],
    (),
    {},
    [1.5, 2, "a"],
    (1.5, [2.5, (3.5,)]),
    {"b": 1.5, "a": [2.5]},
    {1: 1.5, "1": 2.5, None: 3, (1, 2): 4.5, 0.5: 5},
    {Colour.RED: 1.5, b"": 2},
    OrderedDict(b=1.5, a=2),
    OrderedDict([(2, 1.5), (1, 2)]),
    defaultdict(list, a=[1.5]),
    defaultdict(None, {1: 2.5}),
    deque([1.5, 2]),
    deque([1.5, 2], maxlen=2),
    deque(maxlen=0),
    Point(1.5, 2.5),
    Pair([1.5], None),
    Track([1.5, 2]),
    with_attributes(Track([1.5]), length=2.5),
    with_attributes(Place(1.5, 2), label="here"),
    Counter("abca"),
    SimpleNamespace(),
    SimpleNamespace(b=1.5, a=2),
    MappingProxyType({"a": 1.5}),
    MappingProxyType({}),
    set(),
    {1, 2.5, "a", (1, 2)},
    frozenset({1.5, None}),
    frozenset({frozenset({1}), frozenset({2})}),
    range(2, 10, 3),
    slice(1, None, 2),
    Name("n", 1.5, 2),
    Loud([1.5]),
    Count(1.5),
    Slotted(a=1.5),
    with_attributes(Slotted(a=1.5), note=[2.5]),
    time.gmtime(0),
]


@pytest.mark.parametrize("obj", CONTAINERS)
def test_containers_come_back_as_they_were(obj):
    made = round_trip(obj)
    assert type(made) is type(obj)
    assert made == obj
    assert key(made) == key(obj)
    if isinstance(obj, dict):
        assert list(made.items()) == list(obj.items())
    assert getattr(made, "__dict__", None) == getattr(obj, "__dict__", None)
    hash(key(obj))


@pytest.mark.parametrize("obj", CONTAINERS, ids=lambda obj: type(obj).__name__)
def test_containers_without_inputs_can_be_static(obj):
    flat = flatten(obj, static=True)
    assert flat.leaves == []
    made = flat.rebuild([])
    assert (type(made), made) == (type(obj), obj)


def test_no_two_of_these_containers_have_equal_keys():
    assert len({key(obj) for obj in CONTAINERS}) == len(CONTAINERS)
    assert len({key(obj, static=True) for obj in CONTAINERS}) == len(CONTAINERS)


def test_default_factory_and_maxlen_come_back():
    assert round_trip(defaultdict(list, a=[1.5])).default_factory is list
    assert round_trip(deque([1.5], maxlen=3)).maxlen == 3


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([1.5], (1.5,)),
        ([1.5], [1.5, 2.5]),
        ([1.5], [1]),
        ([1], [True]),
        ((1.5, 2.5), Point(1.5, 2.5)),
        (Point(1.5, 2.5), Pair(1.5, 2.5)),
        ({"a": 1.5}, {"b": 1.5}),
        ({"a": 1.5, "b": 2.5}, {"b": 2.5, "a": 1.5}),
        ({1: 1.5}, {True: 1.5}),
        ({1: 1.5}, {1.0: 1.5}),
        ({0.0: 1}, {-0.0: 1}),
        ({"a": 1.5}, OrderedDict(a=1.5)),
        ({1: 1.5}, OrderedDict({1: 1.5})),
        ({"a": 1.5}, defaultdict(None, a=1.5)),
        (deque([1.5]), deque([1.5], maxlen=1)),
        ({1}, {True}),
        ({1}, {1.0}),
        ({1}, frozenset({1})),
        (range(0, 3, 2), range(0, 4, 2)),
        (slice(0, 1), slice(0, True)),
        (Name("n", 1.5), Name("m", 1.5)),
        (Loud([1.5]), [1.5]),
        (Track([1.5]), with_attributes(Track([1.5]), length=1)),
    ],
    ids=repr,
)
def test_what_differs_in_structure_differs_in_key(one, other):
    assert key(one) != key(other)
    assert key([one]) != key([other])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([1.5, 2.5], [3.5, math.nan]),
        ({"a": 1.5}, {"a": 2.5}),
        (SimpleNamespace(a=1.5, b=2), SimpleNamespace(b=2, a=0.5)),
        ({1, 2, 3}, {3, 2, 1}),
        ({math.nan: 1}, {float("nan"): 1}),
        (Name("n", 1.5), Name("n", 2.5)),
        (slice(1.5, None), slice(2.5, None)),
    ],
    ids=repr,
)
def test_what_differs_in_values_only_has_one_key(one, other):
    assert key(one) == key(other)


def test_the_order_of_leaves_is_that_of_the_parts():
    obj = {"b": [1.5, (2.5, {"z": 3.5})], "a": Point(4.5, 5.5), "c": {7: 6.5}}
    flat = flatten(obj)
    assert flat.leaves == [1.5, 2.5, 3.5, 4.5, 5.5, 6.5]
    assert flat.rebuild([x + 1 for x in flat.leaves]) == {
        "b": [2.5, (3.5, {"z": 4.5})],
        "a": Point(5.5, 6.5),
        "c": {7: 7.5},
    }


class Namespace(dict):
    """A dict that is its own namespace."""

    def __init__(self, **items):
        super().__init__(**items)
        self.__dict__ = self


@pytest.mark.parametrize("static", [False, True])
def test_a_dict_that_is_its_own_namespace_comes_back_as_one(static):
    obj = Namespace(a=1.5, b="x")
    flat = flatten([obj, obj, Static(obj)] if not static else obj, static=static)
    assert flat.leaves == ([] if static else [1.5])
    made = flat.rebuild(flat.leaves)
    for each in [made] if static else [made[0], made[2]]:
        assert (each, each.a, each.b) == (obj, 1.5, "x")
        each.c = 2
        assert each["c"] == 2


class Free(SimpleNamespace):
    def __init__(self, name):
        super().__init__(name=name, length=len(name))


def test_a_class_derived_from_a_namespace_comes_back_without_its_constructor():
    made = round_trip(Free("abc"))
    assert (type(made), vars(made)) == (Free, {"name": "abc", "length": 3})


# -- sharing and cycles -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [list, dict, deque, set, SimpleNamespace, OrderedDict, Namespace])
def test_shared_references_are_part_of_the_structure(make):
    shared = make()
    flat = flatten([shared, (shared,), make()])
    made = flat.rebuild(flat.leaves)
    assert made[0] is made[1][0]
    assert made[0] is not made[2]
    assert flat.key != key([make(), (make(),), make()])
    assert flat.key == key(made)


def test_immutable_containers_are_not_shared():
    shared = (1.5, 2.5)
    assert key([shared, shared]) == key([(1.5, 2.5), (3.5, 4.5)])
    assert flatten([shared, shared]).leaves == [1.5, 2.5, 1.5, 2.5]


def test_a_variable_is_one_input_however_often_it_occurs():
    first, second = Variable(), Variable()
    flat = flatten([first, second, {"a": first}])
    assert flat.leaves == [first, second]
    assert flat.rebuild(["p", "q"]) == ["p", "q", {"a": "p"}]
    assert flat.key != key([first, second, {"a": second}])
    assert flat.key == key([second, first, {"a": second}])


def cyclic_list():
    obj = [1.5]
    obj.append({"x": (obj,)})
    return obj


def cyclic_dict():
    obj = {}
    obj["self"] = obj
    return obj


def cyclic_proxy():
    obj = {}
    obj["x"] = MappingProxyType(obj)
    return obj


def cyclic_default():
    obj = defaultdict(list)
    obj["x"] = obj
    return obj


def cyclic_namespace():
    obj = SimpleNamespace()
    obj.a = [obj]
    return obj


def cyclic_static():
    obj = [1.5]
    obj.append(Static(obj))
    return obj


def cyclic_attribute():
    obj = Name("n")
    obj.append(obj)
    return obj


@pytest.mark.parametrize(
    ("make", "path", "type_name"),
    [
        (cyclic_list, r"data\[1\]\['x'\]\[0\]", "list"),
        (cyclic_dict, r"data\['self'\]", "dict"),
        (cyclic_proxy, r"data\['x'\]\['x'\]", "mappingproxy"),
        (cyclic_default, r"data\['x'\]", "defaultdict"),
        (cyclic_namespace, r"data\.a\[0\]", "SimpleNamespace"),
        (cyclic_static, r"data\[1\]", "list"),
        (cyclic_attribute, r"data\[0\]", "Name"),
    ],
)
def test_a_container_that_holds_itself_is_refused_with_its_path(make, path, type_name):
    with pytest.raises(StructureError, match=rf"^{path} holds itself \({type_name}\).*Break the cycle") as raised:
        flatten(make(), name="data")
    assert isinstance(raised.value, TypeError)
    assert raised.value.__suppress_context__


def test_an_attribute_may_refer_to_the_container_that_has_it():
    obj = Name("n", 1.5)
    obj.me = obj
    made = round_trip(obj)
    assert made.me is made
    assert made == [1.5]


def test_the_whole_object_has_a_name_in_messages_where_none_is_given():
    with pytest.raises(StructureError, match=r"^The object is of type object"):
        flatten(object())
    with pytest.raises(StructureError, match=r"^\[0\] is of type object"):
        flatten([object()])


# -- sets and keys of dicts ---------------------------------------------------------------------------------------


class ByIdentity:
    pass


@register(ByIdentity)
def by_identity(obj):
    return {}


class Named:
    """Compared by identity, with an input."""

    def __init__(self, x):
        self.x = x


@register(Named)
def named(obj):
    return {"x": obj.x}


class ByValue:
    def __init__(self, value):
        self.value = value

    def __eq__(self, other):
        return isinstance(other, ByValue) and self.value == other.value

    def __hash__(self):
        return hash(self.value)


@register(ByValue)
def by_value(obj):
    return {"value": obj.value}


def test_elements_of_sets_are_compared_by_value():
    obj = {ByValue(1.5), ByValue("a"), 3}
    flat = flatten(obj)
    assert flat.leaves == []
    assert flat.rebuild([]) == obj
    assert flat.key == key({3, ByValue("a"), ByValue(1.5)})
    assert flat.key != key({ByValue(2.5), ByValue("a"), 3})


def test_opaque_elements_of_sets_are_the_original_ones():
    one, other = Opaque(), Opaque()
    obj = {one, other, len}
    flat = flatten([obj, one])
    made = flat.rebuild(flat.leaves)
    assert made[0] == obj
    assert made[1] in made[0]
    assert {id(each) for each in flat.weak} == {id(one), id(other), id(len)}


def test_a_set_does_not_number_what_it_holds():
    # Check that the arbitrary order of elements does not reach the key: later references would depend on it.
    # Their hashes collide in a small table, so that the order depends on who came first.
    parts = [ByValue(1024 * n) for n in range(50)]
    shared = []
    for elements in (parts, parts[::-1]):
        flat = flatten([{*elements}, shared, shared])
        made = flat.rebuild(flat.leaves)
        assert made[1] is made[2]
        assert made[0] == set(parts)
    assert list({*parts}) != list({*parts[::-1]})
    assert key([set(parts), shared, shared]) == key([{*parts[::-1]}, shared, shared])


@pytest.mark.parametrize("make", [lambda x: {x}, lambda x: frozenset({x}), lambda x: {(1, x)}])
def test_elements_compared_by_identity_are_refused(make):
    with pytest.raises(StructureError, match=r"^d\.a is a set with an element of type .* compared by identity"):
        flatten(SimpleNamespace(a=make(ByIdentity())), name="d")


def test_an_element_that_cannot_be_taken_apart_is_named():
    with pytest.raises(StructureError, match=r"^d element is of type object"):
        flatten({object()}, name="d")


def test_a_set_that_is_met_again_is_the_same():
    obj = {1, 2}
    made = round_trip([obj, obj])
    assert made[0] is made[1]


def test_keys_of_dicts_with_an_identity_stay_what_they_are():
    # Check that an argument is still found in a dict that came with it.
    known, opaque = ByIdentity(), Opaque()
    flat = flatten([{known: 1.5, opaque: 2.5}, known, opaque])
    table, made, same = flat.rebuild(flat.leaves)
    assert (table[made], table[same]) == (1.5, 2.5)
    assert made is not known
    assert same is opaque


def test_inputs_of_keys_with_an_identity_are_inputs():
    one, other = Named(1.5), Named(2.5)
    assert flatten({one: 3.5}).leaves == [1.5, 3.5]
    assert key({one: 3.5}) == key({other: 4.5})
    assert key({ByValue(1.5): 3.5}) != key({ByValue(2.5): 3.5})


def test_a_key_of_a_dict_that_cannot_be_taken_apart_is_named():
    with pytest.raises(StructureError, match=r"^d key \[<object object at .*>\] is of type object"):
        flatten({object(): 1}, name="d")
    with pytest.raises(StructureError, match=r"^d\[1\] is of type object"):
        flatten({1: object()}, name="d")
    with pytest.raises(StructureError, match=r"^d key \[\(1, .*\)\]\[1\] is of type object"):
        flatten({(1, object()): 1}, name="d")


# -- methods, partials, opaque objects ----------------------------------------------------------------------------


def test_methods_and_partials_are_taken_apart():
    obj = SimpleNamespace(mu=1.5)

    def shift(self, by, factor=1.0):
        return factor * (self.mu + by)

    method = shift.__get__(obj)
    flat = flatten([method, partial(shift, obj, factor=2.5)])
    assert flat.leaves == [1.5, 2.5]
    made = flat.rebuild([10.0, 3.0])
    assert made[0](1.0) == 11.0
    assert made[1](1.0) == 33.0
    assert made[0].__self__ is made[1].args[0]
    assert flat.weak == [shift, shift]


def test_a_method_of_an_object_that_holds_it_is_a_cycle():
    obj = SimpleNamespace()
    obj.callback = (lambda self: self).__get__(obj)
    with pytest.raises(StructureError, match=r"x\.callback\.self holds itself"):
        flatten(obj, name="x")


@pytest.mark.parametrize(
    "obj",
    [Opaque(), Opaque, list, len, math, lambda: None, (i for i in ()), memoryview(b"")],
    ids=lambda obj: type(obj).__name__,
)
def test_other_objects_are_known_by_their_identity(obj):
    flat = flatten([obj, obj])
    assert flat.leaves == []
    assert flat.weak == [obj, obj]
    made = flat.rebuild([])
    assert made[0] is obj
    assert made[1] is obj
    assert flat.key == key([obj, obj])
    assert flat.key != key([obj, Opaque()])


def test_flattening_keeps_nothing_alive():
    obj = Opaque()
    died = weakref.ref(obj)
    kept = key([obj, [obj], SimpleNamespace(a=obj)])
    del obj
    gc.collect()
    assert died() is None
    assert len(kept) > 3


def test_an_id_in_use_again_gives_an_equal_key():
    # Check what the cache must guard against: the key of a dead object says nothing about the one that has its id now.
    seen = {}
    for _ in range(1000):
        obj = Opaque()
        flat = flatten(obj)
        assert flat.rebuild([]) is obj
        seen.setdefault(flat.key, []).append(flat.key[2] == id(obj))
    assert len(seen) < 1000
    assert all(all(each) for each in seen.values())


def test_temporary_parts_do_not_lend_their_ids():
    class Lazy:
        """Makes its parts anew each time."""

    @register(Lazy)
    def lazy(obj):
        return {"parts": SimpleNamespace(a=[1.5]), "more": [[n] for n in range(50)]}

    flat = flatten([Lazy() for _ in range(50)])
    assert len(flat.leaves) == 50
    assert "reference" not in repr(flat.key)
    assert sum(text.startswith("the same object") for text in texts([Lazy() for _ in range(50)])) == 0


@pytest.mark.parametrize(
    ("one", "same", "others"),
    [
        (PurePosixPath("/a"), PurePosixPath("/a"), [PurePosixPath("/b"), PureWindowsPath("/a")]),
        (Decimal("1.0"), Decimal("1.0"), [Decimal("1.00"), Decimal("-1.0"), Fraction(1)]),
        (Decimal(0), Decimal(0), [Decimal("-0")]),
        (Fraction(1, 2), Fraction(1, 2), [Fraction(1, 3), Decimal("0.5")]),
        (date(2020, 1, 2), date(2020, 1, 2), [date(2020, 1, 3), datetime(2020, 1, 2)]),
        (
            datetime(2020, 1, 2, 12, tzinfo=timezone.utc),
            datetime(2020, 1, 2, 12, tzinfo=timezone.utc),
            [datetime(2020, 1, 2, 13, tzinfo=timezone(timedelta(hours=1)))],
        ),
    ],
    ids=repr,
)
def test_values_that_python_cannot_refer_to_weakly_are_compared_by_value(one, same, others):
    flat = flatten([one])
    assert (flat.leaves, flat.weak) == ([], [])
    assert flat.rebuild([]) == [one]
    assert flat.key == key([same])
    assert all(key([other]) != flat.key for other in others)
    assert texts(one) == [f"x: {one!r}, static"]


class Unreadable:
    """Can be hashed, but says nothing of its value."""

    __slots__ = ("value",)

    def __eq__(self, other):
        return True

    def __hash__(self):
        return 1


class Unhashable:
    __slots__ = ("value",)

    def __hash__(self):
        raise TypeError

    def __repr__(self):
        return "Unhashable()"


class Sealed:
    __slots__ = ("value",)


@pytest.mark.parametrize(
    "obj", [object(), Sealed(), bytearray(b""), Unreadable(), Unhashable()], ids=lambda obj: type(obj).__name__
)
def test_what_python_cannot_refer_to_weakly_is_refused_with_the_next_step(obj):
    name = type(obj).__name__
    with pytest.raises(StructureError, match=f"^x is of type {name}, which .* Register a handler") as raised:
        flatten(obj, name="x")
    assert "__weakref__" in str(raised.value)
    assert f"zrun_core.register({name})" in str(raised.value)


# -- static parts -------------------------------------------------------------------------------------------------


def test_static_takes_the_whole_of_a_part_by_value():
    flat = flatten({"cut": Static((1.5, [2.5], {"a": 1j})), "x": 3.5})
    assert flat.leaves == [3.5]
    assert flat.rebuild([4.5]) == {"cut": (1.5, [2.5], {"a": 1j}), "x": 4.5}
    assert flat.key != key({"cut": Static((1.5, [2.6], {"a": 1j})), "x": 3.5})


@pytest.mark.parametrize("leaf", [Array(3), Variable()], ids=["array", "variable"])
@pytest.mark.parametrize("wrap", [lambda x: Static(x), lambda x: [x, Static([x])]], ids=["alone", "after an input"])
def test_an_input_cannot_be_static(leaf, wrap):
    with pytest.raises(StructureError, match=r"is static but holds a value that changes \((Array|Variable)\)"):
        flatten(wrap(leaf), name="x")


def test_static_ends_with_its_part():
    obj = SimpleNamespace(a=Static(1.5), b=2.5)
    assert flatten(obj).leaves == [2.5]
    into = Flattening()
    with pytest.raises(Refusal):
        into.visit(Static(Array(3)))
    assert into.static is False


def test_what_is_an_input_and_static_is_two_things():
    # Check that a static part is compared by value even where the same object is an input, too.
    shared = [1.5]
    flat = flatten([shared, Static(shared), shared, Static(shared)])
    assert flat.leaves == [1.5]
    made = flat.rebuild([7.5])
    assert made == [[7.5], [1.5], [7.5], [1.5]]
    assert made[0] is made[2]
    assert made[1] is made[3]
    shared[0] = 2.5
    assert flat.key != key([shared, Static(shared), shared, Static(shared)])


def test_what_is_static_first_is_static_wherever_it_occurs():
    shared = [1.5]
    flat = flatten([Static(shared), shared])
    assert flat.leaves == []
    made = flat.rebuild([])
    assert made[0] is made[1]


# -- handlers -----------------------------------------------------------------------------------------------------


class Histogram:
    def __init__(self, counts, name):
        self.counts, self.name = counts, name
        self.total = sum(counts)


class Special(Histogram):
    pass


class Own(Histogram):
    pass


@register(Histogram)
def histogram(h):
    """Counts and name."""
    return {"counts": h.counts, "name": h.name}


@register(Own)
def own(h):
    return {"own": h.counts}


def test_a_handler_takes_objects_apart():
    flat = flatten(Histogram([1.0, 2.0], "mass"))
    assert flat.leaves == [1.0, 2.0]
    assert flat.key == key(Histogram([3.0, 4.0], "mass"))
    assert flat.key != key(Histogram([1.0, 2.0], "width"))
    made = flat.rebuild([5.0, 6.0])
    assert (type(made), made.counts, made.name) == (Histogram, [5.0, 6.0], "mass")
    assert not hasattr(made, "total")


def test_a_handler_goes_on_being_the_function():
    assert histogram(Histogram([1.0], "a")) == {"counts": [1.0], "name": "a"}
    assert (histogram.__name__, histogram.__doc__) == ("histogram", "Counts and name.")


def test_subclasses_follow_unless_they_have_a_handler_of_their_own():
    special, other = Special([1.0], "a"), Own([1.0], "a")
    assert texts(special) == ["x: object Special, static", "x.counts[0]: float", "x.name: 'a', static"]
    assert texts(other) == ["x: object Own, static", "x.own[0]: float"]
    assert type(round_trip(special)) is Special
    assert key(special) != key(Histogram([1.0], "a"))


def test_the_nearest_handler_in_the_mro_counts():
    class Left(Histogram):
        pass

    class Right2(Own):
        pass

    class Both(Left, Right2):
        pass

    assert [row.path for row in rows(key(Both([1.0], "a")), "x")] == ["x", "x.own[0]"]


def test_a_handler_may_say_how_an_object_is_made():
    class Grid:
        def __init__(self, low, high):
            self.low, self.high = low, high
            self.width = high - low

    @register(Grid)
    def grid(g):
        return {"low": g.low, "high": g.high}

    @grid.rebuild
    def make(parts):
        return Grid(**parts)

    made = flatten(Grid(1.0, 2.0)).rebuild([1.0, 5.0])
    assert (made.high, made.width) == (5.0, 4.0)
    assert make({"low": 0.0, "high": 1.0}).width == 1.0


def test_a_handler_of_a_container_comes_before_the_container():
    class Table(dict):
        pass

    class Sub(Table):
        pass

    @register(Table)
    def table(t):
        return {"names": tuple(t)}

    assert [row.path for row in rows(key(Sub(a=1.5)), "x")] == ["x", "x.names[0]"]


def test_an_object_of_a_registered_type_is_shared():
    obj = Histogram([1.0], "a")
    made = round_trip([obj, obj, Histogram([1.0], "a")])
    assert made[0] is made[1]
    assert made[0] is not made[2]


def test_a_handler_that_returns_no_mapping_is_an_error():
    class Odd:
        pass

    @register(Odd)
    def odd(o):
        return [1.5]

    with pytest.raises(TypeError, match=r"handler odd of .*Odd must return a mapping of names to parts; got \[1.5\]"):
        flatten(Odd())


def test_an_error_in_a_handler_passes_through():
    class Broken:
        pass

    @register(Broken)
    def broken(o):
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        flatten([Broken()])


def test_only_types_can_be_registered():
    with pytest.raises(TypeError, match="register takes a type; got 3 of type int"):
        register(3)


def test_an_object_that_needs_its_constructor_says_so():
    @register(Sealed)
    def sealed(s):
        return {"value": s.value}

    made = round_trip(with_attributes(Sealed(), value=1.5))
    assert made.value == 1.5

    class Failure(Exception):
        pass

    @register(Failure)
    def failure(e):
        return {"code": 1}

    flat = flatten(Failure())
    with pytest.raises(TypeError, match=r"Failure cannot be put together from its attributes.*give it a rebuild"):
        flat.rebuild([])


def test_a_callable_object_can_be_a_handler():
    class Take:
        """Takes apart."""

        def __call__(self, obj):
            return {"x": 1.5}

    class Thing:
        pass

    handler = register(Thing)(Take())
    assert (handler.__name__, handler.__doc__) == ("handler", "Takes apart.")
    assert flatten(Thing()).leaves == [1.5]


# -- visitors and rules -------------------------------------------------------------------------------------------


def test_a_visitor_that_is_added_later_counts_from_then_on():
    class Late:
        pass

    class Sub(Late):
        pass

    obj = Sub()
    assert visitor_of(Sub) is visit_opaque
    assert flatten(obj).weak == [obj]
    add_visitor(Late, visit_static)
    assert flatten(obj).weak == []
    add_visitor(Sub, visit_opaque)
    assert flatten(obj).weak == [obj]


def test_a_rule_is_asked_before_the_bases_and_after_the_class_itself():
    class Base:
        pass

    class Sub(Base):
        pass

    class Sub2(Base):
        pass

    add_visitor(Base, visit_static)
    add_visitor(Sub2, visit_static)
    ruled = weakref.WeakSet([Base, Sub, Sub2])
    add_rule(lambda cls: visit_opaque if cls in ruled else None)
    sub = Sub()
    assert flatten(Base()).weak == []
    assert flatten(sub).weak == [sub]
    assert flatten(Sub2()).weak == []


def test_classes_die_freely():
    def make():
        class Local(list):
            pass

        class Known:
            pass

        register(Known)(vars)
        flatten([Local([1.5]), Known(), Local()])
        return weakref.ref(Local), id(Local)

    dead, marker = make()
    gc.collect()
    assert dead() is None
    assert marker not in _found


def test_a_class_is_not_taken_for_one_that_had_its_id():
    for _ in range(200):
        flatten(type("Local", (list,), {})([1.5]))
        flatten(type("Local", (), {})())
    assert flatten(type("Local", (list,), {})([1.5])).leaves == [1.5]


def test_the_death_of_a_class_does_not_touch_one_that_has_its_id():
    class Old:
        pass

    visitor_of(Old)
    late = _found.pop(id(Old))
    visitor_of(Old)
    _forget(late)
    assert _found[id(Old)]() is Old


def test_a_class_does_not_get_the_visitor_of_one_that_had_its_id():
    class Old:
        pass

    class New(Old):
        pass

    add_visitor(Old, visit_static)
    visitor_of(Old)
    # As if the old class had died unseen.
    _found[id(New)] = _found[id(Old)]
    add = visitor_of(New)
    assert add is visit_static
    assert _found[id(New)]() is New


def test_nodes_must_say_how_they_are_read():
    node = Node()
    for call in (
        lambda: node.rebuild((node,), None),
        lambda: node.rows((node,), "x"),
        lambda: node.label(None, [], 0),
    ):
        with pytest.raises(NotImplementedError):
            call()


def test_an_object_is_put_together_from_its_key_alone():
    flat = flatten({"a": [1.5, "x"], "b": 2.5})
    assert rebuild(flat.key, ["p", "q"]) == {"a": ["p", "x"], "b": "q"}


# -- keys in words ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (1.5, ["x: float"]),
        (1j, ["x: complex"]),
        (3, ["x: 3, static"]),
        (Array(3), ["x: array (3,)"]),
        (Variable(), ["x: variable"]),
        ([], ["x: empty list, static"]),
        ([1.5, 2], ["x[0]: float", "x[1]: 2, static"]),
        ((), ["x: empty tuple, static"]),
        ({"a": 1.5}, ["x['a']: float"]),
        ({1: 1.5, (1, "b"): 2}, ["x[1]: float", "x[1, 'b']: 2, static"]),
        (OrderedDict(a=1.5), ["x: ordered dict OrderedDict, static", "x['a']: float"]),
        (OrderedDict({1: 1.5}), ["x: ordered dict OrderedDict, static", "x[1]: float"]),
        (Counter({1: 2}), ["x: dict Counter, static", "x[1]: 2, static"]),
        (Point(1.5, 2), ["x: named tuple Point, static", "x.x: float", "x.y: 2, static"]),
        (deque([1.5]), ["x: deque deque, static", "x[0]: float"]),
        (deque(maxlen=2), ["x: empty deque with maxlen=2, static"]),
        (SimpleNamespace(b=1, a=2.5), ["x: namespace SimpleNamespace, static", "x.a: float", "x.b: 1, static"]),
        (MappingProxyType({"a": 1.5}), ["x: mapping proxy mappingproxy, static", "x['a']: float"]),
        ({2, 1}, ["x: set {1, 2}, static"]),
        (frozenset({"a"}), ["x: frozenset {'a'}, static"]),
        (
            range(3),
            ["x: indices range, static", "x.start: 0, static", "x.stop: 3, static", "x.step: 1, static"],
        ),
        (Name("n", 1.5), ["x: list Name, static", "x[0]: float", "x.name: 'n', static"]),
        (
            defaultdict(None, a=1.5),
            ["x: default dict defaultdict, static", "x.default_factory: None, static", "x['a']: float"],
        ),
    ],
)
def test_keys_in_words(obj, expected):
    assert texts(obj) == expected


def test_opaque_objects_and_references_in_words():
    obj, shared = Opaque(), [1.5]
    assert texts([obj, shared, shared]) == [
        f"x[0]: the object Opaque at {id(obj):#x}, static",
        "x[1][0]: float",
        "x[2]: the same object as part 1, static",
    ]


def test_leaf_nodes_show_their_name():
    assert repr(flatten([1.5, 2j]).key[3:]) == "((float,), (complex,))"


def test_labels_of_deep_paths():
    obj: Any = {"data": [0, Point(SimpleNamespace(weights=deque([1, object()])), 2)]}
    with pytest.raises(StructureError, match=r"^loss\['data'\]\[1\]\.x\.weights\[1\] is of type object"):
        flatten(obj, name="loss")
    with pytest.raises(StructureError, match=r"^f\.function is of type|^f\.args\[0\] is of type object"):
        flatten(partial(len, object()), name="f")
    with pytest.raises(StructureError, match=r"^n\.name\[0\] is of type object"):
        flatten(Name([object()]), name="n")
