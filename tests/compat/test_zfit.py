"""zfit on zrun: put under it and taken away again, and the same numbers all the while."""

from __future__ import annotations

import gc
import math
import subprocess
import sys
import threading
import warnings
import weakref
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf

import zrun_tf as zrun
from zrun_compat import zfit as on_zrun
from zrun_compat.zfit import _install
from zrun_core.testing import count_traces

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]
zfit = pytest.importorskip("zfit", exc_type=ImportError)

RNG = np.random.default_rng(3)


def sample(size=400):
    return np.concatenate([RNG.normal(5.0, 0.8, size // 2), RNG.uniform(0.0, 10.0, size - size // 2)]).clip(0.01, 9.99)


class Study:
    """A peak over a background, and what the tests ask of its losses."""

    def __init__(self, model=None):
        self.space = zfit.Space("x", limits=(0.0, 10.0))
        self.mu = zfit.Parameter("mu", 5.0, 2.0, 8.0)
        self.sigma = zfit.Parameter("sigma", 1.0, 0.2, 3.0)
        self.slope = zfit.Parameter("slope", -0.1, -2.0, -0.01)
        self.fraction = zfit.Parameter("fraction", 0.4, 0.01, 0.99)
        self.params = [self.fraction, self.mu, self.sigma, self.slope]
        peak = zfit.pdf.Gauss(mu=self.mu, sigma=self.sigma, obs=self.space)
        self.model = zfit.pdf.SumPDF([peak, zfit.pdf.Exponential(self.slope, obs=self.space)], fracs=self.fraction)

    def loss(self, array, model=None, **options):
        data = zfit.Data.from_numpy(obs=self.space, array=array, **options)
        return zfit.loss.UnbinnedNLL(self.model if model is None else model, data)


def numbers(loss, params):
    """Value, gradient and Hessian of a loss, with and without the constant that zfit subtracts."""
    value, gradient = loss.value_gradient(params)
    hessian = loss.hessian(params, numgrad=False)
    found = (loss.value(full=True), loss.value(full=False), value, gradient, loss.gradient(params), hessian)
    return [np.asarray(each) for each in found]


def assert_same(found, expected, rtol=1e-10):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=1e-9)


@pytest.fixture
def installed():
    on_zrun.install()
    yield
    on_zrun.uninstall()


def codes():
    """All of zfit that `install` exchanges, as it is now."""
    from zfit.util import cache
    from zfit.z import math, zextension

    functions = [getattr(math, name) for name in _install._SWAPPED]
    registry = zextension.FunctionWrapperRegistry
    functions += [cache.clear_graph_cache, zfit.loss.UnbinnedNLL._call_value, registry.__call__]
    options = (zfit.settings.options.numerical_grad, dict(registry.do_jit_types))
    attributes = (cache.GraphCachable.reset_cache, sorted(vars(registry)))
    return [function.__code__ for function in functions], type(zfit.run), vars(zfit.run).copy(), options, attributes


def test_install_twice_and_uninstall_restores_everything(process_state):
    before, state = codes(), process_state()
    assert not on_zrun.installed()
    on_zrun.uninstall()
    on_zrun.install()
    during = codes()
    on_zrun.install()
    assert on_zrun.installed()
    assert codes() == during
    assert all(new is not old for new, old in zip(during[0], before[0], strict=True))
    assert isinstance(zfit.run, before[1])
    decorated = zfit.z.function(lambda x: x + 1.0)
    assert float(decorated(tf.constant(1.0))) == 2.0
    on_zrun.uninstall()
    assert codes() == before
    assert process_state() == state
    # What was decorated meanwhile is zfit's again.
    assert decorated.__code__ is zfit.loss.UnbinnedNLL._call_value.__code__
    assert float(decorated(tf.constant(1.0))) == 2.0


def test_before_zfit_is_imported():
    script = """
import sys, warnings
warnings.simplefilter("ignore")
import zrun_compat.zfit
finders = list(sys.meta_path)
zrun_compat.zfit.install()
zrun_compat.zfit.install()
assert zrun_compat.zfit.installed() and "zfit" not in sys.modules and "tensorflow" not in sys.modules
zrun_compat.zfit.uninstall()
assert sys.meta_path == finders and not zrun_compat.zfit.installed()
zrun_compat.zfit.install()
import zfit
assert zrun_compat.zfit.installed()
assert not any(type(each).__module__.startswith("zrun_compat") for each in sys.meta_path)
import zrun_tf as zrun
from zrun_core.testing import count_traces
double = zfit.z.function(lambda x: 2 * x)
with count_traces() as traces:
    assert float(double(1.5)) == 3.0
assert traces.total == 1
assert type(zfit.__spec__.loader).__module__ == "_frozen_importlib_external"
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("found", "said"), [("0.27.3", r"zfit 0\.28\.\*; zfit 0\.27\.3 is installed"), (None, "not installed")]
)
def test_versions_that_are_not_supported(monkeypatch, found, said):
    def version(name):
        if found is None:
            raise _install.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(_install, "version", version)
    with pytest.raises(on_zrun.ZfitNotSupportedError, match=said):
        on_zrun.install()
    assert not on_zrun.installed()


def test_the_mode_is_that_of_zrun(installed):
    run = zfit.run
    with run.set_graph_mode(False):
        assert zrun.run.mode["graph"] is False
        assert run.get_graph_mode() is False
        assert tf.config.functions_run_eagerly()
    assert run.get_graph_mode() == zrun.run.mode["graph"] == "auto"
    assert not tf.config.functions_run_eagerly()
    with run.set_graph_mode({"loss": False}):
        assert not zrun.run.builds_graph("loss")
        assert run.mode["graph"] == {"loss": False}
    with run.set_autograd_mode(False):
        assert zrun.run.current_policy_autograd() is False
        assert zfit.settings.options.numerical_grad is True
    with zrun.run.using(graph=False):
        assert run.get_graph_mode() is False
    with pytest.raises(ValueError, match="graph"):
        run.set_graph_mode("bad")
    assert run.mode == {"graph": "auto", "autograd": True}
    assert not tf.config.functions_run_eagerly()
    run.mode["graph"] = "nonsense"
    assert run.get_graph_mode() == "auto"


def test_a_mode_set_before_is_taken_over_and_given_back():
    zfit.run.set_graph_mode(False)
    try:
        on_zrun.install()
        assert zrun.run.mode["graph"] is False
        on_zrun.uninstall()
        assert zfit.run.get_graph_mode() is False
        assert zrun.run.mode["graph"] == "auto"
        assert tf.config.functions_run_eagerly()
    finally:
        on_zrun.uninstall()
        zfit.run.set_graph_mode("auto")


@pytest.mark.parametrize("weighted", [False, True])
def test_a_new_loss_on_new_data_runs_the_graph_of_the_first_with_the_numbers_of_zfit(weighted):
    study, arrays = Study(), [sample() for _ in range(3)]
    options = [{"weights": RNG.uniform(0.5, 1.5, 400)} if weighted else {} for _ in arrays]
    expected = []
    for array, more in zip(arrays, options, strict=True):
        expected.append(numbers(study.loss(array, **more), study.params))
    on_zrun.install()
    try:
        for place, (array, more) in enumerate(zip(arrays, options, strict=True)):
            with count_traces() as traces:
                assert_same(numbers(study.loss(array, **more), study.params), expected[place])
            assert (traces.total == 0) is (place > 0), traces.by_function
    finally:
        on_zrun.uninstall()


def test_an_extended_loss_and_one_with_constraints(installed):
    study = Study()
    events = zfit.Parameter("events", 400.0, 1.0, 2000.0)
    model = study.model.create_extended(events)
    params = [*study.params, events]
    constraint = zfit.constraint.GaussianConstraint(study.mu, observation=5.0, sigma=0.1)

    def loss(array):
        data = zfit.Data.from_numpy(obs=study.space, array=array)
        return zfit.loss.ExtendedUnbinnedNLL(model, data, constraints=constraint)

    arrays = [sample(), sample()]
    found = [numbers(loss(array), params) for array in arrays]
    with count_traces() as traces:
        numbers(loss(sample()), params)
    assert traces.total == 0
    on_zrun.uninstall()
    for array, each in zip(arrays, found, strict=True):
        assert_same(each, numbers(loss(array), params))


@pytest.mark.parametrize("name", ["BinnedNLL", "ExtendedBinnedNLL", "BinnedChi2", "ExtendedBinnedChi2"])
def test_a_new_binned_loss_runs_the_graph_of_the_first_with_the_numbers_of_zfit(installed, name):
    study = Study()
    binned = study.space.with_binning(12)
    events = zfit.Parameter("binned_events", 400.0, 1.0, 2000.0)
    extended = name.startswith("Extended")
    model = (study.model.create_extended(events) if extended else study.model).to_binned(binned)
    params = [*study.params, events] if extended else study.params
    histograms = [np.histogram(sample(), 12, (0.0, 10.0))[0].astype(float) + 1.0 for _ in range(2)]

    def loss(values):
        data = zfit.data.BinnedData.from_tensor(binned, values=values, variances=values + 2.0)
        return getattr(zfit.loss, name)(model, data)

    def value_and_gradient(values):
        made = loss(values)
        return [np.asarray(part) for part in (made.value(), made.gradient(params))]

    found = [value_and_gradient(histograms[0])]
    with count_traces() as traces:
        found.append(value_and_gradient(histograms[1]))
    assert traces.total == 0, traces.by_function
    on_zrun.uninstall()
    for values, each in zip(histograms, found, strict=True):
        assert_same(each, value_and_gradient(values), rtol=1e-9)
    assert found[0][0] != found[1][0]


def test_minima_are_those_of_zfit(installed):
    study, array = Study(), sample()
    start = [0.4, 5.0, 1.0, -0.1]

    def fit():
        zfit.param.set_values(study.params, start)
        result = zfit.minimize.Minuit().minimize(study.loss(array))
        return [result.params[each]["value"] for each in study.params]

    first, second = fit(), fit()
    on_zrun.uninstall()
    np.testing.assert_allclose([first, second], [fit()] * 2, rtol=1e-7)


def test_what_a_new_loss_would_see_differently_is_not_shared(installed):
    study, array = Study(), sample()
    before = float(study.loss(array).value())
    study.sigma.lower, study.sigma.upper = 0.2, 0.9
    found = float(study.loss(array).value())
    on_zrun.uninstall()
    assert found == pytest.approx(float(study.loss(array).value()), rel=1e-12)
    assert found != pytest.approx(before, rel=1e-6)


def test_a_method_of_zfit_that_was_exchanged_is_seen_by_new_losses(installed, monkeypatch):
    study, array = Study(), sample(100)
    before = float(study.loss(array).value(full=True))
    released = zfit.pdf.Gauss._unnormalized_pdf

    def flatter(self, x):
        return zfit.z.numpy.sqrt(released(self, x))

    monkeypatch.setattr(zfit.pdf.Gauss, "_unnormalized_pdf", flatter)
    found = float(study.loss(array).value(full=True))
    on_zrun.uninstall()
    assert found == pytest.approx(float(study.loss(array).value(full=True)), rel=1e-12)
    assert found != pytest.approx(before, rel=1e-6)


class Stretched(zfit.pdf.ZPDF):
    """A model of the user's, with an attribute that nobody is told of."""

    _PARAMS = ("mu",)
    width = 1.0

    def _unnormalized_pdf(self, x):
        return zfit.z.numpy.exp(-0.5 * ((zfit.z.unstack_x(x) - self.params["mu"]) / self.width) ** 2)


def test_models_of_the_users_are_known_by_identity_alone(installed):
    study, array = Study(), sample()
    model = Stretched(obs=study.space, mu=study.mu)
    loss = study.loss(array, model)
    narrow = float(loss.value())
    model.width = 2.0
    assert float(loss.value()) == narrow  # as released: this loss has its graph
    wide = float(study.loss(array, model).value())
    on_zrun.uninstall()
    assert wide == pytest.approx(float(study.loss(array, model).value()), rel=1e-12)
    assert wide != pytest.approx(narrow, rel=1e-6)


def test_graphs_of_a_loss_go_with_it(installed):
    study = Study()
    model = Stretched(obs=study.space, mu=study.mu)
    loss = study.loss(sample(), model)
    loss.value()
    loss.gradient([study.mu])
    loss.hessian([study.mu], numgrad=True)
    graphs = _loss_graphs()
    gone = weakref.ref(loss)
    del loss
    gc.collect()
    assert gone() is None
    assert graphs >= 3
    assert _loss_graphs() == 0


def _loss_graphs():
    return sum(row.graphs for row in zrun.run.cache_info().rows if row.function.startswith("BaseLoss."))


def test_data_that_change_in_place(installed):
    study = Study()
    sampler = study.model.create_sampler(n=300)
    loss = zfit.loss.UnbinnedNLL(study.model, sampler)
    first = float(loss.value())
    with count_traces() as traces:
        sampler.resample()
        second = float(loss.value())
    assert second != first
    on_zrun.uninstall()
    assert second == pytest.approx(float(zfit.loss.UnbinnedNLL(study.model, sampler).value()), rel=1e-12)
    assert traces.by_function.get("BaseLoss._call_value", 0) == 0


def test_what_marks_a_change_drops_the_graphs(installed):
    from zfit.util.cache import GraphCachable, invalidate_graph

    class Scaled(GraphCachable):
        factor = 2.0

        @zfit.z.function
        def __call__(self, x):
            return self.factor * x

        @invalidate_graph
        def change(self, factor):
            self.factor = factor

    scaled = Scaled()
    x = tf.constant(1.0)
    assert float(scaled(x)) == 2.0
    scaled.factor = 5.0
    assert float(scaled(x)) == 2.0
    scaled.change(3.0)
    assert float(scaled(x)) == 3.0


def test_numbers_are_numbers_and_functions_that_ask_for_it_run_eagerly(installed):
    seen = []

    @zfit.z.function
    def by_value(x, power=2.0):
        seen.append(type(power))
        return x**power if power > 1.0 else x

    assert float(by_value(tf.constant(3.0))) == 9.0
    assert float(by_value(tf.constant(3.0), power=0.5)) == 3.0
    assert set(seen) == {float}
    runs = []

    @zfit.z.function
    def eagerly(x):
        if not zfit.run.executing_eagerly():
            raise zfit.z.DoNotCompile
        runs.append(1)
        return x

    eagerly(tf.constant(1.0)), eagerly(tf.constant(1.0))
    assert len(runs) == 2


def test_an_error_of_the_body_comes_once_and_leaves_nothing_behind(installed):
    runs = []

    @zfit.z.function
    def broken(x):
        runs.append(1)
        raise KeyError("mine")

    for _ in range(2):
        with pytest.raises(KeyError, match="mine"):
            broken(tf.constant(1.0))
    assert len(runs) == 2


def test_threads_run_graphs_too(installed):
    seen = []

    @zfit.z.function
    def slow(x):
        seen.append(tf.executing_eagerly())
        return tf.reduce_sum(x * x)

    threads = [threading.Thread(target=lambda: [slow(tf.ones(100)) for _ in range(20)]) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not any(seen)


class Pair(NamedTuple):
    """What `tf.function` can return and zrun's functions cannot tell from a tuple of the user's own making."""

    value: tf.Tensor
    other: tf.Tensor


def test_results_of_other_kinds_are_left_to_zfit(installed):
    @zfit.z.function
    def with_names(x):
        return Pair(x + 1.0, 2.0 * x)

    for number in (1.0, 3.0):
        found = with_names(tf.constant(number))
        assert type(found) is Pair
        assert (float(found.value), float(found.other)) == (number + 1.0, 2.0 * number)


def test_numerical_derivatives_follow_the_policy_and_are_those_of_the_function(installed):
    study, array = Study(), sample()
    loss = study.loss(array)
    exact = np.asarray(loss.gradient(study.params))
    values = [float(each) for each in study.params]
    np.testing.assert_allclose(loss.gradient(study.params, numgrad=True), exact, rtol=1e-7, atol=1e-6)
    hessian = np.asarray(loss.hessian(study.params, numgrad=False))
    np.testing.assert_allclose(loss.hessian(study.params, numgrad=True), hessian, rtol=1e-4, atol=1e-3)
    diagonal = np.asarray(loss.hessian(study.params, numgrad=True, hessian="diag"))
    np.testing.assert_allclose(diagonal, np.diag(hessian), rtol=1e-4, atol=1e-3)
    # A loss that is there already follows too; in zfit it does not.
    with zfit.run.set_autograd_mode(False):
        numerical = np.asarray(loss.gradient(study.params))
    np.testing.assert_allclose(numerical, exact, rtol=1e-7, atol=1e-6)
    assert (numerical != exact).any()
    assert [float(each) for each in study.params] == values


def test_leased_cpus_come_back_after_an_error(installed):
    before = list(zfit.run._cpu)

    def fail():
        with zfit.run.aquire_cpu(1) as cpus:
            assert len(cpus) == min(1, len(before))
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        fail()
    assert zfit.run._cpu == before
    with pytest.raises(TypeError, match="max_cpu"), zfit.run.aquire_cpu(1.5):
        pass


def test_what_is_said_of_retraces_can_be_done(installed):
    study = Study()

    def losses(model):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(7):
                study.loss(sample(100), model).value()
        return [str(each.message) for each in caught if issubclass(each.category, zrun.errors.RetraceWarning)]

    @zfit.z.function
    def power(x, exponent):
        return x**exponent

    def powers():
        return [power(tf.constant(2.0), float(exponent)) for exponent in range(7)]

    (said,) = losses(Stretched(obs=study.space, mu=study.mu))
    assert "BaseLoss._call_value was traced 6 times" in said
    assert "make the model once" in said
    with pytest.warns(zrun.errors.RetraceWarning, match=r"Next step: give call\.args\[1\] as a tensor"):
        powers()


def test_nothing_is_said_of_functions_of_zfit_that_a_user_cannot_change(installed):
    from zfit.core.parameter import assign_values_jit

    parameters = [zfit.Parameter(f"one_{number}", 1.0) for number in range(8)]
    with count_traces() as traces, warnings.catch_warnings():
        warnings.simplefilter("error", zrun.errors.RetraceWarning)
        for number in range(8):
            assign_values_jit(parameters[number:], tf.ones(8 - number, tf.float64))
    assert traces.by_function["assign_values_jit"] > 5


def test_functions_of_the_users_share_graphs_among_data_losses_and_parameters_within_limits(installed):
    study = Study()
    wide = zfit.Parameter("wide", 2.5, 0.0, 3.0)
    narrow = zfit.Parameter("narrow", 1.5, 0.0, 2.0)

    @zrun.function
    def likelihood(data):
        return tf.reduce_sum(tf.math.log(study.model.pdf(data)))

    @zrun.function
    def loss_and_gradient(loss):
        return loss.value(), loss.gradient(study.params)

    @zrun.function
    def twice(parameter):
        return 2.0 * tf.convert_to_tensor(parameter)

    with count_traces() as traces:
        assert (float(twice(narrow)), float(twice(wide))) == (3.0, 5.0)
        narrow.upper = 1.0
        assert float(twice(narrow)) == 2.0 * float(narrow)
        for _ in range(3):
            array = sample(100)
            data = zfit.Data.from_numpy(obs=study.space, array=array)
            expected = np.log(study.model.pdf(array)).sum()
            np.testing.assert_allclose(likelihood(data), expected, rtol=1e-10)
            loss = study.loss(array)
            value, gradient = loss_and_gradient(loss)
            np.testing.assert_allclose(value, loss.value(), rtol=1e-10)
            np.testing.assert_allclose(gradient, loss.gradient(study.params), rtol=1e-8, atol=1e-8)
    mine = {name.rpartition(".")[2]: count for name, count in traces.by_function.items()}
    assert (mine["likelihood"], mine["loss_and_gradient"], mine["twice"]) == (1, 1, 3)


def test_a_numerical_derivative_of_a_loss_in_a_function_of_the_users(installed):
    study = Study()

    @zrun.function
    def slopes(loss):
        return loss.gradient(study.params, numgrad=True)

    for _ in range(2):
        loss = study.loss(sample(100))
        np.testing.assert_allclose(slopes(loss), loss.gradient(study.params), rtol=1e-6, atol=1e-5)


def test_uninstall_forgets_the_handlers():
    study = Study()
    traced = []

    @zrun.function
    def total(data):
        traced.append(type(data).__name__)
        return tf.reduce_sum(data.value())

    def totals():
        traced.clear()
        for _ in range(2):
            array = sample(100)
            assert float(total(zfit.Data.from_numpy(obs=study.space, array=array))) == pytest.approx(array.sum())
        return len(traced)

    assert totals() == 2
    on_zrun.install()
    try:
        assert totals() == 1
    finally:
        on_zrun.uninstall()
    assert totals() == 2


def test_uninstall_takes_back_what_zfit_set_of_the_policy():
    on_zrun.install()
    zrun.run.set_mode(autograd=False)
    try:
        with zfit.run.set_graph_mode({"loss": False}):
            assert zrun.run.mode["graph"] == {"loss": False}
            on_zrun.uninstall()
        # Set with zrun's own name, so not zfit's to take back.
        assert zrun.run.mode == {"graph": "auto", "autograd": False}
    finally:
        zrun.run.set_mode_default()
    assert zfit.run.get_graph_mode() == "auto"


def test_install_and_uninstall_where_the_policy_cannot_be_set_change_nothing():
    from zrun_core.errors import PolicyShadowedError

    zfit.run.set_graph_mode(False)
    try:
        before = codes()
        with zrun.run.using(autograd=False), pytest.raises(PolicyShadowedError):
            on_zrun.install()
        assert not on_zrun.installed()
        assert codes() == before
        on_zrun.install()
        during = codes()
        with zrun.run.using(autograd=False), pytest.raises(PolicyShadowedError):
            on_zrun.uninstall()
        assert on_zrun.installed()
        assert codes() == during
        on_zrun.uninstall()
        assert codes() == before
        assert zrun.run.mode["graph"] == "auto"
    finally:
        on_zrun.uninstall()
        zfit.run.set_graph_mode("auto")


@pytest.mark.parametrize("name", ["install", "uninstall"])
def test_not_while_a_graph_is_built(name):
    from zrun_core.errors import IllegalInGraphError

    @tf.function(autograph=False)
    def trace():
        getattr(on_zrun, name)()

    if name == "uninstall":
        on_zrun.install()
    before = on_zrun.installed()
    with pytest.raises(IllegalInGraphError, match=rf"{name}\(\) was called while a graph is being built"):
        trace()
    assert on_zrun.installed() is before
    on_zrun.uninstall()


def test_threads_fit_on_while_zrun_is_put_under_zfit_and_taken_away():
    study, stop, wrong, checked, finished = Study(), threading.Event(), [], [], []
    turn = 0

    def fit():
        while not stop.is_set():
            began, on_zrun_then = turn, on_zrun.installed()
            array = sample(50)
            found = float(study.loss(array).value(full=True)), -np.log(study.model.pdf(array)).sum()
            # zfit as released gives wrong numbers when two threads first use a model at the same time, so only what
            # was found on zrun from beginning to end is looked at.
            if on_zrun_then and on_zrun.installed() and began == turn:
                checked.append(found)
                if found != pytest.approx([likelihood(array)] * 2, rel=1e-8):
                    wrong.append((found, likelihood(array)))
        finished.append(True)

    threads = [threading.Thread(target=fit) for _ in range(2)]
    for each in threads:
        each.start()
    for _ in range(3):
        on_zrun.install()
        stop.wait(1.0)
        on_zrun.uninstall()
        turn += 1
        stop.wait(0.5)
    stop.set()
    for each in threads:
        each.join()
    # An error would have ended a thread early.
    assert (wrong, finished) == ([], [True, True])
    assert checked


def test_a_function_that_autograph_cannot_convert_runs_as_it_is(installed):
    """As with `tf.function`; zfit's CachedPDF is one."""

    @zfit.z.function(autograph=True)
    def doubled(x):
        return (y := x) + y

    @zfit.z.function(autograph=True)
    def magnitude(x):
        if x < 0:
            x = -x
        return x

    assert [float(doubled(tf.constant(2.0))), float(magnitude(tf.constant(-2.0)))] == [4.0, 2.0]


def test_models_that_keep_what_they_computed_agree_with_those_that_do_not(installed):
    """zfit's CachedPDF creates variables in its graphs, from what it is called with."""
    from zfit.models.cache import CachedPDF

    study, array = Study(), sample()
    cached = CachedPDF(study.model)
    loss = study.loss(array, cached)
    for mu in (5.0, 5.5, 5.5):
        study.mu.set_value(mu)
        np.testing.assert_allclose(cached.pdf(array), study.model.pdf(array), rtol=1e-12)
        found = [float(each.value(full=True)) for each in (loss, study.loss(array))]
        assert found[0] == pytest.approx(found[1], rel=1e-10)
    # What needs zfit as released does not take zrun from other losses.
    with count_traces() as traces:
        for _ in range(3):
            study.loss(sample()).value(full=True)
    assert traces.total == 0


def likelihood(array):
    """The negative log-likelihood of `Study`, without zfit."""
    peak, background = np.exp(-0.5 * (array - 5.0) ** 2), np.exp(-0.1 * array)
    inside = math.sqrt(2 * math.pi) * math.erf(5.0 / math.sqrt(2))
    return -np.log(0.4 * peak / inside + 0.6 * background * 0.1 / -math.expm1(-1.0)).sum()


def test_install_holds_nothing_that_another_thread_is_building():
    """Holding it would make `tuple()` fail with a SystemError there."""
    stop, errors = threading.Event(), []

    def build():
        try:
            while not stop.is_set():
                tuple(each for each in [(), []] * 2000)
        except SystemError as error:
            errors.append(error)

    thread = threading.Thread(target=build)
    thread.start()
    for _ in range(20):
        on_zrun.install()
        on_zrun.uninstall()
    stop.set()
    thread.join()
    assert not errors
