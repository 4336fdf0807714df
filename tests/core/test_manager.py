"""The run manager: one object for policy, cache, CPUs and evaluation, and what it asks of its backend."""

from __future__ import annotations

import gc
import inspect
import threading

import pytest

from zrun_core import Backend, CacheOwner, Executable, GraphCache, PythonBackend, RunManager, _tracing, listen
from zrun_core import run as process_run
from zrun_core._environment import cpu_limit
from zrun_core._manager import DEFAULT_MAX_GRAPHS, UNSET, given_parts
from zrun_core._scope import current, default
from zrun_core.errors import CpuError, CpuLeaseTimeoutError, IllegalInGraphError, PolicyError, RuntimeStartedError

from .counting_backend import Array, CountingBackend


@pytest.fixture(autouse=True)
def _policy_is_left_as_it_was():
    before = default(), current()
    yield
    assert (default(), current()) == before


@pytest.fixture
def run():
    return RunManager(n_cpu=4, backend=CountingBackend())


# -- the backend ----------------------------------------------------------------------------------------------------


def test_the_backends_fulfil_the_protocol():
    for backend in (PythonBackend(), CountingBackend()):
        assert isinstance(backend, Backend)
        for name, member in vars(Backend).items():
            if inspect.isfunction(member) and not name.startswith("_"):
                theirs = inspect.signature(getattr(type(backend), name))
                assert list(theirs.parameters) == list(inspect.signature(member).parameters)


def test_what_a_backend_compiles_is_an_executable():
    run = RunManager(backend=CountingBackend())
    f = run.function(lambda x: x)
    f(1.0)
    ((entry,)) = f.owner.table.values()
    assert isinstance(entry.value, Executable)
    assert run.cache_info().total.bytes == entry.value.nbytes == 200


@pytest.mark.parametrize("backend", [object(), "tensorflow", 3])
def test_an_object_that_is_no_backend_is_refused(backend):
    with pytest.raises(TypeError, match="backend must have all parts of the Backend protocol"):
        RunManager(backend=backend)


def test_a_class_is_no_backend():
    with pytest.raises(TypeError, match=r"backend must be an object; got the class CountingBackend"):
        RunManager(backend=CountingBackend)


def test_the_parts_that_a_backend_lacks_are_named():
    class Half:
        name = "half"
        compiles = False

        def is_tracing(self):
            return False

    with pytest.raises(
        TypeError, match="lacks compile, context, default_changed, evaluate, release_memory, set_threads"
    ):
        RunManager(backend=Half())


def test_the_python_backend_does_nothing():
    backend = PythonBackend()
    assert (backend.is_tracing(), backend.context(), backend.release_memory()) == (False, None, 0)
    assert backend.set_threads(1, 1) is None
    assert backend.default_changed(default(), default()) is None
    thing = object()
    assert backend.evaluate(thing) is thing


def test_the_backend_is_told_of_changes_of_the_default(run):
    before = default()
    run.set_mode(graph=False)
    run.set_mode_default()
    with run.using(graph=False):
        pass
    changed = before.changed(graph=False)
    assert run.backend.defaults == [(before, changed), (changed, before)]


def test_two_managers_of_one_backend_tell_it_once():
    backend = CountingBackend()
    managers = [RunManager(backend=backend), RunManager(backend=backend)]
    managers[0].set_mode(graph=False)
    managers[1].set_mode_default()
    assert len(backend.defaults) == 2


# -- policy ---------------------------------------------------------------------------------------------------------


def test_every_manager_shows_the_policy_of_the_process(run):
    run.set_mode(graph=False)
    try:
        assert process_run.mode == run.mode == RunManager().mode
    finally:
        process_run.set_mode_default()
    with run.using(autograd=False):
        assert not process_run.current_policy_autograd()


def test_kinds_are_of_the_process(run):
    run.define_kind("kind_of_this_test", graph=False)
    assert process_run.builds_graph("kind_of_this_test") is False
    with process_run.using(graph={"kind_of_this_test": True}):
        assert run.builds_graph("kind_of_this_test")
    with pytest.raises(PolicyError, match="already defined with graph=False"):
        run.define_kind("kind_of_this_test", graph=True)


def test_the_parts_that_were_given():
    assert given_parts(None, None, None, None, UNSET, None) == {}
    assert given_parts(False, None, None, None, None, None) == {"graph": False, "chunksize": None}
    assert given_parts(1, 2, 3, 4, 5, 6) == {
        "graph": 1,
        "autograd": 2,
        "jit": 3,
        "check_numerics": 4,
        "chunksize": 5,
        "retrace": 6,
    }
    assert repr(UNSET) == "<as it is>"


def test_the_parameters_of_the_manager_are_those_of_the_contract():
    assert list(inspect.signature(RunManager.set_mode).parameters) == ["self", "graph", "autograd"]
    assert list(inspect.signature(RunManager.using).parameters) == [
        "self",
        "graph",
        "autograd",
        "jit",
        "check_numerics",
        "chunksize",
        "retrace",
    ]
    options = {
        name: parameter.default
        for name, parameter in list(inspect.signature(RunManager.function).parameters.items())[2:]
    }
    assert options == {"kind": "tensor", "static": (), "force_eager": False, "jit_compile": None, "max_graphs": None}


# -- cache ----------------------------------------------------------------------------------------------------------


def test_the_cache_has_a_budget_from_the_start():
    assert RunManager().cache_info().max_entries == DEFAULT_MAX_GRAPHS


def test_the_size_of_the_cache_can_be_set(run):
    @run.function
    def f(n):
        return n

    for n in range(4):
        f(n)
    assert run.set_graph_cache_size(2) is None
    assert run.cache_info().total.graphs == 2
    run.set_graph_cache_size(None, bytes=150)
    assert run.cache_info().total.graphs == 1
    info = run.cache_info()
    assert (info.max_entries, info.max_bytes) == (None, 150)
    with pytest.raises(ValueError, match="graphs must be a positive whole number"):
        run.set_graph_cache_size(0)
    assert run.cache_info() == info


def test_cache_info_has_a_row_per_function(run):
    f = run.function(lambda x: x, kind="loss")
    g = run.function(lambda x: x)
    f(1.0)
    f(2.0)
    g(1.0)
    g([1.0])
    rows = {(row.kind, row.graphs, row.hits, row.misses, row.bytes) for row in run.cache_info().rows}
    assert rows == {("loss", 1, 1, 1, 200), ("tensor", 2, 0, 2, 400)}
    assert "loss" in str(run.cache_info())
    assert run.cache_info()._repr_html_().startswith("<table>")


def test_clearing_says_what_it_freed(run):
    f = run.function(lambda x: x)
    f(1.0)
    f([1.0])
    process_run.clear_graph_cache()
    assert run.cache_info().total.graphs == 0
    f(1.0)
    assert tuple(run.clear_graph_cache(release_memory=True)) == (1, 12345)
    assert tuple(run.clear_graph_cache()) == (0, 0)


def test_clearing_reaches_every_cache(run):
    cache = GraphCache(max_entries=None, sizeof=lambda value: 7)
    owner = CacheOwner("mine")
    cache.get_or_build(owner, 1, lambda: "a value")
    assert tuple(run.clear_graph_cache()) == (1, 7)
    assert cache.info().total.graphs == 0


def test_listening_through_the_manager(run):
    heard = []
    with run.listen(heard.append, "build") as listener:
        run.function(lambda x: x)(1.0)
    assert [event.name for event in heard] == ["build"]
    assert type(listener) is type(listen(print))
    with pytest.raises(ValueError, match=r"there is no event 'built'. Did you mean 'build'"):
        run.listen(print, "built")


# -- evaluation -----------------------------------------------------------------------------------------------------


def test_calling_the_manager_evaluates(run):
    assert run(Array(1, 2)) == (1, 2)
    assert run(Array(1), 5, None) == ((1,), 5, None)
    assert process_run([1, 2]) == [1, 2]


def test_eager_execution_can_be_asserted(run):
    run.assert_executing_eagerly()
    checked = run.function(lambda x: run.assert_executing_eagerly())
    with pytest.raises(IllegalInGraphError, match="a graph is being built, so Python side effects happen once"):
        checked(1.0)
    with run.using(graph=False):
        assert checked(1.0) is None


def test_the_default_cannot_be_set_by_a_traced_body(run):
    before = default()
    for setter in (lambda: run.set_mode(graph=False), run.set_mode_default, lambda: run.set_chunksize(5)):
        traced = run.function(lambda x, setter=setter: setter())
        with pytest.raises(IllegalInGraphError, match="Call it outside of the decorated function"):
            traced(1.0)
    assert default() is before


# -- CPUs -----------------------------------------------------------------------------------------------------------


def test_the_number_of_cpus_can_be_given(run):
    assert run.n_cpu == 4
    assert run.backend.threads == [(4, 4)]
    run.set_n_cpu(3)
    run.set_n_cpu(2, strict=True)
    assert run.backend.threads == [(4, 4), (3, 3), (1, 2)]
    assert run.n_cpu == 2


def test_auto_is_what_the_machine_allows():
    run = RunManager(backend=CountingBackend())
    assert run.backend.threads == []
    found = run.n_cpu
    assert found >= 1
    run.set_n_cpu(found + 3)
    run.set_n_cpu("auto")
    assert run.n_cpu == found
    assert run.backend.threads[-1] == (found, found)
    assert cpu_limit() is None


@pytest.mark.parametrize(
    ("n_cpu", "error", "message"),
    [
        (0, CpuError, "n_cpu must be an integer of at least 1; got 0"),
        (-1, CpuError, "n_cpu must be an integer of at least 1; got -1"),
        ("all", CpuError, "n_cpu must be 'auto' or a positive number; got 'all'"),
        (1.5, TypeError, "n_cpu must be an integer; got 1.5"),
        (True, TypeError, "n_cpu must be an integer; got True"),
        (None, TypeError, "n_cpu must be an integer; got None"),
    ],
)
def test_an_invalid_number_of_cpus_changes_nothing(run, n_cpu, error, message):
    with pytest.raises(error, match=message):
        run.set_n_cpu(n_cpu)
    assert (run.n_cpu, run.backend.threads) == (4, [(4, 4)])
    with pytest.raises(error, match=message):
        RunManager(n_cpu)


def test_strict_is_checked(run):
    with pytest.raises(TypeError, match="strict must be True or False; got 1 of type int"):
        run.set_n_cpu(2, strict=1)
    assert run.n_cpu == 4


def test_more_cpus_than_any_machine_has_are_refused_before_the_backend_is_told(run):
    told = list(run.backend.threads)
    with pytest.raises(CpuError, match="n_cpu must be an integer of at most 65536; got 65537"):
        run.set_n_cpu(65537)
    assert (run.n_cpu, run.backend.threads) == (4, told)


def test_a_backend_that_refuses_leaves_the_pool(run):
    def refuse(intra, inter):
        raise RuntimeStartedError("too late")

    run.backend.set_threads = refuse
    with pytest.raises(RuntimeStartedError):
        run.set_n_cpu(2)
    assert run.n_cpu == 4


def test_thread_counts_can_be_set_one_by_one(run):
    run.set_cpus_explicit(2, 3)
    assert run.backend.threads[-1] == (2, 3)
    for wrong in ((0, 1), (1, 0)):
        with pytest.raises(CpuError, match="must be an integer of at least 1; got 0"):
            run.set_cpus_explicit(*wrong)
    assert run.backend.threads[-1] == (2, 3)


def test_cpus_can_be_leased(run):
    with run.acquire_cpu(3) as cpus:
        assert cpus == 3
        with run.acquire_cpu() as rest:
            assert rest == 1
            with pytest.raises(CpuLeaseTimeoutError), run.acquire_cpu(timeout=0):
                pass
    with pytest.raises(LookupError), run.acquire_cpu(-2):
        raise LookupError
    with run.acquire_cpu() as cpus:
        assert cpus == 4


def test_the_pool_is_made_once(monkeypatch):
    run = RunManager()
    pools = []
    barrier = threading.Barrier(8)

    def ask():
        barrier.wait(timeout=60)
        pools.append(run._cpus())

    workers = [threading.Thread(target=ask) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
    assert len(pools) == 8
    assert len({id(pool) for pool in pools}) == 1


def test_the_cpu_report_says_how_many_and_who(run):
    with run.acquire_cpu(3):
        assert "3" in run.cpu_report()
    assert "4" in run.cpu_report()


def test_the_default_cannot_be_set_through_any_manager_while_any_backend_traces(run):
    # This used to look at the manager's own backend only, and to change the default once, at tracing.
    others = (RunManager(), RunManager(backend=CountingBackend()), run)
    asked = []

    @run.function
    def f(x):
        for other in others:
            for ask in (
                lambda other=other: other.set_mode(graph=False),
                lambda other=other: other.set_chunksize(5),
                other.set_mode_default,
                other.assert_executing_eagerly,
            ):
                with pytest.raises(IllegalInGraphError, match="a graph is being built"):
                    ask()
                asked.append(other)
        return x

    before = run.policy
    assert f(1.5) == 1.5
    assert len(asked) == 12
    assert run.policy is before
    for other in others:
        other.assert_executing_eagerly()


def test_a_backend_that_is_gone_is_not_asked():
    backend = CountingBackend()
    for _ in range(2):
        RunManager(backend=backend)
    assert sum(held() is backend for held in _tracing._backends) == 1
    del backend
    gc.collect()
    assert not _tracing.is_tracing()
    known = len(_tracing._backends)
    RunManager(backend=CountingBackend())
    assert len(_tracing._backends) <= known
