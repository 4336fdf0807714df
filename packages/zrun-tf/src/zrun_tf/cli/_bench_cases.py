"""What `zrun bench` compares: the same computation, done in several ways."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

import zrun_tf as zrun

Run = Callable[[], Any]

ZRUN = "zrun"
_CALLS = 200
_STEPS = 30
_TOYS = 3
_EVENTS = 1000


@dataclass(frozen=True)
class Case:
    """One comparison.

    Attributes:
        name: for `--only`.
        title: what is computed.
        unit: what one run is counted in.
        ways: name -> function without arguments that does one run and returns its result; zrun's comes first. Each has
            been called once.
        per_run: how many calls, steps or toys a run of each way has.
        tolerance: relative and absolute, within which the results must agree.
        note: what a reader should know about the peers; may be empty.
    """

    name: str
    title: str
    unit: str
    ways: dict[str, Run]
    per_run: dict[str, int]
    tolerance: float = 1e-9
    note: str = ""


def _case(name: str, title: str, unit: str, ways: dict[str, tuple[Run, int]], **more: Any) -> Case:
    for run, _ in ways.values():
        run()
    runs = {way: run for way, (run, _) in ways.items()}
    return Case(name, title, unit, runs, {way: number for way, (_, number) in ways.items()}, **more)


def _repeated(call: Callable[[], Any]) -> tuple[Run, int]:
    def run() -> Any:
        for _ in range(_CALLS - 1):
            call()
        return call()

    return run, _CALLS


def call_overhead() -> Case:
    """One call of a small function of three tensors and a float."""

    def small(x: Any, y: Any, z: Any, scale: Any) -> Any:
        return tf.reduce_sum(x * y + z) * scale

    body: Callable[..., Any] = small
    vectors = [tf.constant(np.linspace(0.0, 1.0, 10) + shift) for shift in range(3)]
    ours, theirs = zrun.function(body), tf.function(body)
    scale = tf.constant(2.0, tf.float64)
    ways = {
        ZRUN: _repeated(lambda: ours(*vectors, 2.0)),
        "tf.function": _repeated(lambda: theirs(*vectors, scale)),
        "eager": _repeated(lambda: body(*vectors, scale)),
    }
    note = "tf.function gets its float as a tensor made beforehand: as a Python float, each new value would retrace."
    return _case("call", "a call of a small function", "call", ways, note=note)


def _negative_log_likelihood(x: Any, data: Any) -> Any:
    """A Gaussian of mean x[0] and width x[1] over an exponential of slope x[2], of fraction x[3]."""
    gauss = tf.exp(-0.5 * ((data - x[0]) / x[1]) ** 2) / (x[1] * np.sqrt(2 * np.pi))
    slope = x[2] * tf.exp(-x[2] * data) / (1 - tf.exp(-x[2] * 10.0))
    return -tf.reduce_sum(tf.math.log(x[3] * gauss + (1 - x[3]) * slope))


_START = np.array([5.0, 0.5, 0.3, 0.5])


def _toy_data(seed: int) -> Any:
    random = np.random.default_rng(seed)
    peak = random.normal(5.0, 0.5, _EVENTS // 2)
    tail = np.minimum(random.exponential(3.0, _EVENTS - _EVENTS // 2), 10.0)
    return np.concatenate([peak, tail])


def _points(count: int = _STEPS) -> list[Any]:
    random = np.random.default_rng(3)
    return [_START * (1 + 0.01 * random.normal(size=4)) for _ in range(count)]


def _bare(function: Any) -> Any:
    """Value and gradient of the likelihood under a `tf.function`, as a careful user writes it."""

    @function  # type: ignore[untyped-decorator]
    def value_and_gradient(x: Any, data: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = _negative_log_likelihood(x, data)
        return value, tape.gradient(value, x)

    return value_and_gradient


def toy_study() -> Case:
    """Toys with new data each: value and gradient at a number of points, as a minimiser asks for them."""
    points = _points()
    loss = zrun.objective(_negative_log_likelihood, _START, data=_toy_data(0))
    shared = _bare(tf.function)

    def ours() -> list[float]:
        results = []
        for toy in range(_TOYS):
            objective = loss.with_data(data=_toy_data(toy))
            results.append([objective.value_and_gradient(point)[0] for point in points][-1])
        return results

    def careful() -> list[float]:
        results = []
        for toy in range(_TOYS):
            data = tf.constant(_toy_data(toy))
            results.append([shared(tf.constant(point), data)[0].numpy() for point in points][-1])
        return results

    def traced_anew() -> list[float]:
        results = []
        for toy in range(_TOYS):
            data = tf.constant(_toy_data(toy))
            fresh = _bare(tf.function)
            results.append([fresh(tf.constant(point), data)[0].numpy() for point in points][-1])
        return results

    ways = {ZRUN: (ours, _TOYS), "tf.function, data as an argument": (careful, _TOYS)}
    ways |= {"tf.function, made anew per toy": (traced_anew, _TOYS)}
    note = "The last way is what code does that makes its loss anew for each toy: it traces for each of them."
    return _case("toys", f"a toy of {_EVENTS} events, {_STEPS} steps", "toy", ways, note=note)


def objective_step() -> Case:
    """A minimiser's step: NumPy in, value and gradient as NumPy out."""
    points = _points()
    data = _toy_data(0)
    loss = zrun.objective(_negative_log_likelihood, _START, data=data)
    bare = _bare(tf.function)
    tensor = tf.constant(data)

    def ours() -> Any:
        for point in points:
            value, gradient = loss.value_and_gradient(point)
        return np.append(gradient, value)

    def theirs(function: Any) -> Run:
        def run() -> Any:
            for point in points:
                value, gradient = function(tf.constant(point), tensor)
                value, gradient = float(value), gradient.numpy()
            return np.append(gradient, value)

        return run

    ways = {ZRUN: (ours, _STEPS), "tf.function": (theirs(bare), _STEPS)}
    ways |= {"eager": (theirs(_bare(lambda function: function)), _STEPS)}
    return _case("objective", f"value and gradient, {_EVENTS} events", "step", ways)


def numerical_gradient() -> Case:
    """A numerical gradient of the likelihood, beside the packages made for that, where they are installed."""
    data = _toy_data(0)
    loss = zrun.objective(_negative_log_likelihood, _START, data=data)
    graph = tf.function(_negative_log_likelihood)
    tensor = tf.constant(data)
    points = _points(2)

    def value(x: Any) -> float:
        return float(graph(tf.constant(np.asarray(x, np.float64)), tensor))

    def ours() -> Any:
        with zrun.run.using(autograd=False):
            return [loss.gradient(point) for point in points]

    ways: dict[str, tuple[Run, int]] = {ZRUN: (ours, len(points))}
    for name in ("numdifftools", "jacobi"):
        if importlib.util.find_spec(name) is not None:
            ways[name] = (_peer(name, value, points), len(points))
    missing = [name for name in ("numdifftools", "jacobi") if name not in ways]
    note = "The peers call the same likelihood as a tf.function, once per point of their stencils."
    if missing:
        note += f" Not installed: {', '.join(missing)}."
    return _case("numerical", "numerical gradient of 4 parameters", "gradient", ways, tolerance=1e-3, note=note)


def _peer(name: str, value: Callable[[Any], float], points: list[Any]) -> Run:
    if name == "numdifftools":
        import numdifftools

        gradient = numdifftools.Gradient(value)
        return lambda: [np.asarray(gradient(point)) for point in points]
    import jacobi

    return lambda: [np.asarray(jacobi.jacobi(_as_function(value), point)[0]).reshape(-1) for point in points]


def _as_function(value: Callable[[Any], float]) -> Callable[[Any], Any]:
    return lambda x: np.array([value(x)])


MAKERS: dict[str, Callable[[], Case]] = {
    "call": call_overhead,
    "toys": toy_study,
    "objective": objective_step,
    "numerical": numerical_gradient,
}
