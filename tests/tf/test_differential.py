"""Random programs run as plain Python, as a `tf.function`, and as a function of zrun on each dispatch path.

Values, structures, dtypes, gradients, what variables hold afterwards, and errors are compared. The reference for what a
graph does is `tf.function`; where plain Python and `tf.function` agree, zrun agrees with both.
"""

from __future__ import annotations

from contextlib import nullcontext
from unittest.mock import patch

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, Phase, event, given, settings

import zrun_tf as zrun
from zrun_core.testing import count_traces
from zrun_tf import _dispatch
from zrun_tf._dispatch import hidden

from .random_programs import Program, make_inputs, pack, programs, run, unpack

pytestmark = pytest.mark.any_policy

# Twice with each of two sets of values: the first call traces, the second finds the graph, by the short way if any.
SEEDS = (1, 1, 2, 2)
TOLERANCE = {"float32": 2e-4, "float64": 1e-9}


class Outcome:
    """What one call did: its result or its error, the variables afterwards, and the gradients of all that came out."""

    def __init__(self, call, program, values):
        args = pack(program, values)
        self.error, self.result, self.gradients = None, None, None
        try:
            self.result = call(*args)
        except Exception as error:  # noqa: BLE001 - whatever it is, the comparison shows it
            self.error = error
        self.variables = [v.numpy() for v in values if isinstance(v, tf.Variable)]
        if self.error is None:
            kinds = [kind for kind, _, _ in program.inputs]
            given = [v for v, kind in zip(values, kinds, strict=True) if kind in ("tensor", "variable")]
            self.gradients = self._gradients(call, args, [v for v in given if v.dtype.is_floating])

    def _gradients(self, call, args, sources):
        with tf.GradientTape() as tape:
            for source in sources:
                tape.watch(source)
            tensors = [t for t in tf.nest.flatten(call(*args)) if isinstance(t, tf.Tensor) and t.dtype.is_floating]
            total = tf.add_n([tf.reduce_sum(tf.cast(t, tf.float64)) for t in tensors]) if tensors else None
        return [None] * len(sources) if total is None else tape.gradient(total, sources)


def assert_same_value(got, expected, least=0.0):
    assert type(got) is type(expected) or isinstance(got, tf.Tensor)
    if not isinstance(expected, (tf.Tensor, np.ndarray)):
        assert got == expected
        return
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    tolerance = TOLERANCE.get(got.dtype.name)
    if tolerance is None:
        np.testing.assert_array_equal(got, expected)
        return
    tolerance = max(tolerance, least)
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance * 10)


def assert_same(got, expected, least=0.0):
    """Two outcomes are the same, gradients aside, to a relative tolerance of at least this for floats."""
    tf.nest.assert_same_structure(got.result, expected.result)
    for one, other in zip(tf.nest.flatten(got.result), tf.nest.flatten(expected.result), strict=True):
        # A tf.function makes tensors of numbers and text that come out; zrun gives them back as they are.
        is_tensor = isinstance(one, tf.Tensor) or not isinstance(other, tf.Tensor)
        assert_same_value(one if is_tensor else tf.constant(one), other, least)
    for one, other in zip(got.variables, expected.variables, strict=True):
        assert_same_value(one, other, least)


def assert_same_gradients(got, expected, *, none_is_zero, least=0.0):
    for one, other in zip(got.gradients, expected.gradients, strict=True):
        if none_is_zero and (one is None or other is None):
            np.testing.assert_allclose(*(0.0 if g is None else tf.convert_to_tensor(g) for g in (one, other)))
            continue
        assert (one is None) == (other is None)
        if one is not None:
            assert_same_value(tf.convert_to_tensor(one), tf.convert_to_tensor(other), least)


def outcomes(decorated, program, *, arrays):
    found = []
    for seed in SEEDS:
        values = make_inputs(program, seed)
        if not arrays:
            # A graph has tensors where it was given arrays, which mix no dtypes.
            values = [tf.constant(v) if isinstance(v, np.ndarray) else v for v in values]
        found.append(Outcome(decorated, program, values))
    return found


def check(program):
    @tf.autograph.experimental.do_not_convert
    def body(*args):
        return run(program, args)

    # A tf.function knows dataclasses by their identity only, so it is given the parts.
    by_parts = tf.function(
        tf.autograph.experimental.do_not_convert(lambda *values: body(*pack(program, values)))
        if program.packing == "record"
        else body
    )

    def reference_call(*args):
        return by_parts(*(unpack(program, args) if program.packing == "record" else args))

    plain = outcomes(body, program, arrays=False)
    reference = outcomes(reference_call, program, arrays=False)
    # Numbers are float32 to TensorFlow; what a graph computes of constants beforehand differs in its last bit.
    least = TOLERANCE["float32"] if any(word in repr(program) for word in ("number", "float32")) else 0.0
    for path in ("direct", "called", "public"):
        # Small graphs are called by an operation from the first call on, rather than from the sixteenth.
        at_once = patch.object(_dispatch, "CALLS_UNTIL_CALLED", (1, 1)) if path == "called" else nullcontext()
        with hidden() if path == "public" else at_once, count_traces() as traces:
            found = outcomes(zrun.function(body), program, arrays=True)
        for got, graph, python in zip(found, reference, plain, strict=True):
            assert type(got.error) is type(graph.error), (path, got.error, graph.error)
            if got.error is not None:
                continue
            assert_same(got, graph)
            assert_same_gradients(got, graph, none_is_zero=False)
            if python.error is None:
                assert_same(got, python, least)
                assert_same_gradients(got, python, none_is_zero=True, least=least)
        if found[0].error is None:
            # New values never retrace.
            assert traces.total == 1
    return type(reference[0].error).__name__


@pytest.mark.slow
# Programs are small as they are, and to shrink one takes minutes.
@settings(
    max_examples=40,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(programs())
def test_random_programs(program):
    try:
        event(f"error: {check(program)}")
    finally:
        zrun.run.clear_graph_cache()


EXAMPLES = {
    "everything at once": Program(
        inputs=(
            ("tensor", "float64", (3,)),
            ("variable", "float64", (3,)),
            ("array", "float64", (2, 3)),
            ("float", "float64", ()),
        ),
        packing="record",
        assignments=((1, ("binary", "mul", ("input", 3), ("unary", "sum", ("input", 0)))),),
        result=(
            "nested",
            ("choose", ("input", 3), ("unary", "twice around", ("input", 1)), ("input", 2)),
            ("binary", "div", ("input", 2), ("binary", "add", ("input", 0), ("input", 3))),
        ),
    ),
    "dtypes that do not mix": Program(
        inputs=(("tensor", "float32", ()), ("variable", "float64", ())),
        packing="flat",
        assignments=(),
        result=("one", ("binary", "add", ("input", 0), ("input", 1))),
    ),
    "an error from a kernel, after an assignment": Program(
        inputs=(("variable", "float64", (3,)),),
        packing="list",
        assignments=((0, ("number", 2.0)), (0, ("binary", "sub", ("input", 0), ("input", 0)))),
        result=("one", ("unary", "finite", ("input", 0))),
    ),
    "shapes that do not fit": Program(
        inputs=(("array", "float64", (3,)), ("array", "float64", (2, 3))),
        packing="dict",
        assignments=(),
        result=(
            "pair",
            ("unary", "flat", ("input", 1)),
            ("binary", "mul", ("unary", "flat", ("input", 1)), ("input", 0)),
        ),
    ),
    "nothing differentiable": Program(
        inputs=(("tensor", "int32", (3,)), ("float", "float64", ())),
        packing="flat",
        assignments=(),
        result=("pair", ("unary", "sorted", ("input", 0)), ("unary", "not differentiated", ("input", 1))),
    ),
}


@pytest.mark.parametrize("program", EXAMPLES.values(), ids=EXAMPLES)
def test_programs_by_hand(program):
    check(program)
