"""The NumPy engine: accuracy, error estimates, counts, bounds, and what it refuses."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from zrun_tf import GradientError
from zrun_tf.gradients._numeric import numeric_hessian, numeric_jacobian

pytestmark = pytest.mark.any_policy


class Counted:
    """A function of one vector as the engine calls it, with the points it was asked for."""

    def __init__(self, function):
        self.function = function
        self.batches = []

    def __call__(self, points):
        self.batches.append(points.copy())
        with np.errstate(all="ignore"):
            return np.array([self.function(point) for point in points])

    @property
    def points(self):
        return np.concatenate(self.batches)

    @property
    def count(self):
        return sum(len(batch) for batch in self.batches)


def derivative(function, x, **options):
    """Derivative of a function of one number, its error estimate, and the number of evaluations."""
    counted = Counted(lambda point: function(point[0]))
    found = numeric_jacobian(counted, [x], **options)
    assert found.evaluations == counted.count
    return float(found.jacobian[0]), float(found.error[0]), found.evaluations


# name: f, exact f', points
SMOOTH = {
    "sin": (np.sin, np.cos, [0.0, 1.0, 1e-12, 1e-3, 3.0, 100.0, -1e4, 1e6]),
    "exp": (np.exp, np.exp, [0.0, 1.0, 1e-12, -5.0, 50.0, 700.0]),
    "log": (np.log, lambda x: 1 / x, [1.0, 1e-12, 1e12, 0.01, 5.0]),
    "square": (lambda x: x * x, lambda x: 2 * x, [0.0, 1.0, 1e-12, 1e12, -3.0]),
    "cubic": (lambda x: x**3 - 2 * x, lambda x: 3 * x**2 - 2, [0.0, 1.0, 1e-12, 1e12]),
    "inverse": (lambda x: 1 / x, lambda x: -1 / x**2, [1.0, 1e-12, 1e12, -2.0]),
    "root": (np.sqrt, lambda x: 0.5 / np.sqrt(x), [1.0, 1e-12, 1e12]),
    "bell": (lambda x: np.exp(-x * x / 2), lambda x: -x * np.exp(-x * x / 2), [0.0, 1.0, 5.0, 10.0]),
    "power": (lambda x: x**20, lambda x: 20 * x**19, [1.0, 0.01, 1.5]),
    "tanh": (np.tanh, lambda x: 1 / np.cosh(x) ** 2, [0.0, 1.0, -2.0]),
    "entropy": (lambda x: x * np.log(x), lambda x: np.log(x) + 1, [1e-6, 1.0, 100.0]),
    "resonance": (
        lambda x: 1 / (1 + ((x - 91.19) / 1.25) ** 2),
        lambda x: -2 * (x - 91.19) / 1.25**2 / (1 + ((x - 91.19) / 1.25) ** 2) ** 2,
        [91.0, 91.19, 80.0, 200.0],
    ),
    "step-like": (lambda x: np.arctan(50 * (x - 1)), lambda x: 50 / (1 + 2500 * (x - 1) ** 2), [0.3, 1.0, 1.01]),
    "narrow peak": (
        lambda x: np.exp(-(((x - 1000) / 1e-2) ** 2) / 2),
        lambda x: -(x - 1000) / 1e-4 * np.exp(-(((x - 1000) / 1e-2) ** 2) / 2),
        [1000.005, 999.98, 1000.0, 1000.05],
    ),
    "fast": (lambda x: np.sin(1e9 * x), lambda x: 1e9 * np.cos(1e9 * x), [0.0, 1e-12, 1e-9]),
    "slow": (lambda x: np.cos(x / 1e9 + 1), lambda x: -1e-9 * np.sin(x / 1e9 + 1), [0.0, 1.0, 1e9]),
    "line with offset": (lambda x: 1 + x / 1e9, lambda x: 1e-9, [0.0, 1.0, 100.0]),
    "kink elsewhere": (lambda x: abs(x - 1e-3), lambda x: 1.0, [2e-3]),
    "constant": (lambda x: 3.0, lambda x: 0.0, [0.0, 1.0, 1e12]),
}
SMOOTH_CASES = [pytest.param(f, exact, x, id=f"{name} at {x:g}") for name, (f, exact, xs) in SMOOTH.items() for x in xs]


@pytest.mark.parametrize(("f", "exact", "x"), SMOOTH_CASES)
def test_a_smooth_function_has_nine_digits(f, exact, x):
    found, error, evaluations = derivative(f, x)
    true = exact(x)
    # An accuracy that rounding in the function itself allows: where f' is 0, the scale is that of f over x.
    assert found == pytest.approx(true, rel=1e-9, abs=1e-13 * abs(f(x)))
    assert abs(found - true) <= error + 4e-16 * abs(true)
    assert evaluations <= 1 + 12 + 24


@pytest.mark.parametrize(("f", "exact", "x"), SMOOTH_CASES)
def test_a_smooth_function_at_its_bound_is_never_evaluated_outside(f, exact, x):
    counted = Counted(lambda point: f(point[0]))
    found = numeric_jacobian(counted, [x], bounds=[[x, np.inf]])
    assert counted.points.min() >= x
    true = exact(x)
    assert found.jacobian[0] == pytest.approx(true, rel=2e-8, abs=1e-9 * abs(f(x)))
    assert abs(found.jacobian[0] - true) <= found.error[0] + 4e-16 * abs(true)


RANDOM = {
    "sin": (np.sin, np.cos, lambda rng: rng.uniform(-10, 10)),
    "exp": (np.exp, np.exp, lambda rng: rng.uniform(-20, 20)),
    "log": (np.log, lambda x: 1 / x, lambda rng: 10 ** rng.uniform(-6, 6)),
    "bell": (*SMOOTH["bell"][:2], lambda rng: rng.uniform(-6, 6)),
    "quintic": (lambda x: x**5 - x, lambda x: 5 * x**4 - 1, lambda rng: rng.uniform(-3, 3)),
    "resonance": (*SMOOTH["resonance"][:2], lambda rng: rng.uniform(80, 100)),
    "tanh": (*SMOOTH["tanh"][:2], lambda rng: rng.uniform(-5, 5)),
    "near a minimum": (
        lambda x: 1e5 * (x - 3) ** 2 + 7e4,
        lambda x: 2e5 * (x - 3),
        lambda rng: 3 + rng.normal() * 1e-3,
    ),
}


@pytest.mark.parametrize("bounded", [False, True], ids=["central", "one-sided"])
def test_the_error_estimate_holds_and_is_not_far_off(bounded):
    # Check that the estimate covers the true error nearly always, and is of its order of magnitude.
    rng = np.random.default_rng(20260101)
    ratios = []
    for f, exact, draw in RANDOM.values():
        for x in [draw(rng) for _ in range(40)]:
            found, error, _ = derivative(f, x, bounds=[[x, np.inf]] if bounded else None)
            ratios.append(error / max(abs(found - exact(x)), 4e-16 * abs(exact(x))))
    assert np.mean(np.array(ratios) >= 1.0) >= 0.97
    assert np.median(ratios) < 30.0


@pytest.mark.parametrize("size", [1e-10, 1e-6])
def test_noise_is_noticed(size):
    rng = np.random.default_rng(7)
    covered, accuracy = [], []
    for x in rng.uniform(0.5, 4.0, 40):
        found, error, _ = derivative(lambda y: np.exp(y) + size * rng.normal(), x)
        covered.append(abs(found - np.exp(x)) <= error)
        accuracy.append(abs(found - np.exp(x)) / size)
    assert np.mean(covered) >= 0.9
    # The noise over a step at which the curvature of exp does no harm: some hundredth of x.
    assert np.median(accuracy) < 500.0


def test_a_kink_has_an_error_of_its_size():
    for function, at in ((abs, 0.0), (lambda x: abs(x - 1.0) + 0.5, 1.0)):
        found, error, _ = derivative(function, at)
        assert found == 0.0
        assert error >= 1.0


@pytest.mark.parametrize(
    ("f", "x", "true"),
    [
        (lambda x: x / 2, 1.7e308, 0.5),
        (lambda x: np.sin(x / 1e300), 1e300, np.cos(1.0) / 1e300),
    ],
)
def test_a_parameter_near_the_ends_of_the_floats(f, x, true):
    # Products of two steps used to overflow, which gave the derivative 0 with the error 0.
    found, error, _ = derivative(f, x)
    assert found == pytest.approx(true, rel=1e-9, abs=0.0)
    assert abs(found - true) <= error + 4e-16 * true


def test_what_lies_beyond_a_narrow_peak_is_not_taken_for_its_slope():
    # All steps but the smallest lead onto the plains on both sides, where the function is flat and looks sure of it.
    found, error, _ = derivative(lambda x: np.exp(-(((x - 1000.0) / 1e-5) ** 2)), 1000.000005)
    true = -2 * 0.5 / 1e-5 * np.exp(-0.25)
    assert found == pytest.approx(true, rel=1e-5)
    assert abs(found - true) <= max(error, 1e-5 * abs(true))


@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_gradient_takes_six_evaluations_per_parameter_and_one(n):
    counted = Counted(lambda x: np.sum(np.sin(x)))
    found = numeric_jacobian(counted, np.linspace(0.5, 2.0, n))
    assert [len(batch) for batch in counted.batches] == [1 + 6 * n]
    assert found.evaluations == 1 + 6 * n
    assert found.value == pytest.approx(np.sum(np.sin(np.linspace(0.5, 2.0, n))))


def test_only_the_parameter_that_needs_it_gets_more_batches():
    counted = Counted(lambda x: np.sin(x[0]) + np.sin(1e9 * x[1]))
    found = numeric_jacobian(counted, [1.0, 0.0])
    assert [len(batch) for batch in counted.batches] == [13, 6, 24]
    assert all((batch[:, 0] == 1.0).all() for batch in counted.batches[1:])
    assert found.jacobian == pytest.approx([np.cos(1.0), 1e9], rel=1e-9)


@pytest.mark.parametrize(("scale", "evaluations"), [(None, 37), ([1e-9], 7)])
def test_a_known_scale_saves_the_search(scale, evaluations):
    found, _, count = derivative(lambda x: np.sin(1e9 * x + 1), 0.0, scale=scale)
    assert found == pytest.approx(1e9 * np.cos(1.0), rel=1e-9)
    assert count == evaluations


def test_a_jacobian_has_the_shape_of_the_value_plus_that_of_x():
    def function(x):
        return np.array([[x[0] * x[1], np.sin(x[2]), 1.0], [x[1] ** 2, np.exp(x[0]), x[2]]])

    x = np.array([0.3, -1.2, 2.0])
    found = numeric_jacobian(Counted(function), x)
    exact = np.zeros((2, 3, 3))
    exact[0, 0, :2] = x[1], x[0]
    exact[0, 1, 2] = np.cos(x[2])
    exact[1, 0, 1] = 2 * x[1]
    exact[1, 1, 0] = np.exp(x[0])
    exact[1, 2, 2] = 1.0
    assert found.jacobian.shape == found.error.shape == (2, 3, 3)
    np.testing.assert_allclose(found.jacobian, exact, rtol=1e-10, atol=1e-12)
    assert (np.abs(found.jacobian - exact) <= found.error + 4e-16).all()
    np.testing.assert_allclose(found.value, function(x))


def test_many_components_are_the_same_in_blocks():
    # Check that components beyond the block size get what they get by themselves.
    phases = np.linspace(0.0, 3.0, 9000)
    whole = numeric_jacobian(lambda points: np.sin(points @ [1.0, 2.0] + phases[:, None]).T, [0.4, 0.1])
    part = numeric_jacobian(lambda points: np.sin(points @ [1.0, 2.0] + phases[-5:, None]).T, [0.4, 0.1])
    np.testing.assert_array_equal(whole.jacobian[-5:], part.jacobian)
    np.testing.assert_allclose(whole.jacobian, np.cos(0.6 + phases)[:, None] * [1.0, 2.0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("gap", [0.0, 1e-9, 1e-4, 1e-2, 1.0])
@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_bounds_are_respected_at_any_distance(gap, side):
    x = 5.0
    low, high = (x - gap, np.inf) if side < 0 else (-np.inf, x + gap)
    counted = Counted(lambda point: np.log(point[0]) * point[1])
    found = numeric_jacobian(counted, [x, 2.0], bounds=[[low, high], [np.nan, np.nan]])
    assert counted.points[:, 0].min() >= low
    assert counted.points[:, 0].max() <= high
    assert found.jacobian == pytest.approx([2.0 / x, np.log(x)], rel=1e-9)


def test_the_domain_of_a_function_is_left_by_taking_smaller_steps():
    found, error, _ = derivative(lambda x: np.log(x - 0.999), 1.0)
    assert found == pytest.approx(1000.0, rel=1e-9)
    assert abs(found - 1000.0) <= error


def test_no_parameters_have_no_derivatives():
    found = numeric_jacobian(lambda points: np.ones((len(points), 2)), [])
    assert (found.jacobian.shape, found.error.shape, found.evaluations) == ((2, 0), (2, 0), 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1.0]],), r"x must be a vector.*got shape \(1, 1\)"),
        (([np.nan, 1.0],), r"x\[0\] is nan"),
        (([1.0], [[0.0, 1.0, 2.0]]), r"bounds must hold .* of shape \(1, 2\)"),
        (([1.0], [[2.0, 3.0]]), r"x\[0\] = 1.0 is outside its bounds \(2.0, 3.0\)"),
        (([1.0], [[1.0, 1.0]]), r"bounds of x\[0\] must be a lower one below an upper one"),
        (([1.0], None, [-1.0]), "scale must hold a positive number"),
        (([1.0], None, [1.0, 2.0]), "scale must hold a positive number"),
    ],
)
def test_wrong_arguments_are_refused_before_any_evaluation(arguments, message):
    counted = Counted(np.sum)
    x, *limits = arguments
    options = dict(zip(("bounds", "scale"), limits, strict=False))
    with pytest.raises(GradientError, match=message):
        numeric_jacobian(counted, x, **options)
    assert counted.count == 0


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: np.nan, r"f returned nan at the parameters themselves, a = 1, b = 0"),
        (lambda x: np.log(x[1] + 0.0 * x[0]), r"f returned -inf"),
        (lambda x: np.sqrt(x[1]) + x[0], r"with respect to b is not available: f is NaN or infinite near b = 0"),
        (lambda x: 1j * x[0], "f returned complex128"),
        (lambda x: 1, "f returned int64"),
    ],
)
def test_a_function_without_a_derivative_is_refused(function, message):
    with pytest.raises(GradientError, match=message):
        numeric_jacobian(Counted(function), [1.0, 0.0], names=["a", "b"], function="f")


def test_no_room_for_a_step_is_said():
    with pytest.raises(GradientError, match=r"x\[0\] is not available: its bounds or its scale leave no step"):
        numeric_jacobian(Counted(np.sum), [1.0], scale=[1e-17])


def test_values_must_match_the_points():
    with pytest.raises(GradientError, match="one value per point: 7 points gave shape"):
        numeric_jacobian(lambda points: np.zeros(3), [1.0])


def test_an_exception_of_the_function_passes_through():
    def function(points):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        numeric_jacobian(function, [1.0])


def test_float32_values_and_parameters():
    # Check that steps suit the precision, and that points are numbers a float32 parameter can take.
    counted = Counted(lambda x: np.float32(np.sin(np.float32(x[0])) * np.float32(x[1])))
    found = numeric_jacobian(counted, np.array([0.7, 3.0], np.float32))
    assert (counted.points == counted.points.astype(np.float32)).all()
    exact = np.array([3.0 * np.cos(np.float32(0.7)), np.sin(np.float32(0.7))])
    assert found.jacobian == pytest.approx(exact, rel=1e-4)
    assert (np.abs(found.jacobian - exact) <= found.error).all()


def rosenbrock(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def rosenbrock_hessian(x):
    n = len(x)
    matrix = np.zeros((n, n))
    for i in range(n - 1):
        matrix[i, i] += 1200 * x[i] ** 2 - 400 * x[i + 1] + 2
        matrix[i + 1, i + 1] += 200
        matrix[i, i + 1] = matrix[i + 1, i] = -400 * x[i]
    return matrix


def mixture(x):
    return np.exp(x[0] * x[1]) * np.sin(x[2]) + x[0] / x[2]


def mixture_hessian(x):
    a, b, c = x
    e, s, k = np.exp(a * b), np.sin(c), np.cos(c)
    ac, bc = b * e * k - 1 / c**2, a * e * k
    return np.array(
        [
            [b * b * e * s, (1 + a * b) * e * s, ac],
            [(1 + a * b) * e * s, a * a * e * s, bc],
            [ac, bc, -e * s + 2 * a / c**3],
        ]
    )


HESSIANS = [
    pytest.param(rosenbrock, rosenbrock_hessian, [-1.2, 1.0, 0.7, 2.0], id="rosenbrock"),
    pytest.param(rosenbrock, rosenbrock_hessian, [0.0, 0.0, 0.0], id="rosenbrock at 0"),
    pytest.param(mixture, mixture_hessian, [0.5, -0.3, 1.4], id="mixture"),
    pytest.param(lambda x: 3 * x[0] + x[1] ** 2, lambda x: np.diag([0.0, 2.0]), [1.0, 2.0], id="linear in one"),
    pytest.param(lambda x: x[0] * x[1], lambda x: np.array([[0.0, 1], [1, 0]]), [0.0, 0.0], id="product at 0"),
    pytest.param(lambda x: 2.5, lambda x: np.zeros((2, 2)), [0.0, 1.0], id="constant"),
    pytest.param(lambda x: np.sin(x[0]), lambda x: np.array([[-np.sin(x[0])]]), [0.8], id="one parameter"),
]


@pytest.mark.parametrize(("f", "exact", "x"), HESSIANS)
def test_hessian(f, exact, x):
    x = np.array(x)
    counted = Counted(f)
    found = numeric_hessian(counted, x)
    true = exact(x)
    scale = np.sqrt(np.abs(np.diag(true)))
    close = 1e-8 * np.maximum(np.outer(scale, scale), np.abs(true)) + 1e-9
    assert (np.abs(found.hessian - true) <= close).all()
    assert (np.abs(found.hessian - true) <= found.error + 1e-15 * np.abs(true)).all()
    np.testing.assert_array_equal(found.hessian, found.hessian.T)
    np.testing.assert_array_equal(found.error, found.error.T)
    assert found.value == f(x)
    np.testing.assert_allclose(found.gradient, numeric_jacobian(Counted(f), x).jacobian, rtol=1e-10, atol=1e-12)
    n = len(x)
    mixed = 6 * n * (n - 1) // 2
    assert 1 + 6 * n + mixed <= found.evaluations <= 1 + 12 * n + mixed


@pytest.mark.parametrize(
    "bounds",
    [
        [[0.5, 9.0], [-9.0, 9.0], [0.1, 9.0]],
        [[0.5, 9.0], [-9.0, -0.3], [0.1, 9.0]],
        [[0.5, 9.0], [-0.3, 9.0], [1.4, 2.0]],
    ],
    ids=["one at a bound", "two at a bound", "all at a bound"],
)
def test_hessian_at_bounds(bounds):
    x = np.array([0.5, -0.3, 1.4])
    counted = Counted(mixture)
    found = numeric_hessian(counted, x, bounds=bounds)
    low, high = np.array(bounds).T
    assert (counted.points >= low).all()
    assert (counted.points <= high).all()
    np.testing.assert_allclose(found.hessian, mixture_hessian(x), rtol=2e-5, atol=1e-6)
    # A mixed derivative with one of the two at a bound has its error to within a factor of a few.
    assert (np.abs(found.hessian - mixture_hessian(x)) <= 4 * found.error).all()


def test_hessian_of_parameters_on_scales_24_decades_apart():
    x = np.array([1e12, 1e-12])
    found = numeric_hessian(Counted(lambda p: np.exp(p[0] * 1e-12) * np.sin(p[1] * 1e12)), x)
    e, s, k = np.e, np.sin(1.0), np.cos(1.0)
    exact = np.array([[e * s * 1e-24, e * k], [e * k, -e * s * 1e24]])
    np.testing.assert_allclose(found.hessian, exact, rtol=1e-8)


def test_hessian_finds_the_scale_with_two_more_batches():
    counted = Counted(lambda x: np.sin(1e6 * x[0] + 1) * x[1] ** 2)
    found = numeric_hessian(counted, [0.0, 1.0])
    assert [len(batch) for batch in counted.batches] == [13, 6, 24, 6]
    exact = [[-1e12 * np.sin(1), 2e6 * np.cos(1)], [2e6 * np.cos(1), 2 * np.sin(1)]]
    np.testing.assert_allclose(found.hessian, exact, rtol=1e-7)


def test_hessian_of_a_vector_is_refused():
    with pytest.raises(GradientError, match=r"f returned shape \(2,\).*Jacobian"):
        numeric_hessian(lambda points: points, [1.0, 2.0], function="f")


def test_hessian_where_both_moved_is_not_finite():
    with pytest.raises(GradientError, match=r"with respect to x\[0\] and x\[1\] is not available"):
        numeric_hessian(Counted(lambda x: x[0] + x[1] if x[0] * x[1] == 0.0 else np.nan), [0.0, 0.0])


def test_the_engine_imports_no_tensorflow():
    code = (
        "import sys, types, zrun_tf\n"
        "sys.modules['tensorflow'] = None\n"
        "package = types.ModuleType('zrun_tf.gradients')\n"
        "package.__path__ = [zrun_tf.__path__[0] + '/gradients']\n"
        "sys.modules['zrun_tf.gradients'] = package\n"
        "from zrun_tf.gradients._numeric import numeric_hessian\n"
        "print(numeric_hessian(lambda p: p[:, 0] ** 2, [1.0]).hessian[0, 0])\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stdout.strip() == "2.0", run.stderr
