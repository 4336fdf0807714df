"""What goes into a Python function inside a model, what comes out, and what is refused."""

from __future__ import annotations

import functools
from collections import namedtuple

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import zrun_tf as zrun

pytestmark = pytest.mark.any_policy

F64 = tf.float64
WAYS = {"eager": lambda function: function, "tf.function": tf.function, "zrun.function": zrun.function}
ways = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


def constant(value, dtype=F64):
    return tf.constant(value, dtype)


@ways
def test_the_function_takes_numpy_and_its_result_is_a_tensor_of_known_shape(way):
    seen = []

    def function(x, y):
        seen.append((type(x), type(y), x.dtype, y.dtype))
        return x * y

    @way
    def compute(x, y):
        result = zrun.numpy_function(function, [x, y], like=x)
        assert result.shape == (3,)
        assert result.dtype == F64
        return result

    np.testing.assert_array_equal(compute(constant([1.0, 2.0, 3.0]), constant(2.0)), [2.0, 4.0, 6.0])
    assert seen == [(np.ndarray, np.float64, np.float64, np.float64)]


@ways
def test_py_function_takes_tensors(way):
    seen = []

    def function(x):
        seen.append(tf.executing_eagerly())
        return [x * 2.0, np.float64(x.numpy()) + 1.0]

    compute = way(lambda x: zrun.py_function(function, [x], like=[x, x]))
    two, three = compute(constant(2.0))
    assert (float(two), float(three), seen) == (4.0, 3.0, [True])


Pair = namedtuple("Pair", "a b")


@ways
@pytest.mark.parametrize(
    ("inputs", "call"),
    [
        (2.0, lambda x: x),
        ([2.0, 3.0], lambda x, y: x + y),
        ((2.0,), lambda x: x),
        ({"x": 2.0, "y": 3.0}, lambda y, x: x - y),
        ([{"deep": [2.0, 3.0]}, 4.0], lambda nested, z: nested["deep"][0] * nested["deep"][1] + z),
        (Pair(2.0, 3.0), lambda a, b: a * b),
    ],
)
def test_the_form_of_the_inputs_is_that_of_the_call(way, inputs, call):
    compute = way(lambda: zrun.numpy_function(call, inputs, like=constant(0.0)))
    expected = (
        call(**inputs) if isinstance(inputs, dict) else call(*inputs) if isinstance(inputs, (list, tuple)) else 2.0
    )
    assert float(compute()) == expected


@ways
@pytest.mark.parametrize(
    ("like", "result"),
    [
        (0.0, 5.0),
        ([0.0, np.zeros(2)], [5.0, np.ones(2)]),
        ({"b": 0.0, "a": np.zeros(2)}, {"a": np.ones(2), "b": 5.0}),
        (Pair(0.0, [0.0, 0.0]), (1.0, (2.0, 3.0))),
    ],
)
def test_the_form_of_like_is_that_of_the_results(way, like, result):
    compute = way(lambda x: zrun.numpy_function(lambda x: result, [x], like=like))
    found = compute(constant(0.0))
    assert type(found) is type(like) if not isinstance(like, float) else True
    flat = tf.nest.flatten(found)
    wanted = tf.nest.flatten(result)
    assert len(flat) == len(wanted)
    for one, other in zip(flat, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


@ways
def test_without_like_it_is_that_of_the_inputs_broadcast_together(way):
    @way
    def compute(x, y):
        result = zrun.numpy_function(np.add, [x, y])
        assert result.shape == (2, 3)
        assert result.dtype == F64
        return result

    np.testing.assert_array_equal(
        compute(constant([[1.0], [2.0]]), tf.constant([1.0, 2.0, 3.0])), [[2, 3, 4], [3, 4, 5]]
    )


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "bool", "complex64", "complex128", "uint8"])
@ways
def test_dtypes_come_back_as_they_went_in(way, dtype):
    x = tf.constant(np.array([0, 1, 1], dtype))
    found = way(lambda x: zrun.numpy_function(lambda x: x[::-1], [x]))(x)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, x.numpy()[::-1])


@ways
def test_strings_go_in(way):
    found = way(lambda s: zrun.numpy_function(lambda s: float(s.decode()), [s], like=0.0))(tf.constant("2.5"))
    assert float(found) == 2.5


@ways
def test_results_are_cast_to_like_where_only_precision_is_lost(way):
    compute = way(lambda x: zrun.numpy_function(lambda x: (x, 1, True), [x], like=[tf.constant(0.0)] * 3))
    found = compute(constant(0.1))
    assert [part.dtype for part in found] == [tf.float32] * 3
    assert [float(part) for part in found] == [float(np.float32(0.1)), 1.0, 1.0]


@ways
def test_shapes_may_be_known_in_part(way):
    spec = tf.TensorSpec([None, 2], F64)

    @way
    def compute(count):
        result = zrun.numpy_function(lambda count: np.ones((count, 2)), [count], like=spec)
        assert tf.executing_eagerly() or result.shape.as_list() == [None, 2]
        return result

    for count in (0, 3, 5):
        assert compute(tf.constant(count)).shape == (count, 2)


@ways
def test_the_function_may_write_into_its_arguments(way):
    def greedy(x, y):
        x += y
        y[:] = 0.0
        return x

    x, y = constant([1.0, 2.0]), constant([3.0, 4.0])

    def compute(x, y):
        return zrun.numpy_function(greedy, [x, y]), x + 0.0, y + 0.0

    np.testing.assert_array_equal(tf.stack(way(compute)(x, y)), [[4.0, 6.0], [1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_array_equal(tf.stack([x, y]), [[1.0, 2.0], [3.0, 4.0]])


@ways
def test_memory_that_the_function_keeps_is_not_written_to(way):
    table = np.arange(1000.0)
    compute = way(lambda x: zrun.numpy_function(lambda x: table, [x], like=table) + x)
    for _ in range(5):
        compute(constant(1.0))
    np.testing.assert_array_equal(table, np.arange(1000.0))


def test_variables_and_numbers_are_inputs():
    mu = tf.Variable(2.0, dtype=F64)
    found = zrun.numpy_function(lambda a, b, c, d: a + b + c + d, [mu, 1.0, np.float32(0.5), 3], like=0.0)
    assert float(found) == 6.5


@zrun.function
def _of_a_float(x, y):
    return zrun.numpy_function(np.multiply, [x, y])


def test_a_float_argument_of_a_zrun_function_is_an_input():
    assert float(_of_a_float(2.0, 3.0)) == 6.0
    assert float(_of_a_float(5.0, 3.0)) == 15.0


@given(
    x=arrays.arrays(np.float64, arrays.array_shapes(min_dims=0, max_dims=3, max_side=4), elements=st.floats(-1e3, 1e3)),
    graph=st.booleans(),
)
def test_any_array_comes_back_as_numpy_has_it(x, graph):
    compute = lambda x: zrun.numpy_function(lambda x: np.tanh(x) * x, [x], like=x)  # noqa: E731
    found = (tf.function(compute, autograph=False) if graph else compute)(tf.constant(x))
    # TensorFlow takes subnormal numbers for zero.
    np.testing.assert_allclose(found, np.tanh(x) * x, rtol=0, atol=1e-300)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)])
@ways
def test_nothing_at_all_is_an_array_too(way, shape):
    x = tf.zeros(shape, F64)
    assert way(lambda x: zrun.numpy_function(lambda x: x, [x]))(x).shape == shape
    assert zrun.gradient(lambda x: tf.reduce_sum(zrun.numpy_function(np.sin, [x])), x).shape == shape


def test_a_partial_and_a_callable_object_have_names():
    class Model:
        def __call__(self, x):
            return "text"

    for function, name in ((functools.partial(_text, 1), "_text"), (Model(), "Model"), (_text, "_text")):
        inputs = [1.0] if name != "_text" or isinstance(function, functools.partial) else [1.0, 2.0]
        with pytest.raises(zrun.PythonFunctionError, match=f"numpy_function of {name}: the result is"):
            zrun.numpy_function(function, inputs, like=0.0)


def _text(*_):
    return "text"


REFUSED_ARGUMENTS = {
    "takes a function as its first argument; got 3": ((3, [1.0]), {}),
    "inputs\\[0\\] is a object; inputs are tensors": ((np.sin, [object()]), {}),
    "inputs\\[0\\] is a RaggedTensor": ((np.sin, [tf.ragged.constant([[1.0], []])]), {}),
    "without inputs, like must say": ((np.sin, []), {}),
    "and these cannot be: inputs\\[0\\] of shape \\(2,\\)": ((np.add, [np.ones(2), np.ones(3)]), {}),
    "like says the shape and the dtype of the result .*; got 'float64'": ((np.sin, [1.0], "float64"), {}),
    "the result is to be float16; use float32": ((np.sin, [1.0], tf.TensorSpec([], tf.float16)), {}),
    "jacobian must be a function .*; got 2": ((np.sin, [1.0]), {"jacobian": 2}),
    "jacobian is for real inputs": ((np.sin, [1j]), {"jacobian": np.cos}),
    "stateful must be True or False; got 1": ((np.sin, [1.0]), {"stateful": 1}),
    "bounds must hold one entry, or None, for each of the 1 inputs": ((np.sin, [1.0]), {"bounds": (0.0, 1.0)}),
    "bounds of inputs\\[0\\] must be a pair": ((np.sin, [1.0]), {"bounds": [3.0]}),
    "must be a lower one below an upper one; got \\(2, 1\\)": ((np.sin, [1.0]), {"bounds": [(2, 1)]}),
    "bounds must be a mapping with keys of inputs, \\['x'\\]": ((np.sin, {"x": 1.0}), {"bounds": {"y": (0, 1)}}),
    "scale of inputs\\[0\\] must be positive": ((np.sin, [1.0]), {"scale": [0.0]}),
    "scale of inputs\\[0\\] must be numbers that broadcast": ((np.sin, [1.0]), {"scale": [[1.0, 2.0]]}),
    "rows must be True, False, None or a list of places of inputs, \\[0\\]; got \\[1\\]": (
        (np.sin, [1.0]),
        {"rows": [1]},
    ),
    "list of keys of inputs, \\['x'\\]": ((np.sin, {"x": 1.0}), {"rows": ["y"]}),
}


@pytest.mark.parametrize("message", REFUSED_ARGUMENTS)
@pytest.mark.parametrize("function", [zrun.numpy_function, zrun.py_function])
def test_arguments_are_checked_before_anything_is_called(function, message):
    args, kwargs = REFUSED_ARGUMENTS[message]
    with pytest.raises(zrun.PythonFunctionError, match=message):
        function(*args, **kwargs)


def test_a_jacobian_and_autograd_exclude_each_other():
    with pytest.raises(zrun.PythonFunctionError, match="either jacobian or autograd=True"):
        zrun.py_function(tf.sin, [1.0], jacobian=tf.cos, autograd=True)


REFUSED_RESULTS = {
    "the result is None; does the function lack a return": (lambda x: None, 0.0),
    "the result has shape \\(2,\\), but like promised \\(\\)": (lambda x: np.ones(2), 0.0),
    "the result is complex128, which does not go into the float64": (lambda x: 1j, 0.0),
    "the result is float64, which does not go into the int": (lambda x: 1.5, 3),
    "the result is a dict, which is no array": (lambda x: {"a": 1}, 0.0),
    "it returned 3 values where 2 belong": (lambda x: (1.0, 2.0, 3.0), [0.0, 0.0]),
    "it returned a float where 2 belong": (lambda x: 1.0, [0.0, 0.0]),
    "it returned a mapping with keys \\['b'\\] where a mapping with keys \\['a'\\]": (lambda x: {"b": 1.0}, {"a": 0.0}),
    "it returned a float where a mapping with keys": (lambda x: 1.0, {"a": 0.0}),
    "result\\[1\\] has shape \\(2,\\)": (lambda x: (1.0, np.ones(2)), [0.0, 0.0]),
}


@pytest.mark.parametrize("message", REFUSED_RESULTS)
@pytest.mark.parametrize("way", [WAYS["eager"], WAYS["zrun.function"]], ids=["eager", "graph"])
def test_results_are_held_to_what_like_promised(way, message):
    function, like = REFUSED_RESULTS[message]
    with pytest.raises(zrun.PythonFunctionError, match=message) as caught:
        way(lambda x: zrun.numpy_function(function, [x], like=like))(constant(1.0))
    assert "numpy_function of " in str(caught.value)
