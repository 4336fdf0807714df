"""Tracked attributes, recordings, @invalidates and touch, without a cache."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import gc
import pickle
import threading
import weakref
from contextlib import contextmanager
from contextvars import copy_context
from enum import Enum
from types import SimpleNamespace

import pytest

from zrun_core import _reads
from zrun_core._invalidates import invalidates, touch
from zrun_core._reads import Recording, note_read
from zrun_core._tracked import TrackedAttribute, tracked


class Colour(Enum):
    RED = 1
    BLUE = 2


class Model:
    order = tracked(3)
    knots = tracked(default_factory=list)
    name = tracked()

    @property
    def doubled(self):
        return 2 * self.order

    @invalidates
    def rebuild(self):
        self.plain = 1

    @invalidates("order")
    def reorder(self):
        self.plain = 2


class Slotted:
    __slots__ = ("__weakref__", "_tracked_order")
    order = tracked(3)


class Lazy:
    __slots__ = ("__weakref__", "_tracked_knots")
    knots = tracked(default_factory=list)


@dataclasses.dataclass
class Data:
    size: float
    order: int = tracked(3)
    knots: list = tracked(default_factory=list)  # noqa: RUF009 - a descriptor, one list per object


@dataclasses.dataclass(frozen=True)
class Frozen:
    order: int = tracked(3)


@dataclasses.dataclass
class Required:
    order: int = tracked()


def read(*actions):
    """Record what the actions read."""
    with Recording() as reads:
        for action in actions:
            action()
    return reads


def read_of(obj, *path):
    """Record the reading of an attribute, without a lambda that would keep the object from dying."""
    with Recording() as reads:
        for name in path:
            obj = getattr(obj, name)
    return reads


# -- the attribute ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [Model, Slotted])
def test_an_attribute_has_a_default_until_it_is_set(cls):
    obj, other = cls(), cls()
    assert obj.order == 3
    obj.order = 4
    assert (obj.order, other.order) == (4, 3)
    del obj.order
    assert obj.order == 3


@pytest.mark.parametrize(("cls", "name"), [(Model, "knots"), (Lazy, "knots")])
def test_a_factory_makes_one_value_per_object(cls, name):
    one, two = cls(), cls()
    assert one.knots == []
    assert one.knots is one.knots
    assert one.knots is not two.knots


def test_what_was_never_set_and_has_no_default_raises():
    with pytest.raises(AttributeError, match=r"Model.name has not been set and has no default"):
        _ = Model().name
    assert not hasattr(Model(), "name")
    assert getattr(Model(), "name", None) is None


def test_the_same_while_recording():
    with Recording(), pytest.raises(AttributeError, match="has not been set"):
        _ = Model().name


@pytest.mark.parametrize("cls", [Model, Slotted])
def test_what_was_never_set_cannot_be_deleted(cls):
    with pytest.raises(AttributeError, match=r"order has not been set"):
        del cls().order


def test_the_value_is_where_python_keeps_attributes():
    model = Model()
    model.order = 4
    assert vars(model) == {"order": 4}


def test_the_class_gives_the_descriptor():
    assert isinstance(Model.order, TrackedAttribute)
    assert [repr(Model.order), repr(Model.knots)] == ["tracked(3)", "tracked(default_factory=<class 'list'>)"]
    assert repr(vars(Model)["name"]) == "tracked()"
    # Check that a dataclass, and hasattr, see that there is no default.
    with pytest.raises(AttributeError, match="name has no default"):
        _ = Model.name


def test_subclasses_inherit_and_override():
    class Child(Model):
        pass

    class Other(Model):
        order = tracked(5)

        @property
        def inherited(self):
            return super().order

    child, other = Child(), Other()
    child.order = 4
    assert (child.order, other.order) == (4, 5)
    reads = read(lambda: child.order)
    child.order = 5
    assert reads.outdated == "test_subclasses_inherit_and_override.<locals>.Child.order changed"
    other.order = 6
    assert other.inherited == 6


def test_a_subclass_of_a_slotted_class_keeps_the_slot():
    class Child(Slotted):
        pass

    child = Child()
    child.order = 4
    assert child.order == 4
    assert vars(child) == {}


@pytest.mark.parametrize("make", [lambda: Data(1.5), lambda: Data(1.5, 3, [])])
def test_a_dataclass_may_have_tracked_fields(make):
    data = make()
    assert (data.size, data.order, data.knots) == (1.5, 3, [])
    assert data == Data(1.5)
    assert repr(data) == "Data(size=1.5, order=3, knots=[])"
    assert dataclasses.replace(data, order=4).order == 4
    assert dataclasses.asdict(data) == {"size": 1.5, "order": 3, "knots": []}
    reads = read(lambda: data.order)
    data.order = 4
    assert reads.outdated


def test_a_dataclass_without_default_demands_the_value():
    with pytest.raises(TypeError, match="order"):
        Required()
    assert Required(2).order == 2


def test_a_frozen_dataclass_stays_frozen():
    frozen = Frozen(4)
    assert (frozen.order, Frozen().order) == (4, 3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        frozen.order = 5


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda obj: pickle.loads(pickle.dumps(obj))])
@pytest.mark.parametrize("cls", [Model, Slotted, Data])
def test_objects_copy_and_pickle(cls, duplicate):
    obj = cls(1.0) if cls is Data else cls()
    obj.order = 7
    reads = read(lambda: obj.order)
    twin = duplicate(obj)
    assert twin.order == 7
    # Check that the copy is an object of its own, whose changes concern nobody who read the original.
    twin.order = 8
    assert not reads.outdated
    assert obj.order == 7


NOT_TRACKABLE = [
    (("__weakref__",), "has no place for its value. Add '_tracked_order' to the __slots__"),
    (("_tracked_order",), "cannot refer to a Bad weakly. Add '__weakref__' to its __slots__"),
]


@pytest.mark.parametrize(("slots", "text"), NOT_TRACKABLE)
def test_a_class_that_cannot_be_tracked_says_what_is_missing(slots, text):
    cls = type("Bad", (), {"__slots__": slots, "order": tracked(3)})
    obj = cls()
    with pytest.raises(TypeError, match=text):
        obj.order = 4
    with pytest.raises(TypeError, match=text):
        _ = obj.order
    with Recording(), pytest.raises(TypeError, match=text):
        _ = obj.order


def test_an_attribute_added_later_needs_its_name():
    class Late:
        pass

    Late.order = tracked(3)
    with pytest.raises(TypeError, match="added to a class after its creation; call its __set_name__ too"):
        Late().order = 4
    vars(Late)["order"].__set_name__(Late, "order")
    late = Late()
    late.order = 4
    assert late.order == 4


def test_one_attribute_has_one_name():
    shared = tracked(3)

    class First:
        order = shared

    with pytest.raises(TypeError, match=r"Second.knots and order are one tracked\(\) attribute"):
        shared.__set_name__(type("Second", (), {}), "knots")
    assert First().order == 3


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: tracked(3, default_factory=list), "a default or a default_factory; got both"),
        (lambda: tracked(default_factory=3), "default_factory must be callable without arguments; got 3"),
    ],
)
def test_wrong_arguments_are_named(call, text):
    with pytest.raises(TypeError, match=text):
        call()


# -- what counts as a change -----------------------------------------------------------------------------------------

SHARED = [1.0]
NAN = float("nan")


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        (3, 3, False),
        (3, 4, True),
        (3, 3.0, True),
        (1, True, True),
        (2.5, 2.5, False),
        (0.0, -0.0, True),
        (NAN, NAN, False),
        (1j, 1j, False),
        (complex(0.0, 0.0), complex(0.0, -0.0), True),
        ("a", "a", False),
        ("a", "b", True),
        (b"a", b"a", False),
        (None, None, False),
        (None, 0, True),
        (Colour.RED, Colour.RED, False),
        (Colour.RED, Colour.BLUE, True),
        # Anything that could have been changed in place counts as changed, also where it is the same object.
        (SHARED, SHARED, True),
        ((1, 2), (1, 2), True),
    ],
)
@pytest.mark.parametrize("cls", [Model, Slotted])
def test_setting_what_is_there_already_is_no_change(cls, old, new, changes):
    obj = cls()
    obj.order = old
    reads = read(lambda: obj.order)
    obj.order = new
    assert bool(reads.outdated) is changes


def test_a_float_of_another_class_counts_as_changed():
    # Check a subclass, which may hold more than its number.
    class Quantity(float):
        pass

    model = Model()
    model.order = Quantity(2.0)
    reads = read(lambda: model.order)
    model.order = Quantity(2.0)
    assert reads.outdated


def test_setting_the_default_is_no_change():
    model = Model()
    reads = read(lambda: model.order)
    model.order = 3
    assert not reads.outdated
    del model.order
    assert not reads.outdated


def test_adding_in_place_through_the_attribute_is_seen():
    # Check the case that identity would miss: += sets the same list.
    model = Model()
    reads = read(lambda: model.knots)
    model.knots += [1.0]
    assert reads.outdated


def test_deleting_is_a_change():
    model = Model()
    model.order = 4
    reads = read(lambda: model.order)
    del model.order
    assert reads.outdated == "Model.order changed"


def test_a_dataclass_initialised_again_goes_back_to_its_default():
    data = Data(1.0, 5)
    reads = read(lambda: data.order)
    data.__init__(1.0)
    assert data.order == 3
    assert reads.outdated


# -- recordings ------------------------------------------------------------------------------------------------------


def test_exactly_what_was_read_counts():
    one, two = Model(), Model()
    reads = read(lambda: one.order)
    one.knots = [1.0]
    two.order = 7
    assert not reads.outdated
    one.order = 7
    assert reads.outdated == "Model.order changed"


def test_reads_are_noted_once_with_object_attribute_and_version():
    model = Model()
    reads = read(lambda: model.order, lambda: model.order)
    (noted,) = reads.reads
    assert (noted.object(), noted.attribute) == (model, "order")
    model.order = 9
    (again,) = read(lambda: model.order).reads
    assert again.version > noted.version


def test_properties_and_nested_objects_are_seen():
    inner, outer = Model(), Model()
    outer.name = inner
    reads = read(lambda: outer.name.doubled)
    assert [each.attribute for each in reads.reads] == ["name", "*", "order"]
    inner.order = 4
    assert reads.outdated == "Model.order changed"


def test_an_inner_recording_is_part_of_the_outer_one():
    model, other = Model(), Model()
    with Recording() as outer:
        _ = model.order
        with Recording() as inner:
            _ = other.order
    assert [each.object() for each in inner.reads] == [other]
    assert [each.object() for each in outer.reads] == [model, other]
    other.order = 4
    assert (bool(inner.outdated), bool(outer.outdated)) == (True, True)


def test_a_change_within_the_recording_counts():
    model = Model()
    with Recording() as reads:
        model.order = 4
        assert not reads.outdated
        _ = model.order
        model.order = 5
    assert reads.outdated


def test_a_recording_ends_with_its_block_also_on_error():
    model = Model()
    with pytest.raises(ZeroDivisionError), Recording() as reads:
        raise ZeroDivisionError
    _ = model.order
    assert reads.reads == ()
    assert _reads.active.get() == ()


def test_threads_record_for_themselves():
    model, seen = Model(), []

    def elsewhere():
        _ = model.order
        seen.append(True)

    with Recording() as reads:
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert seen == [True]
        assert reads.reads == ()
        thread = threading.Thread(target=copy_context().run, args=(elsewhere,))
        thread.start()
        thread.join()
    assert len(reads.reads) == 1


def test_a_task_that_outlives_the_recording_is_not_noted():
    model = Model()

    async def later(event):
        await event.wait()
        return model.order

    async def main():
        event = asyncio.Event()
        with Recording() as reads:
            task = asyncio.create_task(later(event))
            await asyncio.sleep(0)
        event.set()
        assert await task == 3
        return reads

    assert asyncio.run(main()).reads == ()


def test_the_watcher_hears_of_the_first_change_only():
    model, heard = Model(), []
    reads = read(lambda: model.order, lambda: model.knots)
    reads.watch(heard.append)
    model.order = 4
    model.knots = []
    model.order = 5
    assert heard == ["Model.order changed"]
    assert reads.outdated == "Model.order changed"


def test_a_replay_notes_it_all_again():
    model = Model()
    inner = read(lambda: model.order)
    with Recording() as outer:
        inner.replay()
    assert outer.reads == inner.reads
    model.order = 4
    assert outer.outdated
    with Recording() as late:
        inner.replay()
    assert late.outdated == "Model.order changed"


def test_nothing_is_noted_outside_of_a_recording():
    model = Model()
    _ = model.order
    note_read(model)
    assert id(model) not in _reads._states


def test_what_python_cannot_refer_to_weakly_is_passed_over():
    with Recording() as reads:
        note_read(3)
        note_read("text")
    assert reads.reads == ()


# -- nothing is kept -------------------------------------------------------------------------------------------------


def test_objects_die_while_they_are_recorded():
    model = Model()
    watched = weakref.ref(model)
    reads = read_of(model, "order")
    key = id(model)
    del model
    assert watched() is None
    assert key not in _reads._states
    assert reads.reads[0].object() is None


def test_objects_in_cycles_die_too():
    model = Model()
    model.name = model
    watched, key = weakref.ref(model), id(model)
    reads = read_of(model, "name", "order")
    del model
    gc.collect()
    assert watched() is None
    assert key not in _reads._states
    assert not reads.outdated


def test_recordings_die_while_their_objects_live():
    model = Model()
    watched = [weakref.ref(read_of(model, "order")) for _ in range(50)]
    assert [each() for each in watched] == [None] * 50
    assert _reads._states[id(model)].cells["order"].readers == {}


def test_a_recording_that_is_just_being_collected_is_passed_over():
    # Check the moment between the end of the weak reference and the finalizer, which a garbage collection has.
    model = Model()
    reads = read_of(model, "order")
    readers = _reads._states[id(model)].cells["order"].readers
    readers[0] = weakref.ref(read())
    model.order = 4
    assert reads.outdated


def test_an_address_in_use_again_is_another_object():
    # Check what happens if the old object's entry was not taken away: it must not be mistaken for the new one's.
    old, new = Model(), Model()
    reads_old = read_of(old, "order")
    stale = _reads._states[id(old)]
    _reads._states[id(new)] = stale
    new.order = 4
    assert not reads_old.outdated
    reads_new = read_of(new, "order")
    assert _reads._states[id(new)] is not stale
    new.order = 5
    assert (bool(reads_old.outdated), bool(reads_new.outdated)) == (False, True)
    del old
    assert id(new) in _reads._states


def test_the_end_of_an_old_object_leaves_the_new_one_at_its_address_alone():
    old, new = Model(), Model()
    reads = [read_of(old, "order"), read_of(new, "order")]
    state, key = _reads._states[id(new)], id(old)
    _reads._states[key] = state
    del old
    assert _reads._states.pop(key) is state
    new.order = 4
    assert [bool(each.outdated) for each in reads] == [False, True]


def test_the_second_of_two_first_readers_takes_the_cells_of_the_first(monkeypatch):
    # Check the same step by step: the other thread is faster by the time the lock is had.
    model = Model()
    state = _reads._State(model)

    @contextmanager
    def had_by_another_first():
        _reads._states[id(model)] = state
        yield

    monkeypatch.setattr(_reads, "_guard", SimpleNamespace(lock=had_by_another_first()))
    reads = read_of(model, "order")
    assert list(state.cells) == ["order"]
    model.order = 4
    assert reads.outdated


def test_threads_that_read_an_object_first_agree_on_its_cells():
    # Check that no change is lost when several recordings meet at an object nobody has read before.
    for _ in range(200):
        model, start, recordings = Model(), threading.Barrier(4), []

        def work(model=model, start=start, recordings=recordings):
            start.wait()
            recordings.append(read_of(model, "order"))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        model.order = 4
        assert [bool(each.outdated) for each in recordings] == [True] * 4


# -- invalidates and touch -------------------------------------------------------------------------------------------


def test_a_method_invalidates_all_that_was_read_of_its_object():
    model, other = Model(), Model()
    readers = [read(lambda: model.order), read(lambda: model.knots), read(lambda: note_read(model))]
    bystander = read(lambda: other.order)
    model.rebuild()
    assert [each.outdated for each in readers] == ["Model.rebuild was called"] * 3
    assert not bystander.outdated


def test_a_method_may_name_what_it_changes():
    model = Model()
    order, knots, whole = read(lambda: model.order), read(lambda: model.knots), read(lambda: note_read(model))
    model.reorder()
    assert [bool(each.outdated) for each in (order, knots, whole)] == [True, False, False]


def test_an_object_read_from_a_tracked_attribute_is_seen_as_a_whole():
    class Shape:
        @invalidates
        def fill(self):
            self.filled = True

    model, shape = Model(), Shape()
    model.name = shape
    reads = read(lambda: model.name)
    shape.fill()
    assert (
        reads.outdated
        == "test_an_object_read_from_a_tracked_attribute_is_seen_as_a_whole.<locals>.Shape.fill was called"
    )


def test_a_method_that_raises_half_way_invalidates_too():
    class Half:
        order = tracked(3)

        @invalidates
        def change(self):
            self.first = 1
            raise KeyError("second")

    half = Half()
    reads = read(lambda: half.order)
    with pytest.raises(KeyError, match="second"):
        half.change()
    assert reads.outdated


def test_a_coroutine_invalidates_when_it_ends():
    class Async:
        order = tracked(3)

        @invalidates
        async def change(self, value):
            await asyncio.sleep(0)
            return value

    obj = Async()
    reads = read(lambda: obj.order)
    coroutine = obj.change(5)
    assert not reads.outdated
    assert asyncio.run(coroutine) == 5
    assert reads.outdated == "test_a_coroutine_invalidates_when_it_ends.<locals>.Async.change was called"


def test_a_coroutine_that_fails_half_way_invalidates_too():
    class Half:
        order = tracked(3)

        @invalidates
        async def change(self):
            await asyncio.sleep(0)
            raise ZeroDivisionError

    obj = Half()
    reads = read(lambda: obj.order)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(obj.change())
    assert reads.outdated == "test_a_coroutine_that_fails_half_way_invalidates_too.<locals>.Half.change was called"


def test_the_method_keeps_its_face_and_its_arguments():
    class Face:
        @invalidates
        def change(self, a, *, b=2):
            """Change it."""
            return a, b

    assert Face().change(1, b=3) == (1, 3)
    assert (Face.change.__name__, Face.change.__doc__) == ("change", "Change it.")


def test_below_a_property_setter():
    class Gauss:
        _mu = 0.0
        order = tracked(3)

        @property
        def mu(self):
            return self._mu

        @mu.setter
        @invalidates
        def mu(self, value):
            self._mu = value

    gauss = Gauss()
    reads = read(lambda: note_read(gauss))
    gauss.mu = 1.0
    assert reads.outdated


def generator(self):
    yield self


async def async_generator(self):
    yield self


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ((), r"takes names of tracked attributes, or decorates a method without parentheses; got \(\)"),
        (("order", 3), r"takes names of tracked attributes.* got \('order', 3\)"),
        ((property(lambda self: 1),), r"decorates a method; got .* of type property. Put @invalidates below"),
        ((classmethod(lambda cls: 1),), "decorates a method; got .* of type classmethod"),
        ((generator,), "cannot decorate the generator generator: its body runs after the call"),
        ((async_generator,), "cannot decorate the generator async_generator"),
    ],
)
def test_what_cannot_announce_its_end_is_refused(given, text):
    with pytest.raises(TypeError, match=text):
        invalidates(*given)


def test_a_name_that_is_not_tracked_is_refused_before_anything_changes():
    class Typo:
        order = tracked(3)

        @invalidates("ordre")
        def change(self):
            raise AssertionError("the body must not run")

    with pytest.raises(TypeError, match=r"Typo.change: 'ordre' is not a tracked attribute of .*Typo.* Declare 'ordre"):
        Typo().change()


def test_touch_says_what_nobody_could_see():
    model = Model()
    knots, order = read(lambda: model.knots), read(lambda: model.order)
    model.knots.append(1.0)
    assert not knots.outdated
    touch(model, "knots")
    assert knots.outdated == "touch(Model object, 'knots') was called"
    assert not order.outdated
    touch(model)
    assert order.outdated == "touch(Model object) was called"


def test_touch_checks_names():
    model = Model()
    reads = read(lambda: model.order)
    with pytest.raises(TypeError, match="touch: 'plain' is not a tracked attribute of Model"):
        touch(model, "order", "plain")
    assert not reads.outdated


def test_touching_what_nobody_read_does_nothing():
    touch(Model())
    touch(3)
