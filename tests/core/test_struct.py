"""Objects taken apart by their attributes: dataclasses, `@struct` classes, classes in the manner of attrs."""

from __future__ import annotations

import copy
import gc
import weakref
from collections import deque
from dataclasses import InitVar, dataclass, field
from enum import Enum
from functools import cached_property
from types import MappingProxyType
from typing import ClassVar, Generic, TypeVar

import pytest

from zrun_core import flatten, register, static, struct, tracked
from zrun_core._attributes import is_its_dict
from zrun_core._structure import rows
from zrun_core.errors import StructureError

T = TypeVar("T")


def key(obj, **options):
    return flatten(obj, **options).key


def round_trip(obj):
    flat = flatten(obj)
    return flat.rebuild(flat.leaves)


def texts(obj, name="x"):
    return [f"{path}: {text}{', static' if is_static else ''}" for path, text, is_static in rows(key(obj), name)]


@dataclass
class Gauss:
    mu: float
    sigma: float = 1.0
    order: int = 3
    limits: tuple = (0.0, 10)


@dataclass(frozen=True)
class Frozen:
    mu: float
    name: str = "frozen"


@dataclass(slots=True)
class Slots:
    mu: float
    name: str = "slots"


@dataclass(frozen=True, slots=True)
class FrozenSlots:
    mu: float
    name: str = "both"


@dataclass(kw_only=True)
class Child(Gauss):
    tail: float = 0.5


@dataclass
class Parts:
    model: Gauss
    others: list


@dataclass
class Marked:
    """Fields of every sort."""

    mu: float
    cut: float = field(default=2.5, metadata={"zrun_static": True})
    edge: tuple = static(default=(1.0, 2.0))
    names: list = static(default_factory=list)  # noqa: RUF009 - what it returns is a field
    area: float = field(init=False, default=0.0)
    hidden: float = field(default=7.0, repr=False, compare=False)
    shared: ClassVar[float] = 99.0
    start: InitVar[float] = 5.0

    def __post_init__(self, start):
        self.area = self.mu + start


@dataclass
class Box(Generic[T]):
    content: T


class Attrs:
    """A class in the manner of attrs, with slots and a private attribute."""

    class Attribute:
        def __init__(self, name, metadata=MappingProxyType({})):
            self.name, self.metadata = name, metadata

    __slots__ = ("__weakref__", "_cut", "mu")
    __attrs_attrs__ = (Attribute("mu"), Attribute("_cut", MappingProxyType({"zrun_static": True})))

    def __init__(self, mu, cut):
        self.mu, self._cut = mu, cut


OBJECTS = [
    Gauss(1.5),
    Gauss(1.5, 2, order=True, limits=()),
    Frozen(1.5),
    Slots(1.5),
    FrozenSlots(1.5),
    Child(1.5, tail=2.5),
    Parts(Gauss(1.5), [Gauss(2.5), Frozen(3.5)]),
    Marked(1.5),
    Box([1.5]),
    Box(Box(None)),
]


@pytest.mark.parametrize("obj", OBJECTS, ids=repr)
def test_dataclasses_come_back_as_they_were(obj):
    made = round_trip(obj)
    assert type(made) is type(obj)
    assert made == obj
    assert made is not obj
    assert repr(made) == repr(obj)
    assert key(made) == key(obj)
    assert getattr(made, "__dict__", None) == getattr(obj, "__dict__", None)


def test_no_two_of_these_objects_have_equal_keys():
    assert len({key(obj) for obj in OBJECTS}) == len(OBJECTS)


@pytest.mark.parametrize("cls", [Gauss, Frozen, Slots, FrozenSlots, Child, Marked])
def test_a_new_object_of_the_same_structure_has_the_same_key(cls):
    assert key(cls(1.5)) == key(cls(2.5))
    assert key(cls(1.5)) != key(cls(1))


def test_float_fields_are_inputs_and_the_rest_is_static():
    flat = flatten(Gauss(1.5, 2.5, order=4, limits=(3.5, 4)))
    assert flat.leaves == [1.5, 2.5, 3.5]
    assert key(Gauss(1.5)) != key(Gauss(1.5, order=4))
    assert key(Gauss(1.5)) != key(Gauss(1.5, limits=(0.0, 11)))


def test_the_constructor_does_not_run_again():
    made = flatten(Marked(1.5, start=2.0)).rebuild([10.0, 20.0, 30.0])
    assert (made.mu, made.area, made.hidden, made.cut) == (10.0, 20.0, 30.0, 2.5)


def test_fields_of_the_class_are_left_to_the_class():
    # Check that neither class variables nor constructor-only fields become attributes of the object.
    made = round_trip(Marked(1.5))
    assert "shared" not in vars(made)
    assert "start" not in vars(made)
    assert [path for path, _, _ in rows(key(Marked(1.5)), "x")] == [
        "x",
        "x.mu",
        "x.cut",
        "x.edge[0]",
        "x.edge[1]",
        "x.names",
        "x.area",
        "x.hidden",
    ]


def test_class_variables_do_not_harm_slots():
    @dataclass(slots=True)
    class Both:
        x: float
        y: ClassVar[int] = 3

    assert round_trip(Both(1.5)) == Both(1.5)


def test_static_fields_are_compared_by_value():
    assert flatten(Marked(1.5)).leaves == [1.5, 6.5, 7.0]
    assert key(Marked(1.5, cut=2.5)) != key(Marked(1.5, cut=-2.5))
    assert key(Marked(1.5, edge=(1.0, 2.0))) != key(Marked(1.5, edge=(1.0, 2.5)))
    assert key(Marked(1.5, names=["a"])) == key(Marked(1.5, names=["a"]))
    assert round_trip(Marked(1.5, cut=-0.0)).cut.hex() == (-0.0).hex()


def test_attributes_that_were_set_besides_the_fields_are_kept():
    one, other = Gauss(1.5), Gauss(2.5)
    one.first, one.second = 7.5, "a"
    other.second, other.first = "a", 8.5
    assert flatten(one).leaves == [1.5, 1.0, 0.0, 7.5]
    assert key(one) == key(other)
    assert key(one) != key(Gauss(1.5))
    assert (round_trip(one).first, round_trip(one).second) == (7.5, "a")


def test_attributes_besides_the_fields_are_in_the_order_of_their_names():
    # Check that it is the same in every process, where sets of strings have another order each time.
    names = [f"extra_{n:02}" for n in range(40)]
    obj = Gauss(1.5)
    for name in reversed(names):
        setattr(obj, name, 0.5)
    assert [path.partition(".")[2] for path, _, _ in rows(key(obj), "x")][-40:] == names


class Doubled:
    """An attribute that is stored as half its value."""

    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, instance, owner=None):
        return self if instance is None else 2 * instance.__dict__[self.name]

    def __set__(self, instance, value):
        instance.__dict__[self.name] = value / 2


def test_attributes_are_what_their_descriptors_say():
    @dataclass
    class Fields:
        width: float
        mu: float

    Fields.width = Doubled()
    Fields.width.__set_name__(Fields, "width")
    obj = Fields(3.0, 1.5)
    assert vars(obj) == {"width": 1.5, "mu": 1.5}
    flat = flatten(obj)
    assert flat.leaves == [3.0, 1.5]
    assert flat.rebuild([5.0, 1.5]).width == 5.0


def test_as_many_attributes_but_others():
    obj = Gauss(1.5)
    del obj.sigma
    obj.extra = 4.5
    made = flatten(obj).rebuild([2.5, 1.0, 0.0, 5.5])
    # The default of the class shows through.
    assert (made.mu, made.sigma, made.extra) == (2.5, 1.0, 5.5)


def test_attributes_that_are_not_set_stay_so():
    empty = object.__new__(Slots)
    made = round_trip(empty)
    assert type(made) is Slots
    assert not hasattr(made, "mu")
    assert key(empty) != key(Slots(1.5))


def test_subclasses_without_a_decorator_follow():
    class Sub(Gauss):
        def __init__(self, mu):
            super().__init__(mu)
            self.more = [mu]

    made = round_trip(Sub(1.5))
    assert (type(made), vars(made)) == (Sub, vars(Sub(1.5)))
    assert key(Sub(1.5)) == key(Sub(2.5))


def test_cached_properties_are_computed_again():
    @struct
    class Model:
        mu: float

        @cached_property
        def double(self):
            return 2 * self.mu

    class Sub(Model):
        pass

    for cls in (Model, Sub):
        obj = cls(1.5)
        before = key(obj)
        assert obj.double == 3.0
        assert key(obj) == before
        assert flatten(obj).rebuild([4.0]).double == 8.0


def test_private_slots_and_slots_of_bases():
    class Base:
        __slots__ = "__secret"  # noqa: PLC0205 - Python takes a single name, too

        def __init__(self):
            self.__secret = 1.5

    @struct
    class Sub(Base):
        __slots__ = ("__dict__", "__weakref__", "open")

        def __init__(self):
            super().__init__()
            self.open = 2.5
            self.free = 3.5

    flat = flatten(Sub())
    assert flat.leaves == [1.5, 2.5, 3.5]
    made = flat.rebuild([4.0, 5.0, 6.0])
    assert (made._Base__secret, made.open, made.free) == (4.0, 5.0, 6.0)


def test_classes_in_the_manner_of_attrs():
    flat = flatten(Attrs(1.5, 2.5))
    assert flat.leaves == [1.5]
    assert flat.key != key(Attrs(1.5, 3.5))
    made = flat.rebuild([4.5])
    assert (made.mu, made._cut) == (4.5, 2.5)


@dataclass
class Table(dict):
    scale: float = 1.0


@dataclass
class Names(list):
    scale: float = 1.0
    tag: str = static(default="t")


@pytest.mark.parametrize(
    "make", [lambda: Table(2.5), lambda: Names(2.5), lambda: Names(tag="u")], ids=["dict", "list", "static"]
)
def test_dataclasses_that_are_containers_keep_items_and_fields(make):
    obj = make()
    if isinstance(obj, dict):
        obj["a"] = 1.5
    else:
        obj.append(1.5)
    made = round_trip(obj)
    assert (type(made), list(made), vars(made)) == (type(obj), list(obj), vars(obj))
    assert key(obj) != key(make())


def test_a_dataclass_that_is_an_enum_is_an_enum():
    @dataclass
    class Spec:
        scale: float

    class Unit(Spec, Enum):
        METRE = 1.0
        FOOT = 0.3

    assert flatten(Unit.FOOT).leaves == []
    assert round_trip(Unit.FOOT) is Unit.FOOT
    assert key(Unit.FOOT) != key(Unit.METRE)


def test_shared_objects_are_shared_again():
    model = Gauss(1.5)
    made = round_trip(Parts(model, [model, Gauss(1.5)]))
    assert made.model is made.others[0]
    assert made.model is not made.others[1]
    assert key(Parts(model, [model])) != key(Parts(Gauss(1.5), [Gauss(1.5)]))


def test_an_object_that_holds_itself_is_refused():
    obj = Box(None)
    obj.content = [obj]
    with pytest.raises(StructureError, match=r"^x\.content\[0\] holds itself \(Box\)"):
        flatten(obj, name="x")


def test_what_cannot_be_taken_apart_is_named_by_its_path():
    with pytest.raises(StructureError, match=r"^self\.others\[1\]\.content is of type object"):
        flatten(Parts(Gauss(1.5), [1, Box(object())]), name="self")
    with pytest.raises(StructureError, match=r"^x\.scale is of type object"):
        flatten(Table(object()), name="x")


def test_dataclasses_in_words():
    assert texts(Child(1.5)) == [
        "x: object Child, static",
        "x.mu: float",
        "x.sigma: float",
        "x.order: 3, static",
        "x.limits[0]: float",
        "x.limits[1]: 10, static",
        "x.tail: float",
    ]


# -- @struct --------------------------------------------------------------------------------------------------------


def test_struct_makes_a_dataclass_compared_by_identity():
    @struct
    class Model:
        """A model."""

        mu: float
        order: int = 1

        def double(self):
            return 2 * self.mu

    obj = Model(1.5, order=2)
    assert repr(obj).endswith("Model(mu=1.5, order=2)")
    assert obj != Model(1.5, order=2)
    assert len({obj, Model(1.5)}) == 2
    assert (Model.__doc__, Model.__name__) == ("A model.", "Model")
    assert flatten(obj).rebuild([4.0]).double() == 8.0


def test_struct_takes_the_options_of_dataclass():
    @struct(frozen=True, eq=True, slots=True)
    class Model:
        mu: float

    assert Model(1.5) == Model(1.5)
    assert not hasattr(Model(1.5), "__dict__")
    assert round_trip(Model(1.5)) == Model(1.5)


def test_a_struct_derived_from_another_has_the_fields_of_both():
    @struct
    class Base:
        mu: float

    @struct
    class Sub(Base):
        sigma: float
        cut: float = static(default=0.5)

    obj = Sub(1.5, 2.5)
    assert flatten(obj).leaves == [1.5, 2.5]
    assert vars(round_trip(obj)) == {"mu": 1.5, "sigma": 2.5, "cut": 0.5}


def test_a_struct_with_a_constructor_of_its_own_keeps_it():
    @struct
    class Model:
        edge = static(default=2.5)
        name = static()

        def __init__(self, mu):
            self.mu = mu
            self.name = "m"

    obj = Model(1.5)
    assert obj.edge == 2.5
    assert flatten(obj).leaves == [1.5]
    obj.edge = 3.5
    assert flatten(obj).leaves == [1.5]
    assert key(obj) != key(Model(1.5))
    other = Model(1.5)
    other.edge = 4.5
    assert key(obj) != key(other)
    assert (round_trip(obj).edge, round_trip(obj).name) == (3.5, "m")
    assert not hasattr(Model, "name")


def test_static_names_are_inherited():
    @struct
    class Base:
        cut = static()

        def __init__(self):
            self.cut, self.mu = 1.5, 2.5

    class Sub(Base):
        pass

    @struct
    class Other(Base):
        edge = static(default=1.0)

        def __init__(self):
            super().__init__()
            self.edge = 3.5

    assert flatten(Sub()).leaves == [2.5]
    assert flatten(Other()).leaves == [2.5]


def test_a_constructor_that_is_inherited_is_kept():
    class Base:
        def __init__(self, mu):
            self.mu = mu

    @struct
    class Model(Base):
        pass

    assert flatten(Model(1.5)).leaves == [1.5]
    assert vars(round_trip(Model(1.5))) == {"mu": 1.5}


def test_a_struct_may_be_derived_from_a_plain_class_and_a_dataclass():
    class Plain:
        def double(self):
            return 2 * self.mu

    @struct
    class Model(Plain, Gauss):
        tail: float = 0.5

    assert flatten(Model(1.5)).leaves == [1.5, 1.0, 0.0, 0.5]
    assert round_trip(Model(1.5)).double() == 3.0


def test_struct_of_a_dataclass_leaves_it_as_it_is():
    @struct
    @dataclass
    class Model:
        mu: float

    assert Model(1.5) == Model(1.5)
    assert flatten(Model(1.5)).leaves == [1.5]


def test_options_for_a_class_that_is_a_dataclass_already_are_refused():
    with pytest.raises(TypeError, match=r"Model is a dataclass already, and frozen would come too late"):

        @struct(frozen=True)
        @dataclass
        class Model:
            mu: float


def test_options_make_a_dataclass_of_a_class_with_a_constructor():
    @struct(repr=True)
    class Model:
        mu: float

        def __init__(self):
            self.mu = 1.5

    assert repr(Model()).endswith("Model(mu=1.5)")
    assert flatten(Model()).leaves == [1.5]


def test_a_default_factory_needs_a_dataclass():
    with pytest.raises(TypeError, match=r"Model\.names has a default_factory, which only a dataclass would call"):

        @struct
        class Model:
            names = static(default_factory=list)

            def __init__(self):
                pass


def test_static_takes_the_options_of_field():
    @struct
    class Model:
        cut: float = static(default=1.5, repr=False, metadata={"unit": "GeV"}, kw_only=True)

    (made,) = Model.__dataclass_fields__.values()
    assert dict(made.metadata) == {"unit": "GeV", "zrun_static": True}
    assert repr(Model()).endswith("Model()")
    assert static(metadata=None).metadata == {"zrun_static": True}


@pytest.mark.parametrize("value", [3, "Model", None.__class__()], ids=["int", "str", "None"])
def test_struct_decorates_classes_only(value):
    with pytest.raises(TypeError, match="struct decorates a class; got"):
        struct()(value)


def test_local_structs_die_freely():
    def make():
        @struct
        class Model:
            mu: float

        flatten(Model(1.5))
        return weakref.ref(Model)

    dead = make()
    gc.collect()
    assert dead() is None


def test_structs_can_be_copied():
    obj = Parts(Gauss(1.5), [1.5])
    assert key(copy.copy(obj)) == key(obj) == key(copy.deepcopy(obj))


def test_the_handler_of_a_base_counts_for_a_class_that_adds_nothing():
    @dataclass
    class Base:
        mu: float

    class Sub(Base):
        pass

    @register(Base)
    def base(obj):
        return {"twice": 2 * obj.mu}

    assert flatten(Sub(1.5)).leaves == [3.0]


def test_a_dataclass_derived_from_a_registered_class_is_a_dataclass():
    class Base:
        pass

    @register(Base)
    def base(obj):
        return {}

    @dataclass
    class Sub(Base):
        mu: float

    assert flatten(Sub(1.5)).leaves == [1.5]
    assert flatten(Base()).leaves == []


def test_attributes_of_tracked_classes():
    @struct
    class Model:
        mu: float = tracked(1.5)
        other: int = 2

    class Slotted:
        __slots__ = ("__weakref__", "_tracked_mu")
        mu = tracked(1.5)

    @struct
    class Both(Slotted):
        __slots__ = ("__dict__",)

        def __init__(self, mu=None):
            if mu is not None:
                self.mu = mu

    @struct
    class Fields:
        __slots__ = ("__weakref__", "_tracked_mu")
        mu: float = tracked(1.5)

    for cls in (Model, Fields):
        assert flatten(cls()).leaves == [1.5]
        assert flatten(cls(2.5)).leaves == [2.5]
        assert round_trip(cls(2.5)).mu == 2.5
    assert flatten(Both(2.5)).leaves == [2.5]
    assert flatten(Both()).leaves == []
    assert round_trip(Both(2.5)).mu == 2.5


def test_deep_objects():
    nested = Box(1.5)
    for _ in range(50):
        nested = Box(deque([nested]))
    assert key(round_trip(nested)) == key(nested)


def test_which_objects_are_what_their_dict_says():
    @struct
    class Plain:
        def __init__(self, mu):
            self.mu = mu

    @struct
    class Slots:
        __slots__ = ("mu",)

        def __init__(self, mu):
            self.mu = mu

    @struct
    class Defaulted:
        mu: float
        scale: float = field(default=2.0, init=False)

    assert is_its_dict(Plain(1.0))
    # What the class gives may change there.
    assert not is_its_dict(Defaulted(1.0))
    # A slot may hold something else while the dict stays as it is.
    assert not any(is_its_dict(obj) for obj in (Slots(1.0), object(), {}, 1.0))
