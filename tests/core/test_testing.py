"""The tools for tests, and the pytest fixtures."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading

import pytest

from zrun_core import run
from zrun_core._cache import CacheOwner, GraphCache
from zrun_core._events import Event, emit, listening
from zrun_core._pytest_plugin import zrun_policy_unchanged, zrun_traces  # noqa: F401 - fixtures
from zrun_core._structure import KeyRow
from zrun_core.testing import assert_max_traces, count_traces, policy_unchanged


class Function:
    """Decorated, as `count_traces` sees it."""

    def __init__(self, name="loss"):
        self.owner = CacheOwner(name)
        self.cache = GraphCache(max_entries=None, sizeof=lambda value: 1)

    def __call__(self, n):
        rows = (KeyRow("n", str(n), True),)
        return self.cache.get_or_build(self.owner, n, lambda: "graph", rows=lambda: rows)

    def __get__(self, instance, owner=None):
        from types import MethodType

        return self if instance is None else MethodType(self, instance)


@pytest.fixture(autouse=True)
def nobody_listens_in_the_end():
    yield
    assert not listening()


# -- count_traces ----------------------------------------------------------------------------------------------------


def test_traces_are_counted_in_total_and_by_function():
    loss, model = Function("loss"), Function("Model.pdf")
    loss(0)
    with count_traces() as traces:
        for n in (1, 2, 2):
            loss(n)
        model(1)
    loss(9)
    assert (traces.total, int(traces)) == (3, 3)
    assert traces.by_function == {"loss": 2, "Model.pdf": 1}
    assert [event.function for event in traces.events] == ["loss", "loss", "Model.pdf"]
    assert repr(traces) == "<3 traces (loss: 2, Model.pdf: 1)>"


def test_the_counts_are_read_only():
    with count_traces() as traces:
        pass
    assert repr(traces) == "<0 traces>"
    with pytest.raises(TypeError):
        traces.by_function["loss"] = 3


def test_a_counter_can_start_again():
    loss = Function()
    with count_traces() as traces:
        loss(1)
        traces.reset()
        loss(2)
        loss(2)
    assert traces.total == 1


@pytest.mark.parametrize("way", ["function", "owner", "name", "method"])
def test_one_function_can_be_counted(way):
    loss, other = Function("loss"), Function("other")
    method = loss.__get__(object())
    wanted = {"function": loss, "owner": loss.owner, "name": "loss", "method": method}[way]
    with count_traces(wanted) as traces:
        loss(1)
        other(1)
    assert traces.by_function == {"loss": 1}


def test_functions_and_methods_as_decorated_are_understood():
    # Check against the real decorator, not only against the stand-in of these tests.
    class Model:
        @run.function(kind="loss")
        def loss(self):
            return 1

    for function in (Model.loss, Model().loss):
        with count_traces(function) as traces:
            emit(Event("build", "another", "loss", owner=-1))
            emit(Event("build", "loss", "loss", owner=Model.loss.owner.token))
        assert traces.total == 1


def test_functions_of_one_name_are_told_apart():
    one, two = Function("loss"), Function("loss")
    with count_traces(one) as traces, count_traces("loss") as both:
        one(1)
        two(1)
    assert (traces.total, both.total) == (1, 2)


def test_threads_count_too():
    loss = Function()
    with count_traces() as traces:
        threads = [threading.Thread(target=loss, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert traces.total == 8


@pytest.mark.parametrize("wrong", [3, print, object(), ["loss"]])
def test_what_is_not_a_function_of_zrun_is_refused(wrong):
    for tool in (count_traces, lambda function: assert_max_traces(1, function)):
        with pytest.raises(TypeError, match="function must be a function decorated with zrun, or its qualified name"):
            tool(wrong)


# -- assert_max_traces -----------------------------------------------------------------------------------------------


def test_as_many_as_allowed_pass():
    loss = Function()
    with assert_max_traces(2) as traces:
        loss(1)
        loss(2)
        loss(2)
    assert traces.total == 2


def test_one_too_many_names_function_and_argument():
    loss, other = Function("Model.loss"), Function("other")

    @assert_max_traces(1)
    def body():
        loss(1)
        loss(2)
        other(1)

    with pytest.raises(AssertionError) as raised:
        body()
    assert str(raised.value).splitlines() == [
        "3 traces where at most 1 were expected:",
        "  Model.loss was traced 2 times:",
        "    first call",
        "    n: 1 -> 2, static",
        "  other was traced 1 time:",
        "    first call",
    ]


def test_one_function_can_be_bounded():
    loss, other = Function("loss"), Function("other")
    with assert_max_traces(0, other):
        loss(1)
    with pytest.raises(AssertionError, match="other was traced"), assert_max_traces(0, other):
        other(1)


def test_an_exception_of_the_body_passes_through():
    loss = Function()

    def body():
        with assert_max_traces(0):
            loss(1)
            raise KeyError("user")

    with pytest.raises(KeyError, match="user"):
        body()


def test_one_such_object_can_be_entered_again_also_while_it_is_entered():
    loss, limit = Function(), assert_max_traces(1)
    with limit:
        with limit:
            loss(1)
        loss(1)
    with limit:
        loss(2)
    for n in (3, 4):
        with pytest.raises(AssertionError), limit:
            list(map(loss, (2 * n, 2 * n + 1)))


def test_as_a_decorator_each_call_counts_for_itself():
    loss = Function()

    @assert_max_traces(1)
    def fit(*orders):
        """Fit."""
        for n in orders:
            loss(n)
        return len(orders)

    assert (fit(1), fit(2), fit.__doc__) == (1, 1, "Fit.")
    with pytest.raises(AssertionError, match="2 traces where at most 1"):
        fit(3, 4)


def test_as_a_decorator_of_a_coroutine_it_waits_for_the_end():
    loss = Function()

    @assert_max_traces(0)
    async def fit(n):
        await asyncio.sleep(0)
        return loss(n)

    with pytest.raises(AssertionError, match="1 traces"):
        asyncio.run(fit(1))
    assert asyncio.run(fit(1)) == "graph"


@pytest.mark.parametrize("n", [-1, 1.0, "2", None, True])
def test_a_wrong_number_is_named(n):
    with pytest.raises(ValueError, match=f"n must be a number of traces, 0 or more; got {n!r}"):
        assert_max_traces(n)


def test_only_callables_are_decorated():
    with pytest.raises(TypeError, match="decorates a callable; got 3 of type int"):
        assert_max_traces(1)(3)


# -- policy_unchanged ------------------------------------------------------------------------------------------------


def test_a_policy_that_is_restored_passes():
    with policy_unchanged(), run.using(autograd=False):
        pass


def test_a_changed_default_is_told():
    try:
        with pytest.raises(AssertionError) as raised, policy_unchanged():
            run.set_mode(autograd=False)
    finally:
        run.set_mode_default()
    text = str(raised.value)
    assert "The policy was changed and not restored" in text
    assert "the process default was" in text
    assert "the policy in force was" in text


def test_a_block_that_is_left_open_is_told():
    block = run.using(autograd=False)
    with pytest.raises(AssertionError, match="the policy in force was") as raised, policy_unchanged():
        block.__enter__()
    block.__exit__(None, None, None)
    assert "process default" not in str(raised.value)


def test_an_exception_of_the_body_comes_first():
    def body():
        with policy_unchanged():
            run.set_mode(autograd=False)
            raise KeyError("user")

    try:
        with pytest.raises(KeyError, match="user"):
            body()
    finally:
        run.set_mode_default()


# -- the plugin ------------------------------------------------------------------------------------------------------


def test_the_fixture_counts(zrun_traces):  # noqa: F811 - the fixture
    Function()(1)
    assert zrun_traces.total == 1


def test_the_fixture_is_quiet_where_the_policy_is_left_alone(zrun_policy_unchanged):  # noqa: F811 - the fixture
    emit(Event("hit", "loss", "loss"))


def test_the_plugin_by_itself(tmp_path):
    # Check the fixtures as a user has them: in a run of their own, where one test leaves the policy changed.
    (tmp_path / "test_it.py").write_text(
        textwrap.dedent(
            """
            from zrun_core import run
            from zrun_core._events import Event, emit


            def test_counts(zrun_traces):
                emit(Event("build", "loss", "loss"))
                assert zrun_traces.by_function == {"loss": 1}


            def test_leaks(zrun_policy_unchanged):
                run.set_mode(autograd=False)
            """
        )
    )
    # Where the package is installed, its entry point "zrun" would load the plugin a second time.
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:zrun"]
    plugin = ["-p", "zrun_core._pytest_plugin", "--rootdir", str(tmp_path), str(tmp_path)]
    run = subprocess.run([*command, *plugin], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert "2 passed, 1 error" in run.stdout
    assert "ERROR test_it.py::test_leaks - AssertionError: The policy was changed" in run.stdout


def test_pytest_is_imported_by_the_plugin_only():
    program = "import sys, zrun_core.testing; assert 'pytest' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
