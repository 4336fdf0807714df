"""Large arrays that a graph took from a closure or a global are told of by `explain` and counted by `cache_info`."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

import zrun_tf as zrun

pytestmark = pytest.mark.usefixtures("path")

RUN = zrun.run
MEGABYTE = 1 << 20
LARGE = np.ones(MEGABYTE)
ONE = tf.constant(1.0, tf.float64)


def nbytes(function):
    return next(row.bytes for row in RUN.cache_info().rows if row.function == function.owner.name and row.graphs)


def test_a_large_captured_array_is_told_of_with_what_to_do():
    function = zrun.function(lambda x: tf.reduce_sum(LARGE * x))
    assert RUN.explain(function, ONE).notes == ()
    function(ONE)
    (note,) = RUN.explain(function, ONE).notes
    assert "captured 8.0 MB of constants (float64 (1048576,)" in note
    assert "pass the array as an argument, or make it a field" in note
    assert note in str(RUN.explain(function, ONE))


def test_a_captured_tensor_is_a_constant_too():
    tensor = tf.constant(LARGE)
    function = zrun.function(lambda x: tf.reduce_sum(tensor * x))
    function(ONE)
    assert "float64 (1048576,)" in RUN.explain(function, ONE).notes[0]


def test_many_small_ones_count_together_and_the_largest_are_named():
    arrays = [np.full(size, 1.0) for size in (30_000, 40_000, 50_000, 60_000)]
    function = zrun.function(lambda x: tf.add_n([tf.reduce_sum(a * x) for a in arrays]))
    function(ONE)
    (note,) = RUN.explain(function, ONE).notes
    assert "(float64 (60000,), float64 (50000,), float64 (40000,) and " in note


def test_following_the_advice_makes_the_note_go():
    @dataclasses.dataclass
    class Data:
        values: np.ndarray

    by_argument = zrun.function(lambda x, data: tf.reduce_sum(data * x))
    by_field = zrun.function(lambda x, data: tf.reduce_sum(data.values * x))
    variable = tf.Variable(LARGE)
    by_variable = zrun.function(lambda x, data: tf.reduce_sum(variable * data * x))
    for function, data in ((by_argument, LARGE), (by_field, Data(LARGE)), (by_variable, 1.0)):
        function(ONE, data)
        assert RUN.explain(function, ONE, data).notes == ()
        assert nbytes(function) < MEGABYTE


def test_it_is_part_of_the_estimated_size():
    function = zrun.function(lambda x: tf.reduce_sum(LARGE * x))
    function(ONE)
    assert nbytes(function) > LARGE.nbytes


def test_text_and_small_constants_are_nothing_to_speak_of():
    words = np.array(["a" * 100] * 10)
    function = zrun.function(lambda x: (tf.constant(words), x * np.ones(10)))
    function(ONE)
    assert RUN.explain(function, ONE).notes == ()
