"""Values out of TensorFlow."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from enum import Enum

import numpy as np
import pytest
import tensorflow as tf

import zrun_tf as zrun

pytestmark = pytest.mark.any_policy

Pair = namedtuple("Pair", "a b")


class Flag(Enum):
    ON = 1


class WithValue:
    def value(self):
        return tf.constant([1.0, 2.0])


@pytest.mark.parametrize("evaluate", [zrun.run, zrun.eval_object])
def test_tensors_and_variables_become_numpy(evaluate):
    assert isinstance(evaluate(tf.constant([1, 2])), np.ndarray)
    assert evaluate(tf.Variable(3.0)) == 3.0
    assert evaluate(WithValue()).tolist() == [1.0, 2.0]
    assert evaluate(tf.sparse.from_dense([0.0, 5.0])).tolist() == [0.0, 5.0]


def test_structures_keep_their_types():
    nested = {"a": [tf.constant(1), (tf.constant(2.0), "text")], 3: Pair(tf.constant(4), WithValue())}
    result = zrun.run(nested)
    assert result["a"][1] == (2.0, "text")
    assert isinstance(result[3], Pair)
    assert result[3].b.tolist() == [1.0, 2.0]
    assert isinstance(nested["a"][0], tf.Tensor)
    ordered = zrun.run(OrderedDict(b=tf.constant(1), a=2))
    assert type(ordered) is OrderedDict
    assert list(ordered.items()) == [("b", 1), ("a", 2)]


@pytest.mark.parametrize("obj", [None, 3, "text", Flag.ON, WithValue, len, np.arange(3)])
def test_anything_else_passes_through(obj):
    assert zrun.run(obj) is obj


def test_several_at_once():
    assert zrun.run(tf.constant(1), 2) == (1, 2)


@pytest.mark.needs_graph
def test_a_tensor_without_a_value_is_an_error():
    @tf.function
    def traced(x):
        zrun.run(x)

    with pytest.raises(zrun.errors.IllegalInGraphError, match="being built"):
        traced(tf.constant(1.0))


@pytest.mark.needs_graph
def test_assert_executing_eagerly():
    zrun.run.assert_executing_eagerly()
    with pytest.raises(zrun.errors.IllegalInGraphError, match="Python side effects"):
        zrun.function(lambda: zrun.run.assert_executing_eagerly())()
