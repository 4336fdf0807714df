"""Compiling with XLA: who decides, and what is said where it cannot be done."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
import tensorflow as tf

import zrun_tf as zrun
from zrun_core.testing import count_traces
from zrun_tf._graph import CALLS_UNTIL_COMPILED
from zrun_tf._xla import compile_error

pytestmark = pytest.mark.usefixtures("path")

RUN = zrun.run
X = tf.constant([1.0, 2.0, 3.0])


def is_compiled(function, *args):
    """Whether a call here is that of a compiled graph; both what is said and what was built."""
    function(*args), function(*args)
    said = ", compiled" in str(RUN.explain(function, *args))
    key = function.look_up(args, {})[1]
    graph = function.owner.table[key].value
    assert graph.compiled is said
    definition = graph._concrete.function_def
    assert definition.attr["_XlaMustCompile"].b is said
    return said


def make(**options):
    return zrun.function(**options)(lambda x: tf.reduce_sum(x * x))


def test_nothing_is_compiled_by_default():
    assert not is_compiled(make(kind="loss"), X)
    assert RUN.policy.jit is False


@pytest.mark.parametrize(
    ("jit", "compiled"),
    [
        (True, {"loss", "sample"}),
        (False, set()),
        ({"loss": True}, {"loss"}),
        ({"loss": False, "sample": True}, {"sample"}),
        ({"*": True, "sample": False}, {"loss"}),
    ],
)
def test_none_follows_the_policy_per_kind(jit, compiled):
    functions = {kind: make(kind=kind) for kind in ("loss", "sample")}
    with RUN.using(jit=jit):
        assert {kind for kind, function in functions.items() if is_compiled(function, X)} == compiled


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("policy", [True, False])
def test_what_the_decorator_says_goes_before_the_policy(own, policy):
    function = make(jit_compile=own)
    with RUN.using(jit=policy):
        assert is_compiled(function, X) is own


def test_the_policy_may_change_between_calls_and_each_has_its_graph():
    function = make()
    with count_traces() as traces:
        for _ in range(2):
            for jit in (True, False):
                with RUN.using(jit=jit):
                    assert function(X).numpy() == 14.0
    assert traces.total == 2


def test_a_compiled_graph_has_gradients():
    function = make(jit_compile=True)
    function(X)
    with tf.GradientTape() as tape:
        tape.watch(X)
        y = function(X)
    np.testing.assert_allclose(tape.gradient(y, X), [2, 4, 6])


REFUSED = {
    "Python code": (
        lambda x: tf.py_function(lambda z: z * 2, [x], tf.float32),
        X,
        "no EagerPyFunc .*tf.py_function",
    ),
    "NumPy code": (
        lambda x: tf.numpy_function(lambda z: z * 2, [x], tf.float32),
        X,
        "no PyFunc.*tf.numpy_function",
    ),
    "text": (lambda x: tf.strings.length(tf.strings.as_string(x)), X, "no AsString .node 'AsString'"),
    "text as an argument": (tf.strings.length, tf.constant(["a"]), "no _Arg .* such as text"),
    "printing": (lambda x: (tf.print(x), x)[1], X, "no StringFormat .*tf.print"),
    "inside a loop": (
        lambda x: tf.map_fn(lambda y: tf.strings.length(tf.strings.as_string(y)), x, fn_output_signature=tf.int32),
        X,
        "no AsString .*while",
    ),
}


@pytest.mark.parametrize(("body", "argument", "message"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("taped", [False, True])
def test_what_cannot_be_compiled_is_named_with_what_to_do(body, argument, message, taped):
    function = zrun.function(body)
    for _ in range(2):
        recording = tf.GradientTape() if taped else nullcontext()
        with RUN.using(jit=True), recording, pytest.raises(zrun.errors.CompileError, match=message) as raised:
            function(argument)
        said = str(raised.value)
        assert said.startswith(f"{function.owner.name} cannot be compiled: XLA has no ")
        assert "jit_compile=False on its decorator, or 'with run.using(jit=False)'" in said
        assert isinstance(raised.value.__cause__, tf.errors.OpError)
    # As it says.
    with RUN.using(jit=False):
        function(argument)


def test_every_operation_that_tensorflow_names_is_named_once():
    each = "{0} (No registered '{0}' OpKernel for XLA_CPU_JIT devices compatible with node {{{{node a/{0}}}}})"
    text = ", ".join(each.format(operation) for operation in ("AsString", "PyFunc", "AsString"))
    error = tf.errors.InvalidArgumentError(None, None, f"Detected unsupported operations on XLA_CPU_JIT: {text}")
    assert (
        "XLA has no AsString (node 'a/AsString'), no PyFunc (node 'a/PyFunc': Python code, tf.numpy_function). Move"
        in str(compile_error("f", error))
    )


def test_another_reason_is_told_in_tensorflows_words():
    error = tf.errors.InvalidArgumentError(None, None, "the shape must be a compile-time constant\nmore of this")
    said = str(compile_error("f", error))
    assert said.startswith("f cannot be compiled: the shape must be a compile-time constant. Move that out")


def test_errors_of_another_kind_pass_through():
    function = make(jit_compile=True)
    with pytest.raises(TypeError):
        zrun.function(jit_compile=True)(lambda x: x + tf.constant(1.0, tf.float64))(X)
    assert compile_error("f", tf.errors.InvalidArgumentError(None, None, "x is an energy")) is None
    assert function(X).numpy() == 14.0


def test_an_objective_of_what_cannot_be_compiled_says_so():
    def loss(m):
        return (m - tf.strings.to_number(tf.strings.as_string(m), tf.float64)) ** 2

    objective = zrun.objective(loss, {"m": 1.0})
    # The graph of an objective is compiled once it has been called often.
    points = [[float(i)] for i in range(2 * CALLS_UNTIL_COMPILED)]
    refused = pytest.raises(zrun.errors.CompileError, match=r"loss .* cannot be compiled: XLA has no AsString")
    with RUN.using(jit=True), refused:
        [objective.value(x) for x in points]
    assert [objective.value(x) for x in points] == [0.0] * len(points)
