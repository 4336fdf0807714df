"""Numerical and automatic derivatives of random functions, points, bounds, masks and dtypes, under random policies."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import zrun_tf as zrun

pytestmark = pytest.mark.any_policy

SIZES = st.integers(1, 4)
# Parameters of either sign over six orders of magnitude, and zero.
PARAMETERS = st.one_of(
    st.just(0.0),
    st.builds(lambda size, sign: sign * 10.0**size, st.floats(-3.0, 3.0), st.sampled_from([1.0, -1.0])),
)
TOLERANCE = {np.float64: (1e-7, 1e-5), np.float32: (2e-2, 0.2)}


@st.composite
def cases(draw, dtypes=(np.float64, np.float32)):
    """A smooth function of the vector in units of its own scales, with its derivatives, at a point."""
    size = draw(SIZES)
    dtype = draw(st.sampled_from(dtypes))
    # As a vector of the dtype holds it, which is where the function is differentiated.
    x = np.array(draw(st.lists(PARAMETERS, min_size=size, max_size=size)), dtype)
    scale = np.where(x == 0.0, 1.0, np.abs(x)).astype(dtype)
    weights = np.array(draw(st.lists(st.floats(0.5, 2.0), min_size=size, max_size=size)), dtype)
    return x, scale, weights


def loss(case):
    _, scale, weights = case

    def f(x):
        u = x / scale
        return tf.reduce_sum(weights * tf.exp(0.5 * u)) + tf.reduce_sum(u) ** 2

    return f


def exact(case):
    x, scale, weights = (np.asarray(part, np.float64) for part in case)
    u = x / scale
    bent = np.exp(0.5 * u) * weights
    value, slope = bent.sum() + u.sum() ** 2, (0.5 * bent + 2.0 * u.sum()) / scale
    return value, slope, (np.diag(0.25 * bent) + 2.0) / np.outer(scale, scale)


def agrees(found, true, error, size):
    off = np.abs(np.asarray(found, np.float64) - true)
    assert np.all(off <= np.maximum(size, 5.0 * np.asarray(error, np.float64))), (found, true, error)


def units(case):
    """What a difference of order one in the function makes in the derivatives."""
    scale = np.asarray(case[1], np.float64)
    value = 1.0 + abs(exact(case)[0])
    return value / scale, value / np.outer(scale, scale)


@settings(max_examples=20)
@given(case=cases())
def test_derivatives_at_any_point_in_either_dtype(case):
    _, slope, matrix = exact(case)
    first, second = TOLERANCE[case[0].dtype.type]
    by_one, by_two = units(case)
    value, g, h, g_error, h_error = zrun.value_gradient_hessian(loss(case), case[0], autograd=False, return_error=True)
    assert {tensor.dtype for tensor in (value, g, h, g_error, h_error)} == {tf.as_dtype(case[0].dtype)}
    agrees(g, slope, g_error, first * by_one)
    agrees(h, matrix, h_error, second * by_two)
    np.testing.assert_array_equal(h, tf.transpose(h))
    rounding = 50 * np.finfo(case[0].dtype).eps
    automatic = zrun.value_gradient_hessian(loss(case), case[0], autograd=True)
    agrees(automatic[1], slope, 0.0, rounding * by_one)
    agrees(automatic[2], matrix, 0.0, rounding * by_two)


@st.composite
def bounded(draw):
    """A case with bounds, on some of which the point lies."""
    case = draw(cases())
    x, scale, _ = case
    low, high = [], []
    for value, unit in zip(x, scale, strict=True):
        room = st.one_of(st.none(), st.just(0.0), st.floats(1e-6, 3.0).map(lambda part, unit=unit: part * float(unit)))
        below, above = draw(room), draw(room)
        if below == above == 0.0:
            above = float(unit)
        low.append(None if below is None else float(value) - below)
        high.append(None if above is None else float(value) + above)
    return case, list(zip(low, high, strict=True))


@pytest.mark.parametrize("in_graph", [False, True], ids=["eager", "graph"])
def test_bounds_are_never_left(in_graph):
    # Building a graph takes a second.
    settings(max_examples=3 if in_graph else 20)(given(bounded=bounded())(_stays_inside))(in_graph=in_graph)


def _stays_inside(bounded, in_graph):
    case, bounds = bounded
    x, dtype = case[0], case[0].dtype
    low, high = (np.array([np.nan if pair[i] is None else pair[i] for pair in bounds], np.float64) for i in (0, 1))
    inside = loss(case)

    def f(x):
        wide = tf.cast(x, tf.float64)
        # NaN compares as False, so a parameter without a bound is inside.
        outside = tf.reduce_any((wide < low) | (wide > high))
        return tf.where(outside, tf.constant(np.nan, dtype), inside(x))

    def derive():
        return zrun.gradient(f, tf.constant(x), autograd=False, bounds=bounds, return_error=True)

    g, error = (tf.function(derive, autograph=False) if in_graph else derive)()
    # One-sided stencils close to an edge have less room to be accurate in.
    loose = {np.float64: 1e-4, np.float32: 1.0}[dtype.type]
    agrees(g, exact(case)[1], error, loose * units(case)[0])


@pytest.mark.parametrize("in_graph", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize("autograd", [False, True], ids=["numerical", "automatic"])
def test_masks_leave_the_other_derivatives_as_they_are(autograd, in_graph):
    check = given(case=cases(), data=st.data())(_is_held)
    settings(max_examples=3 if in_graph else 15)(check)(autograd=autograd, in_graph=in_graph)


def _is_held(case, data, autograd, in_graph):
    x = case[0]
    free = data.draw(st.sets(st.integers(0, x.size - 1), min_size=1))
    fixed = np.array([place not in free for place in range(x.size)])
    seen = []

    def f(x):
        if tf.executing_eagerly():
            seen.append(np.array(x))
        return loss(case)(x)

    def derive():
        return zrun.value_gradient_hessian(f, tf.constant(x), autograd=autograd, fixed=fixed, return_error=True)

    _, g, h, g_error, h_error = (tf.function(derive, autograph=False) if in_graph else derive)()
    _, slope, matrix = exact(case)
    by_one, by_two = units(case)
    first, second = TOLERANCE[x.dtype.type]
    agrees(g, np.where(fixed, 0.0, slope), g_error, np.where(fixed, 0.0, first * by_one))
    both = np.outer(~fixed, ~fixed)
    agrees(h, np.where(both, matrix, 0.0), h_error, np.where(both, second * by_two, 0.0))
    assert all((point[fixed] == x[fixed]).all() for point in seen)


@settings(max_examples=6)
@given(case=cases(dtypes=(np.float64,)), ways=st.lists(st.booleans(), min_size=2, max_size=4), by_block=st.booleans())
def test_a_change_of_policy_takes_effect_at_the_next_call(case, ways, by_block):
    # Faults 3 and 5: a function, and an objective made before, follow each change at once.
    calls = []

    def f(x):
        calls.append(1)
        return loss(case)(x)

    variable = tf.Variable(case[0])
    objective = zrun.objective(loss(case), case[0])
    steps = np.random.default_rng(len(ways)).normal(size=len(ways)) * 1e-3
    try:
        for way, step in zip(ways, steps, strict=True):
            if not by_block:
                zrun.run.set_mode(autograd=way)
            with zrun.run.using(autograd=way) if by_block else nullcontext():
                calls.clear()
                zrun.gradient(lambda: f(variable), variable)
                assert (len(calls) == 1) is way
                x = case[0] + step * np.asarray(case[1])
                before = objective.evaluations["points"]
                objective.gradient(x)
                assert (objective.evaluations["points"] - before <= 1) is way
    finally:
        zrun.run.set_mode_default()
    np.testing.assert_array_equal(variable.numpy(), case[0])


@settings(max_examples=25)
@given(
    case=cases(), at=st.integers(1, 12), hessian=st.booleans(), error=st.sampled_from([ValueError, KeyboardInterrupt])
)
def test_variables_are_restored_wherever_a_function_fails(case, at, hessian, error):
    # Fault 16: one failure used to leave a parameter where the stencil had put it.
    variables = [tf.Variable(value) for value in case[0]]
    calls = []

    def f():
        calls.append(1)
        if len(calls) == at:
            raise error("here")
        return loss(case)(tf.stack(variables))

    derive = zrun.hessian if hessian else zrun.gradient
    if at <= 1 + 6 * case[0].size:
        with pytest.raises(error, match="here"):
            derive(f, variables, autograd=False)
    np.testing.assert_array_equal([variable.numpy() for variable in variables], case[0])
