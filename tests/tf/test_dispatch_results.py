"""What comes out of a graph: values of several tensors, handles, structures, nothing."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict, namedtuple

import numpy as np
import pytest
import tensorflow as tf

import zrun_tf as zrun

pytestmark = pytest.mark.usefixtures("path")

X = tf.constant([1.0, 2.0, 3.0])
Pair = namedtuple("Pair", "a b")


def thrice(body, *args):
    """The third result of a decorated function: by then its graph is found by the short way, where there is one."""
    function = zrun.function(body)
    function(*args), function(*args)
    return function(*args)


class Masked(tf.experimental.ExtensionType):
    values: tf.Tensor


@dataclasses.dataclass
class Fit:
    value: tf.Tensor
    name: str
    parts: list


COMPOSITES = {
    # The direct path used to return the first component of these.
    "ragged": lambda x: tf.RaggedTensor.from_row_lengths(x, [1, 2]),
    "sparse": tf.sparse.from_dense,
    "indexed slices": lambda x: tf.IndexedSlices(x, tf.constant([0, 1, 2])),
    "an extension type of one tensor": lambda x: Masked(x * 2),
}


@pytest.mark.parametrize("body", COMPOSITES.values(), ids=COMPOSITES)
@pytest.mark.parametrize("nested", [False, True])
def test_composite_results_are_as_those_of_a_tf_function(body, nested):
    def whole(x):
        return {"x": x, "pair": (body(x), None)} if nested else body(x)

    got, expected = thrice(whole, X), tf.function(whole)(X)
    if nested:
        np.testing.assert_array_equal(got["x"], X)
        assert got["pair"][1] is None
        got, expected = got["pair"][0], expected["pair"][0]
    assert type(got) is type(expected)
    assert tf.type_spec_from_value(got) == tf.type_spec_from_value(expected)
    for one, other in zip(
        tf.nest.flatten(got, expand_composites=True), tf.nest.flatten(expected, expand_composites=True), strict=True
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("body", COMPOSITES.values(), ids=COMPOSITES)
def test_composite_arguments_come_back_as_they_went_in(body):
    # The direct path used to refuse those that are a single tensor inside.
    value = body(X)
    got = thrice(lambda v: v, value)
    assert tf.type_spec_from_value(got) == tf.type_spec_from_value(value)


def test_a_ragged_result_has_gradients():
    f = zrun.function(lambda x: tf.RaggedTensor.from_row_lengths(x * x, [1, 2]))
    f(X)
    with tf.GradientTape() as tape:
        tape.watch(X)
        total = tf.reduce_sum(f(X))
    np.testing.assert_allclose(tape.gradient(total, X), [2, 4, 6])


def test_a_data_set_goes_in_and_comes_out():
    data = thrice(lambda x: tf.data.Dataset.from_tensor_slices(x).map(lambda y: y * 2), X)
    assert [y.numpy() for y in data] == [2.0, 4.0, 6.0]
    assert thrice(lambda d: d.reduce(0.0, lambda a, b: a + b), data).numpy() == 12.0
    assert [y.numpy() for y in thrice(lambda d: d.take(2), data)] == [2.0, 4.0]


def test_an_iterator_goes_on_from_call_to_call():
    f, iterator = zrun.function(lambda it: next(it)), iter(tf.data.Dataset.from_tensor_slices(X))
    assert [f(iterator).numpy() for _ in range(3)] == [1.0, 2.0, 3.0]
    with pytest.raises(tf.errors.OutOfRangeError):
        f(iterator)


def test_a_tensor_array_inside_and_its_tensor_outside():
    def body(x):
        array = tf.TensorArray(tf.float32, 3)
        for i in tf.range(3):
            array = array.write(i, x[i] * 2)
        return array.stack()

    np.testing.assert_array_equal(thrice(body, X), [2, 4, 6])


def test_a_handle_comes_out_as_what_it_points_to():
    v = tf.Variable([1.0, 2.0])
    handle = thrice(lambda: v.handle)
    assert handle.dtype == tf.resource
    read = thrice(lambda h: tf.raw_ops.ReadVariableOp(resource=h, dtype=tf.float32), handle)
    np.testing.assert_array_equal(read, [1, 2])


def test_a_variant_comes_out_as_what_it_holds():
    parts = thrice(lambda x: tf.raw_ops.TensorListFromTensor(tensor=x, element_shape=tf.constant([], tf.int32)), X)
    assert parts.dtype == tf.variant
    whole = tf.raw_ops.TensorListStack(
        input_handle=parts, element_shape=tf.constant([], tf.int32), element_dtype=tf.float32
    )
    np.testing.assert_array_equal(whole, X)


def test_a_lookup_table_that_the_body_refers_to():
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(["a", "b"], [1, 2]), -1)
    assert thrice(lambda keys: table.lookup(keys), tf.constant(["b", "c"])).numpy().tolist() == [2, -1]


def test_a_variable_comes_out_as_its_value():
    v = tf.Variable(2.0)
    f = zrun.function(lambda: v)
    assert not isinstance(f(), tf.Variable)
    v.assign(3.0)
    assert f().numpy() == 3.0


@pytest.mark.parametrize("value", [None, (), [], {}, 3, True, "text", b"bytes", (1, "a", None)])
def test_what_is_no_tensor_comes_out_as_it_is(value):
    got = thrice(lambda x: value, X)
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize("value", [-0.5, 2 + 1j, np.float64(1.5), np.arange(3)])
def test_floats_and_arrays_come_out_as_tensors_like_those_of_a_tf_function(value):
    got, expected = thrice(lambda x: value, X), tf.function(lambda x: value)(X)
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)


def test_nothing_but_an_assignment():
    v = tf.Variable(1.0)

    def body(x):
        v.assign_add(x)

    f = zrun.function(body)
    assert [f(tf.constant(2.0)), f(tf.constant(3.0)), f(tf.constant(4.0))] == [None] * 3
    assert v.numpy() == 10.0


@pytest.mark.parametrize(
    "make",
    [
        lambda x: (x, x + 1),
        lambda x: [x, [x + 1, ()]],
        lambda x: {"b": x, "a": [x + 1, {"c": x}]},
        lambda x: OrderedDict([("b", x), ("a", x + 1)]),
        lambda x: Pair(x, Pair(x + 1, None)),
        lambda x: (x,),
        lambda x: ((x, x), x),
    ],
)
def test_structures_come_out_as_those_of_a_tf_function(make):
    got, expected = thrice(make, X), tf.function(make)(X)
    tf.nest.assert_same_structure(got, expected)
    assert type(got) is type(expected)
    for one, other in zip(tf.nest.flatten(got), tf.nest.flatten(expected), strict=True):
        if other is not None:
            np.testing.assert_array_equal(one, other)


def test_the_order_of_a_dict_is_that_of_the_body():
    assert list(thrice(lambda x: {"b": x, "a": x}, X)) == ["b", "a"]


def test_a_dataclass_comes_out_new_each_time():
    f = zrun.function(lambda x: Fit(x * 2, "fit", [x, 3]))
    f(X)
    first, second = f(X), f(X)
    assert isinstance(first, Fit)
    assert (first.name, first.parts[1]) == ("fit", 3)
    first.parts.append(None)
    assert len(second.parts) == len(f(X).parts) == 2


def test_a_mutable_result_can_be_changed_without_harm():
    f = zrun.function(lambda x: [x, {"n": 1}])
    for _ in range(3):
        result = f(X)
        assert result[1] == {"n": 1}
        result[1]["n"] = 2
        result.clear()


def test_results_of_all_dtypes():
    dtypes = [tf.float16, tf.bfloat16, tf.int8, tf.uint16, tf.int64, tf.bool, tf.complex64, tf.string]

    def body(x):
        return [tf.as_string(x) if d == tf.string else tf.cast(x, d) for d in dtypes]

    assert [r.dtype for r in thrice(body, X)] == dtypes


def test_an_argument_that_comes_back_is_the_same_value_and_not_shared_with_the_array():
    array = np.arange(1000.0)
    f = zrun.function(lambda x: x)
    f(array), f(array)
    result = f(array)
    array[:] = -1
    np.testing.assert_array_equal(result, np.arange(1000.0))
