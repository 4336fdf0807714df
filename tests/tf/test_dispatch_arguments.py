"""What goes into a graph: arrays of all sorts, numbers, variables, and however they are passed."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest
import tensorflow as tf

import zrun_tf as zrun
from zrun_core.testing import count_traces

pytestmark = pytest.mark.usefixtures("path")


def results(function, arguments):
    """What each argument gives, asked for three times each: first in turn, then one after the other."""
    for argument in arguments:
        function(argument)
    return [[function(argument).numpy() for _ in range(2)][1] for argument in arguments]


ARRAYS = {
    "float64": np.arange(4.0),
    "float32": np.arange(4, dtype=np.float32),
    "float16": np.arange(4, dtype=np.float16),
    "int8": np.arange(4, dtype=np.int8),
    "uint32": np.arange(4, dtype=np.uint32),
    "complex64": np.arange(4, dtype=np.complex64) * 1j,
    "big-endian": np.arange(4.0).astype(">f8"),
    "big-endian integers": np.arange(4).astype(">i4"),
    "every second": np.arange(8.0)[::2],
    "backwards": np.arange(4.0)[::-1],
    "column of a table": np.arange(12.0).reshape(4, 3)[:, 1],
    "Fortran order": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "transposed": np.arange(6.0).reshape(2, 3).T,
    "broadcast": np.broadcast_to(np.arange(3.0), (2, 3)),
    "not aligned": np.frombuffer(b"\0" + np.arange(4.0).tobytes(), np.uint8)[1:].view(np.float64),
    "no elements": np.zeros((0, 3)),
    "0-d": np.array(2.5),
    "read-only": np.frombuffer(np.arange(4.0).tobytes()),
    "masked": np.ma.masked_array([1.0, 2.0], [0, 1]),
    "matrix": np.arange(4.0).reshape(2, 2).view(np.matrix),
    "text": np.array(["a", "bc"]),
    "bytes": np.array([b"a", b"bc"]),
}


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_arrays_arrive_as_they_do_in_a_tf_function(array):
    def body(x):
        return x if x.dtype == tf.string else x * 2

    function = zrun.function(body)
    function(array), function(array)
    got, expected = function(array), tf.function(body)(array)
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    np.testing.assert_array_equal(got, expected)


def test_bools_stay_bools():
    assert results(zrun.function(lambda x: ~x), [np.array([True, False])])[0].tolist() == [False, True]


def test_byte_order_is_not_mixed_up():
    little, big = np.array([1.0, 2.0]), np.array([1.0, 2.0], ">f8")
    for got in results(zrun.function(lambda x: x + 1), [little, big]):
        assert got.tolist() == [2.0, 3.0]


@pytest.mark.parametrize("dtype", [np.longdouble, "datetime64[D]", object])
def test_an_array_without_a_counterpart_is_refused_in_words(dtype):
    if np.dtype(dtype) == np.dtype(np.float64):
        pytest.skip("a long double is a double here")
    function = zrun.function(lambda x: x)
    function(np.ones(1))
    for _ in range(2):
        with pytest.raises(zrun.errors.StructureError, match="x is a NumPy array of dtype"):
            function(np.ones(1, np.int64).astype(dtype))


def test_an_array_changed_after_the_call_is_another_input_and_the_result_stays():
    function, array = zrun.function(lambda x: x * 1), np.zeros(3)
    function(array)
    first = function(array)
    array[:] = 7
    assert (first.numpy().tolist(), function(array).numpy().tolist()) == ([0, 0, 0], [7, 7, 7])


class OwnFloat(float):
    pass


class OwnInt(int):
    pass


def test_numbers_of_subclasses_are_the_numbers_they_are():
    assert results(zrun.function(lambda x: x * tf.constant(2.0)), [OwnFloat(1.5), OwnFloat(2.5)]) == [3.0, 5.0]
    assert results(zrun.function(lambda x: x * tf.constant(2)), [OwnInt(2), OwnInt(3)]) == [4, 6]


@pytest.mark.parametrize("number", [np.float32(1.5), np.float64(1.5), np.int64(3), np.uint8(3), np.complex64(1j)])
def test_numpy_scalars_are_inputs_of_their_dtype(number):
    def body(x):
        return x * x

    with count_traces() as traces:
        function = zrun.function(body)
        found = results(function, [number, number + number])
    assert traces.total == 1
    assert [f.dtype for f in found] == [tf.function(body)(number).numpy().dtype] * 2
    assert found == [number * number, 4 * number * number]


def test_a_numpy_bool_is_an_input_and_a_bool_is_part_of_the_key():
    function = zrun.function(lambda x: tf.identity(x))
    with count_traces() as traces:
        assert results(function, [np.bool_(True), np.bool_(False)]) == [True, False]
        assert traces.total == 1
        assert results(function, [True, False]) == [True, False]
    assert traces.total == 3


def test_whole_numbers_bools_and_floats_of_one_value_are_told_apart():
    seen = []

    @zrun.function
    def function(x):
        seen.append(type(x) if isinstance(x, (bool, int)) else float)
        return tf.convert_to_tensor(x)

    for _ in range(3):
        assert [function(x).numpy() for x in (1, True, 1.0, 0, False, 0.0)] == [1, True, 1.0, 0, False, 0.0]
        assert [function(x).dtype for x in (1, True, 1.0)] == [tf.int32, tf.bool, tf.float32]
    assert seen == [int, bool, float, int, bool]


def test_special_floats_are_values_like_any_other():
    # TensorFlow's own constants of 0.0 and -0.0 are one and the same tensor.
    function = zrun.function(lambda x: 1.0 / tf.convert_to_tensor(x, tf.float64))
    with count_traces() as traces:
        found = results(function, [0.0, -0.0, math.inf, -math.inf, math.nan, 2.0**-900, 2.0**900])
    assert found[:2] == [math.inf, -math.inf]
    assert [math.copysign(1, f) for f in found[2:4]] == [1, -1]
    assert math.isnan(found[4])
    assert found[5:] == [2.0**900, 2.0**-900]
    assert traces.total == 1


def test_floats_keep_double_precision():
    function = zrun.function(lambda x: tf.convert_to_tensor(x, tf.float64))
    assert results(function, [0.1, 1 / 3]) == [0.1, 1 / 3]


def test_complex_numbers_are_inputs():
    with count_traces() as traces:
        assert results(zrun.function(lambda z: z * 2j), [1 + 2j, complex(-0.0, math.inf)])[0] == -4 + 2j
        z = zrun.function(lambda z: 1 / tf.stack([tf.math.real(z), tf.math.imag(z)]))
        signs = [np.sign(each).tolist() for each in results(z, [0j, complex(-0.0, 0.0), complex(0.0, -0.0)])]
    assert signs == [[1, 1], [-1, 1], [1, -1]]
    assert traces.total == 2


def test_text_and_bytes_are_told_apart():
    function = zrun.function(lambda x: tf.constant(str(type(x).__name__)))
    assert results(function, ["a", b"a", "b"]) == [b"str", b"bytes", b"str"]


def test_a_variable_and_a_tensor_are_two_structures():
    v = tf.Variable([1.0, 2.0])
    function = zrun.function(lambda x: x * 2)
    with count_traces() as traces:
        for _ in range(3):
            assert function(v).numpy().tolist() == function(tf.constant([1.0, 2.0])).numpy().tolist() == [2, 4]
    assert traces.total == 2
    v.assign([3.0, 4.0])
    assert function(v).numpy().tolist() == [6, 8]


def test_other_variables_of_one_structure_are_read_and_set_by_one_graph():
    @zrun.function
    def move(v, by):
        v.assign_add(by)
        return v * 1.0

    variables = [tf.Variable(float(i)) for i in range(3)]
    with count_traces() as traces:
        for _ in range(2):
            for v in variables:
                move(v, tf.constant(10.0))
    assert traces.total == 1
    assert [v.numpy() for v in variables] == [20.0, 21.0, 22.0]


def test_a_variable_of_another_dtype_shape_or_trainability_is_another_structure():
    function = zrun.function(lambda v: tf.cast(v, tf.float64) * 2)
    variables = [
        tf.Variable(1.0),
        tf.Variable(1.0, dtype=tf.float64),
        tf.Variable([1.0]),
        tf.Variable(1.0, trainable=False),
    ]
    with count_traces() as traces:
        for v in variables * 2:
            np.testing.assert_array_equal(function(v), np.full(v.shape, 2.0))
    assert traces.total == len(variables)


def test_keyword_arguments_defaults_and_variable_numbers_of_arguments():
    seen = []

    @zrun.function
    def function(x, /, y=2.0, *more, z=3.0, **named):
        seen.append((len(more), sorted(named)))
        return [x, y, *more, z, *(named[name] for name in sorted(named))]

    def numbers(*args, **kwargs):
        function(*args, **kwargs)
        return [float(each) for each in function(*args, **kwargs)]

    one = tf.constant(1.0)
    assert numbers(one) == [1, 2, 3]
    assert numbers(one, 2.0, z=3.0) == [1, 2, 3]
    assert numbers(one, y=5.0) == [1, 5, 3]
    assert numbers(one, 5.0, 6.0, 7.0, z=8.0) == [1, 5, 6, 7, 8]
    assert numbers(one, a=4.0, b=5.0) == [1, 2, 3, 4, 5]
    assert seen == [(0, []), (2, []), (0, ["a", "b"])]


@pytest.mark.parametrize(
    ("args", "kwargs"), [((), {}), ((1.0, 2.0, 3.0), {}), ((1.0,), {"nonsense": 1}), ((1.0,), {"x": 2.0})]
)
def test_arguments_that_do_not_fit_are_refused_as_python_refuses_them(args, kwargs):
    @zrun.function
    def function(x, y=2.0):
        return x + y

    function(1.0), function(1.0, 2.0)
    with pytest.raises(TypeError, match="function"):
        function(*args, **kwargs)
    assert function(1.0, 2.0).numpy() == 3.0


def test_defaults_are_those_of_the_definition():
    scale = np.array([1.0, 2.0])

    @zrun.function
    def function(x, scale=scale, order=2):
        return x * scale**order

    for _ in range(3):
        assert function(tf.constant(3.0, tf.float64)).numpy().tolist() == [3.0, 12.0]
        assert function(tf.constant(3.0, tf.float64), order=1).numpy().tolist() == [3.0, 6.0]


def test_nested_structures_of_arguments():
    function = zrun.function(lambda data: data["a"][0] * data["a"][1][0] + data["b"])
    with count_traces() as traces:
        for k in (1.0, 2.0, 3.0):
            value = function({"a": [np.full(2, k), (tf.constant(2.0, tf.float64),)], "b": k})
            assert value.numpy().tolist() == [3 * k, 3 * k]
    assert traces.total == 1


def test_shapes_are_not_mixed_up():
    function = zrun.function(lambda x, y: tf.reduce_sum(x) + tf.cast(tf.size(y), x.dtype))
    shapes = [((2,), (3,)), ((3,), (2,)), ((2, 3), ()), ((), (2, 3))]
    for _ in range(2):
        for first, second in shapes:
            got = function(np.ones(first), np.ones(second)).numpy()
            assert got == np.prod(first) + np.prod(second)


def test_it_has_the_signature_of_what_it_decorates():
    def body(x, y: float = 2.0, *, z=None):
        """Says so."""

    function = zrun.function(body)
    assert inspect.signature(function) == inspect.signature(body)
    assert (function.__name__, function.__doc__, function.__wrapped__) == ("body", "Says so.", body)
