"""An objective looks at its loss and data anew when they have changed, and only then."""

from __future__ import annotations

import dataclasses
import gc
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf

import zrun_tf as zrun
from zrun_tf._carried import Carried, state_of
from zrun_tf._losses import functions_of
from zrun_tf._unchanged import snapshot

DATA = np.array([1.0, 2.0, 4.0])


@zrun.struct
class Shift:
    by: object

    def of(self, x):
        return x - self.by


@zrun.struct
class Model:
    mu: tf.Variable
    shift: Shift
    factors: list
    order: int = 1

    def loss(self, data):
        total = tf.reduce_sum((self.shift.of(data) - self.mu) ** 2) * self.order
        return total * self.factors[0]


def made():
    mu = tf.Variable(0.0, dtype=tf.float64)
    model = Model(mu, Shift(0.5), [2.0])
    return model, zrun.objective(model.loss, [mu], data=DATA)


def value(shift=0.5, factor=2.0, order=1, mu=0.0):
    return float(np.sum((DATA - shift - mu) ** 2)) * order * factor


@pytest.fixture
def looks(monkeypatch):
    """How often a loss was taken apart."""
    found = []
    monkeypatch.setattr(Carried, "_look", lambda *args, look=Carried._look: found.append(1) or look(*args))
    return found


def test_an_unchanged_loss_is_taken_apart_once(looks):
    _, objective = made()
    for x in (0.0, 0.5, 1.0):
        assert objective.value([x]) == pytest.approx(value(mu=x))
        objective.gradient([x])
    assert len(looks) == 1


def shift_another(model):
    model.shift = Shift(1.5)
    return value(shift=1.5)


def shift_by(model):
    model.shift.by = -0.5
    return value(shift=-0.5)


def shift_by_a_tensor(model):
    model.shift.by = tf.constant(0.25, tf.float64)
    return value(shift=0.25)


def shift_by_a_variable(model):
    model.shift.by = tf.Variable(0.75, dtype=tf.float64)
    return value(shift=0.75)


def another_order(model):
    model.order = 3
    return value(order=3)


def an_item(model):
    model.factors[0] = 4.0
    return value(factor=4.0)


def items_in_front(model):
    model.factors.insert(0, 8.0)
    return value(factor=8.0)


def another_list(model):
    model.factors = [16.0]
    return value(factor=16.0)


def a_name_taken_over(model):
    # The same objects in the same order, under other names.
    values = {"mu": model.mu, "shift": model.shift, "factors": model.factors, "order": model.order}
    vars(model).clear()
    vars(model).update(mu=values["mu"], shift=values["shift"], factors=values["factors"], extra=values["order"])
    return value()


@pytest.mark.parametrize(
    "change",
    [
        shift_another,
        shift_by,
        shift_by_a_tensor,
        shift_by_a_variable,
        another_order,
        an_item,
        items_in_front,
        another_list,
        a_name_taken_over,
    ],
)
def test_a_change_is_seen_at_once(looks, change):
    model, objective = made()
    x = [0.0]
    assert objective.value(x) == pytest.approx(value())
    expected = change(model)
    assert objective.value(x) == pytest.approx(expected)
    assert len(looks) == 2
    gradient = objective.gradient(x)
    with zrun.run.using(graph=False):
        assert objective.gradient(x) == pytest.approx(gradient)


def test_the_value_of_a_variable_that_is_no_parameter_is_seen(looks):
    model, _ = made()
    model.shift.by = shift = tf.Variable(0.5, dtype=tf.float64)
    objective = zrun.objective(model.loss, [model.mu], data=DATA)
    looks.clear()
    for by in (0.5, 1.5, -0.25):
        shift.assign(by)
        assert objective.value([0.0]) == pytest.approx(value(shift=by))
    assert not looks


def test_an_array_that_is_changed_in_place_is_seen():
    model, _ = made()
    model.shift.by = by = np.array(0.5)
    objective = zrun.objective(model.loss, [model.mu], data=DATA)
    assert objective.value([0.0]) == pytest.approx(value())
    by[...] = 2.5
    assert objective.value([0.0]) == pytest.approx(value(shift=2.5))


@zrun.struct
class Slotted:
    __slots__ = ("__weakref__", "by", "mu")

    def __init__(self, mu, by):
        self.mu, self.by = mu, by

    def loss(self, data):
        return tf.reduce_sum((data - self.by - self.mu) ** 2) * 2.0


@dataclasses.dataclass
class Computed:
    mu: tf.Variable
    shift: float

    @property
    def by(self):
        return self.shift / 2.0

    def loss(self, data):
        return tf.reduce_sum((data - self.by - self.mu) ** 2) * 2.0


@pytest.mark.parametrize(("cls", "name", "before", "after"), [(Slotted, "by", 0.5, 1.5), (Computed, "shift", 1.0, 3.0)])
def test_slots_are_looked_at_each_time_and_what_a_property_computes_follows(cls, name, before, after):
    mu = tf.Variable(0.0, dtype=tf.float64)
    model = cls(mu, before)
    objective = zrun.objective(model.loss, [mu], data=DATA)
    assert objective.value([0.0]) == pytest.approx(value())
    setattr(model, name, after)
    assert objective.value([0.0]) == pytest.approx(value(shift=1.5))


def test_what_cannot_be_watched_has_no_snapshot():
    assert snapshot([{1: 2}, [3], Shift(1.0), tf.Variable(1.0)]) is not None
    assert snapshot([{1, 2}]) is None
    assert snapshot([Slotted(1.0, 2.0)]) is None
    assert snapshot([object()]) is None


def test_a_dict_is_compared_by_identity_in_order():
    tensor = tf.constant([1.0, 2.0])
    mapping = {"a": tensor, "b": 1.5}
    seen = snapshot([mapping])
    assert seen.is_current()
    mapping["c"] = 1
    assert not seen.is_current()
    del mapping["c"]
    assert seen.is_current()
    mapping["b"] = mapping.pop("a")
    assert not seen.is_current()


@dataclasses.dataclass
class Scaled:
    mu: tf.Variable
    scale: float = dataclasses.field(default=2.0, init=False)

    def loss(self, data):
        return tf.reduce_sum((data - self.mu) ** 2) * self.scale


class Halved(Shift):
    def of(self, x):
        return super().of(x) / 2.0


def test_a_value_that_the_class_gives_is_seen(monkeypatch):
    # This used to be missed: the object's dict does not have it.
    mu = tf.Variable(0.0, dtype=tf.float64)
    objective = zrun.objective(Scaled(mu).loss, [mu], data=DATA)
    assert objective.value([0.0]) == pytest.approx(value(shift=0.0))
    monkeypatch.setattr(Scaled, "scale", 5.0)
    assert objective.value([0.0]) == pytest.approx(value(shift=0.0, factor=5.0))


def test_another_dict_and_another_class_of_an_object_are_seen():
    # Both used to be missed: the dict that was looked at stayed as it was.
    model, objective = made()
    assert objective.value([0.0]) == pytest.approx(value())
    model.shift.__dict__ = {"by": 1.5}
    assert objective.value([0.0]) == pytest.approx(value(shift=1.5))
    model.shift.__class__ = Halved
    assert objective.value([0.0]) == pytest.approx(float(np.sum(((DATA - 1.5) / 2.0) ** 2)) * 2.0)


class Pair(NamedTuple):
    by: float


class Named(Pair):
    def of(self, x):
        return (x - self.by) * getattr(self, "weight", 1.0)


def test_attributes_of_a_tuple_are_seen():
    # They used to be missed: a tuple was taken for something that cannot change.
    model, objective = made()
    model.shift = Named(0.5)
    assert objective.value([0.0]) == pytest.approx(value())
    for weight in (2.0, 3.0):
        model.shift.weight = weight
        assert objective.value([0.0]) == pytest.approx(value() * weight**2)


def test_a_change_by_another_thread_after_the_look_is_seen(monkeypatch):
    # The snapshot used to be of what came later, and the inputs of what was before, for good.
    model, objective = made()

    def late(carried, *args, look=Carried._look):
        if model.shift.by == 1.5:
            model.shift.by = 2.5
        return look(carried, *args)

    monkeypatch.setattr(Carried, "_look", late)
    assert objective.value([0.0]) == pytest.approx(value())
    model.shift.by = 1.5
    objective.value([0.0])
    assert model.shift.by == 2.5
    assert objective.value([0.0]) == pytest.approx(value(shift=2.5))


@pytest.mark.parametrize("shape", [(None,), None])
@pytest.mark.parametrize("own", [True, False])
def test_a_variable_of_unknown_shape_is_seen_when_it_changes(shape, own):
    # This used to be a TypeError.
    w = tf.Variable([1.0, 2.0], shape=tf.TensorShape(shape), dtype=tf.float64)
    data = {"w": w} if own else {}
    objective = zrun.objective(lambda x, w=w: tf.reduce_sum(w) * x[0], [2.0], **data)
    assert objective.value([2.0]) == 6.0
    w.assign([1.0, 2.0, 3.0])
    assert objective.value([2.0]) == 12.0


def test_values_of_variables_are_compared_by_what_they_say():
    assert state_of(np.array(["a", "b"], object)) == state_of(np.array(["a", "".join("b")], object))
    assert state_of(tf.Variable("a")) != state_of(tf.Variable("b"))
    assert state_of(np.zeros(2)) != state_of(np.zeros((2, 1)))


class Opaque:
    def __init__(self):
        self.other = tf.Variable(3.0, dtype=tf.float64)

    def loss(self, x):
        return self.other * x[0]


def test_variables_of_objects_that_are_gone_are_forgotten():
    # Each object used to leave a reference, which every later evaluation looked at.
    for _ in range(4):
        assert zrun.objective(Opaque().loss, [2.0]).value([2.0]) == 6.0
        gc.collect()
    kept = Opaque()
    assert zrun.objective(kept.loss, [2.0]).value([2.0]) == 6.0
    assert len(functions_of(kept.loss)._others) == 1


class Tracking:
    scale = zrun.tracked(2.0)

    def loss(self, x):
        return self.scale * x[0]


@pytest.mark.parametrize("graph", [True, False])
@pytest.mark.parametrize("closure", [True, False])
def test_a_tracked_attribute_is_seen(graph, closure):
    # The value at the same point used to be the one of before the change.
    model = Tracking()
    loss = (lambda x: model.loss(x)) if closure else model.loss
    objective = zrun.objective(loss, [3.0])
    with zrun.run.using(graph=graph):
        assert objective.value([3.0]) == 6.0
        model.scale = 5.0
        assert objective.value([3.0]) == 15.0
        assert objective.gradient([3.0]) == 5.0
