"""Small programs, as hypothesis draws them: what goes in, what is computed, what is set, what comes out.

A program is data. `run` interprets it in Python on whatever it is given, so the same program can run as it stands, as a
`tf.function` and as a function of zrun.
"""

from __future__ import annotations

import dataclasses
import operator
from typing import Any

import numpy as np
import tensorflow as tf
from hypothesis import strategies as st


@dataclasses.dataclass(frozen=True)
class Program:
    inputs: tuple[tuple[str, str, tuple[int, ...]], ...]
    packing: str
    assignments: tuple[Any, ...]
    result: Any


@dataclasses.dataclass
class Record:
    first: Any
    rest: list[Any]


def _loop(x, times):
    x = tf.convert_to_tensor(x)
    return tf.while_loop(lambda i, _: i < times, lambda i, y: (i + 1, tf.sin(y) * 2 + y), (tf.constant(0), x))[1]


def _choose(condition, x, y):
    x = tf.convert_to_tensor(x)
    other = tf.cast(tf.reduce_sum(y), x.dtype)
    positive = tf.reduce_sum(tf.cast(condition, tf.float32)) > 0
    return tf.cond(positive, lambda: x * 2, lambda: tf.zeros_like(x) - other)


def _sort(x):
    x = tf.convert_to_tensor(x)
    # TensorFlow has no gradient of sorted values where there are none: "Requires delta != 0" (all versions up to 2.21).
    return tf.sort(x) if x.shape.num_elements() != 0 else x


UNARY = {
    "sin": tf.sin,
    "tanh": tf.tanh,
    "square": tf.square,
    "negative": operator.neg,
    "absolute": abs,
    "sum": tf.reduce_sum,
    "row sums": lambda x: tf.reduce_sum(x, axis=-1),
    "to float32": lambda x: tf.cast(x, tf.float32),
    "to float64": lambda x: tf.cast(x, tf.float64),
    "to int32": lambda x: tf.cast(x, tf.int32),
    "first": operator.itemgetter(0),
    "flat": lambda x: tf.reshape(x, [-1]),
    "transposed": tf.transpose,
    "finite": lambda x: tf.debugging.check_numerics(1.0 / x, "an inverse"),
    "twice around": lambda x: _loop(x, 2),
    "not differentiated": tf.stop_gradient,
    "sorted": _sort,
}
BINARY = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": lambda x, y: x / (y * y + 1.5),
    "less": lambda x, y: tf.cast(x < y, tf.float32),
    "larger": lambda x, y: tf.maximum(tf.convert_to_tensor(x), tf.convert_to_tensor(y)),
}

SHAPES = [(), (), (3,), (3,), (2, 3), (1,), (0,)]


def _nodes(inputs):
    leaves = st.one_of(
        st.tuples(st.just("input"), st.integers(0, inputs - 1)),
        st.tuples(st.just("input"), st.integers(0, inputs - 1)),
        st.tuples(st.just("number"), st.sampled_from([0.5, 2.0, -1.5])),
    )
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.tuples(st.just("unary"), st.sampled_from(sorted(UNARY)), inner),
            st.tuples(st.just("binary"), st.sampled_from(sorted(BINARY)), inner, inner),
            st.tuples(st.just("choose"), inner, inner, inner),
        ),
        max_leaves=6,
    )


@st.composite
def programs(draw):
    dtypes = draw(
        st.sampled_from([["float64"], ["float64"], ["float32"], ["float32", "float64"], ["float64", "int32"]])
    )
    kinds = st.sampled_from(["tensor", "variable", "array", "float"])
    one = st.tuples(kinds, st.sampled_from(dtypes), st.sampled_from(SHAPES))
    inputs = tuple(draw(st.lists(one, min_size=1, max_size=4)))
    nodes = _nodes(len(inputs))
    variables = [i for i, (kind, _, _) in enumerate(inputs) if kind == "variable"]
    assignments = draw(st.lists(st.tuples(st.sampled_from(variables), nodes), max_size=2)) if variables else []
    results = st.one_of(
        st.tuples(st.just("one"), nodes),
        st.tuples(st.just("pair"), nodes, nodes),
        st.tuples(st.just("nested"), nodes, nodes),
    )
    packing = draw(st.sampled_from(["flat", "list", "dict", "record"]))
    return Program(inputs, packing, tuple(assignments), draw(results))


def make_inputs(program, seed):
    """The values of the inputs as zrun takes them: arrays are arrays. Variables are new ones."""
    rng = np.random.default_rng(seed)
    made = []
    for kind, dtype, shape in program.inputs:
        array = rng.normal(size=shape) * 2
        array = array.round().astype(dtype) if dtype == "int32" else array.astype(dtype)
        if kind == "float":
            made.append(float(rng.normal()))
        elif kind == "array":
            made.append(np.asarray(array))
        else:
            made.append(tf.Variable(array) if kind == "variable" else tf.constant(array))
    return made


def pack(program, values):
    """The arguments of a call."""
    if program.packing == "flat":
        return tuple(values)
    if program.packing == "list":
        return ([values[0], list(values[1:])],)
    if program.packing == "dict":
        return ({f"x{i}": value for i, value in enumerate(values)},)
    return (Record(values[0], list(values[1:])),)


def unpack(program, args):
    """The values that were packed."""
    if program.packing == "flat":
        return list(args)
    if program.packing == "list":
        return [args[0][0], *args[0][1]]
    if program.packing == "dict":
        return list(args[0].values())
    return [args[0].first, *args[0].rest]


def _evaluate(node, values):
    match node:
        case ("input", index):
            return values[index]
        case ("number", number):
            return number
        case ("unary", name, x):
            return UNARY[name](_evaluate(x, values))
        case ("binary", name, x, y):
            return BINARY[name](_evaluate(x, values), _evaluate(y, values))
        case ("choose", condition, x, y):
            return _choose(*(_evaluate(each, values) for each in (condition, x, y)))
    raise AssertionError(node)


def _out(value):
    # A float has no dtype of its own, and a variable may change before it is looked at.
    return tf.convert_to_tensor(value, tf.float64) if isinstance(value, float) else tf.convert_to_tensor(value)


def run(program, args):
    """Interpret a program."""
    values = unpack(program, args)
    for index, node in program.assignments:
        variable = values[index]
        step = tf.reduce_sum(_evaluate(node, values))
        variable.assign(tf.zeros_like(variable) + tf.cast(step, variable.dtype))
    form, *nodes = program.result
    results = [_out(_evaluate(node, values)) for node in nodes]
    if form == "one":
        return results[0]
    if form == "pair":
        return tuple(results)
    return {"b": [results[0], None], "a": (results[1], "text", 3)}
