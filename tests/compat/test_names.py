"""Every name of both generations answers, and does what zrun does."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest
import tensorflow as tf

import zrun_compat
import zrun_tf as zrun
from zrun_compat import execution, run
from zrun_core.errors import IllegalInGraphError, PolicyError, PolicyShadowedError

pytestmark = pytest.mark.filterwarnings("ignore::zrun_compat.ZrunDeprecationWarning")

FIRST_GENERATION = [
    "DEFAULT_MODE",
    "MAX_CHUNK_SIZE",
    "aquire_cpu",
    "assert_executing_eagerly",
    "chunking",
    "chunksize",
    "clear_graph_cache",
    "current_policy_autograd",
    "current_policy_graph",
    "experimental_clear_caches",
    "experimental_enable_eager",
    "experimental_is_eager",
    "mode",
    "n_cpu",
    "numeric_checks",
    "set_cpus_explicit",
    "set_mode",
    "set_mode_default",
    "set_n_cpu",
]
SECOND_GENERATION = [
    "check_numerics",
    "executing_eagerly",
    "get_autograd_mode",
    "get_graph_mode",
    "set_autograd_mode",
    "set_graph_cache_size",
    "set_graph_mode",
]
GONE = ["experimental_disable_param_update", "hashing_data", "set_data_hashing"]


@pytest.mark.parametrize("name", [*FIRST_GENERATION, *SECOND_GENERATION])
def test_every_old_name_is_there(name):
    assert hasattr(run, name)
    assert hasattr(zrun_compat.RunManager, name)
    assert name in dir(run)


def test_the_shim_is_another_face_of_zruns_run_manager():
    assert isinstance(run, zrun.RunManager)
    assert vars(run) is vars(zrun.run)
    assert run.cache is zrun.run.cache
    assert execution.RunManager is zrun_compat.RunManager
    assert execution.eval_object is zrun.eval_object


def test_a_run_manager_of_ones_own():
    own = zrun_compat.RunManager(n_cpu="auto")
    assert own.n_cpu == zrun.run.n_cpu
    assert own.cache is not run.cache
    with own.set_mode(graph=False):
        assert zrun.run.mode["graph"] is False
    # Check that nothing keeps it alive.
    gone = weakref.ref(own)
    del own
    gc.collect()
    assert gone() is None


def test_new_names_work_as_they_are():
    with run.using(graph=False):
        assert run.builds_graph("loss") is False
    with run.acquire_cpu(1) as cpus:
        assert cpus == 1
    assert run.policy is zrun.run.policy
    traces = []

    @run.function(kind="loss")
    def loss(x):
        traces.append(x)
        return x + 1.0

    assert [float(loss(value)) for value in (1.0, 2.0)] == [2.0, 3.0]
    assert len(traces) == 1
    assert "loss" in str(zrun.run.cache_info())
    run.clear_graph_cache()


# -- reading the mode -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "graph", "autograd"),
    [({}, "auto", True), ({"graph": False}, False, True), ({"graph": {"loss": False}, "autograd": False}, None, False)],
)
def test_the_mode_can_be_asked_for_in_each_way(parts, graph, autograd):
    graph = {"loss": False} if graph is None else graph
    with zrun.run.using(**parts):
        assert run.mode == {"graph": graph, "autograd": autograd}
        assert run.current_policy_graph() == run.get_graph_mode() == graph
        assert run.current_policy_autograd() is run.get_autograd_mode() is autograd
        assert run.experimental_is_eager is (graph is False)


def test_the_mode_and_its_default_are_read_only():
    # This used to accept anything.
    with pytest.raises(TypeError):
        run.mode["graph"] = "nonsense"
    with pytest.raises(TypeError):
        run.DEFAULT_MODE["graph"] = False
    assert run.DEFAULT_MODE == {"graph": "auto", "autograd": True}
    run.set_mode(**run.DEFAULT_MODE)


@pytest.mark.parametrize(("eager", "graph"), [((True,), False), ((False,), True), ((), True)])
@pytest.mark.parametrize("on", [run, zrun_compat.RunManager], ids=["run", "class"])
def test_experimental_enable_eager(on, eager, graph):
    on.experimental_enable_eager(*eager)
    try:
        assert run.current_policy_graph() is graph
    finally:
        run.set_mode_default()


def test_executing_eagerly_tells_whether_a_graph_is_built():
    seen = []

    @zrun.function(kind="loss")
    def loss(x):
        seen.append(run.executing_eagerly())
        with pytest.raises(IllegalInGraphError):
            run.assert_executing_eagerly()
        return x

    loss(1.0)
    assert run.executing_eagerly() is True
    assert seen == [False]
    run.assert_executing_eagerly()


# -- graphs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "clear",
    [
        run.clear_graph_cache,
        lambda: run.clear_graph_cache(call_gc=False),
        lambda: run.clear_graph_cache(call_gc=True),
        lambda: run.clear_graph_cache(release_memory=True),
        run.experimental_clear_caches,
    ],
)
def test_each_way_to_clear_drops_zruns_graphs(clear):
    traces = []

    @zrun.function(kind="loss")
    def loss(x):
        traces.append(x)
        return x * 2.0

    for expected in (1, 1, 2):
        if expected == 2:
            clear()
            assert zrun.run.cache_info().total.graphs == 0
        assert float(loss(3.0)) == 6.0
        assert len(traces) == expected
    run.clear_graph_cache()


@pytest.mark.parametrize(
    ("call", "graphs", "nbytes"),
    [
        (lambda: run.set_graph_cache_size(7), 7, None),
        (lambda: run.set_graph_cache_size(size=7), 7, None),
        (run.set_graph_cache_size, 256, None),
        (lambda: run.set_graph_cache_size(None), 256, None),
        (lambda: run.set_graph_cache_size(graphs=7), 7, None),
        (lambda: run.set_graph_cache_size(graphs=None), None, None),
        (lambda: run.set_graph_cache_size(7, 2**30), 7, 2**30),
        (lambda: run.set_graph_cache_size(graphs=7, bytes=2**30), 7, 2**30),
        (lambda: run.set_graph_cache_size(None, bytes=2**30), None, 2**30),
    ],
)
def test_the_cache_size_in_the_old_and_the_new_form(call, graphs, nbytes):
    before = zrun.run.cache_info()
    call()
    try:
        after = zrun.run.cache_info()
        assert (after.max_entries, after.max_bytes) == (graphs, nbytes)
    finally:
        zrun.run.set_graph_cache_size(before.max_entries, before.max_bytes)


@pytest.mark.parametrize("size", [0, -1])
def test_a_cache_size_that_is_not_positive_is_an_error(size):
    with pytest.raises(ValueError, match=r"^graphs must be a positive whole number"):
        run.set_graph_cache_size(size)


# -- CPUs -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def pool():
    """A run manager with a pool of five, as a process with five CPUs has."""
    own = zrun_compat.RunManager()
    own._cpus().resize(5)
    return own


@pytest.mark.parametrize(
    ("arguments", "granted"),
    [((), 5), ((-1,), 5), ((-2,), 4), ((-5,), 1), ((-6,), 0), ((-9,), 0), ((0,), 0), ((3,), 3), ((9,), 5)],
)
def test_aquire_cpu_lends_a_list(pool, arguments, granted):
    with pool.aquire_cpu(*arguments) as cpus:
        assert len(cpus) == len(set(cpus)) == granted
        assert all(isinstance(cpu, str) for cpu in cpus)
        # Check that nothing is waited for: what is left is lent, even if that is nothing.
        with pool.aquire_cpu(max_cpu=4) as more:
            assert len(more) == min(4, 5 - granted)
            assert not {*cpus} & {*more}
    with pool.aquire_cpu() as cpus:
        assert len(cpus) == 5


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_aquire_cpu_gives_back_after_an_exception(pool, error):
    # This used to leave 2 of 5 for ever.
    with pytest.raises(error), pool.aquire_cpu(3):
        raise error
    with pool.aquire_cpu() as cpus:
        assert len(cpus) == 5


@pytest.mark.parametrize("wrong", [None, "all", 1.5, True])
def test_aquire_cpu_takes_whole_numbers(pool, wrong):
    with pytest.raises(TypeError, match="max_cpu must be an integer"):
        pool.aquire_cpu(wrong)


def test_aquire_cpu_lends_from_zruns_pool():
    with run.aquire_cpu() as cpus, run.aquire_cpu() as none:
        assert len(cpus) == zrun.run.n_cpu
        assert none == []
        assert "0 of" in zrun.run.cpu_report()


def test_thread_settings_reach_the_backend(pool, monkeypatch):
    # TensorFlow itself takes them before its first operation only.
    told = []
    monkeypatch.setattr(pool.backend, "set_threads", lambda intra, inter: told.append((intra, inter)))
    pool.set_n_cpu(2)
    pool.set_n_cpu(n_cpu=3, strict=True)
    assert pool.n_cpu == 3
    pool.set_cpus_explicit(intra=2, inter=1)
    pool.set_n_cpu()
    assert told == [(2, 2), (1, 3), (2, 1), (zrun.run.n_cpu, zrun.run.n_cpu)]
    assert zrun_compat.RunManager(n_cpu=2).n_cpu == zrun_compat.RunManager(2).n_cpu == 2
    assert told[4:] == [(2, 2), (2, 2)]


# -- chunks -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_chunks_after():
    yield
    zrun.run.set_chunksize(None)
    run.chunking.max_n_points = 1_000_000


@pytest.mark.usefixtures("no_chunks_after")
@pytest.mark.parametrize("order", [("active", "rows"), ("rows", "active")])
def test_chunking_is_zruns_chunksize(order):
    assert (run.chunking.active, run.chunking.max_n_points, run.chunksize) == (False, 1_000_000, sys.maxsize)
    for step in order:
        if step == "active":
            run.chunking.active = True
        else:
            run.chunking.max_n_points = 5000
            assert zrun.run.chunksize == (5000 if order[0] == "active" else None)
    assert (run.chunking.active, run.chunking.max_n_points, run.chunksize) == (True, 5000, 5000)
    assert zrun.run.chunksize == 5000
    run.chunking.active = True
    run.chunking.active = False
    assert zrun.run.chunksize is None
    # Check that the number of rows is remembered, as it was.
    assert (run.chunking.active, run.chunking.max_n_points, run.chunksize) == (False, 5000, run.MAX_CHUNK_SIZE)
    run.chunking.active = True
    assert zrun.run.chunksize == 5000


@pytest.mark.usefixtures("no_chunks_after")
def test_chunks_that_zrun_chooses():
    zrun.run.set_chunksize("auto")
    assert (run.chunking.active, run.chunking.max_n_points, run.chunksize) == (True, 1_000_000, "auto")
    run.chunking.active = True
    assert zrun.run.chunksize == "auto"
    run.chunking.active = False
    assert zrun.run.chunksize is None


def test_chunking_reads_the_block_it_is_in():
    with zrun.run.using(chunksize=10):
        assert (run.chunking.active, run.chunking.max_n_points, run.chunksize) == (True, 10, 10)
        with pytest.raises(PolicyShadowedError):
            run.chunking.active = False
        with pytest.raises(PolicyShadowedError):
            run.chunking.max_n_points = 20
    assert run.chunking.max_n_points == 1_000_000


@pytest.mark.parametrize(("rows", "error"), [(0, PolicyError), (-1, PolicyError), (1e5, TypeError), (None, TypeError)])
@pytest.mark.parametrize("active", [False, True])
@pytest.mark.usefixtures("no_chunks_after")
def test_a_wrong_number_of_rows_changes_nothing(rows, error, active):
    run.chunking.active = active
    with pytest.raises(error, match="max_n_points"):
        run.chunking.max_n_points = rows
    assert (run.chunking.active, run.chunking.max_n_points) == (active, 1_000_000)


def test_an_array_index_is_a_number_of_rows():
    run.chunking.max_n_points = np.int64(7)
    assert run.chunking.max_n_points == 7
    run.chunking.max_n_points = 1_000_000


def test_a_misspelt_option_is_an_error():
    # This used to be accepted, and to do nothing.
    with pytest.raises(AttributeError):
        run.chunking.max_points = 5
    assert not hasattr(run.chunking, "max_points")


# -- checks of numbers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["numeric_checks", "check_numerics"])
def test_numeric_checks_are_part_of_the_policy(name):
    assert getattr(run, name) is False
    with zrun.run.using(check_numerics=True):
        assert getattr(run, name) is True
        with pytest.raises(PolicyShadowedError, match=name):
            setattr(run, name, False)
    with pytest.raises(PolicyError, match="check_numerics must be True or False"):
        setattr(run, name, "yes")
    setattr(run, name, True)
    try:
        assert zrun.run.policy.check_numerics is True

        @zrun.function(kind="loss")
        def loss(x):
            return tf.math.log(x)

        with pytest.raises(tf.errors.InvalidArgumentError, match="NaN"):
            loss(tf.constant(-1.0))
    finally:
        setattr(run, name, False)
        run.clear_graph_cache()
    assert zrun.run.policy.check_numerics is False


# -- evaluation -------------------------------------------------------------------------------------------------------


def test_calling_the_run_manager_evaluates():
    one, two = tf.constant(1.0), tf.Variable([2.0, 3.0])
    assert run(one) == 1.0
    assert isinstance(run(one), np.float32)
    values = run({"one": one, "more": [two, "text"]})
    assert values["one"] == 1.0
    assert values["more"][1] == "text"
    np.testing.assert_array_equal(values["more"][0], [2.0, 3.0])
    first, second = run(one, two)
    assert first == 1.0
    np.testing.assert_array_equal(second, [2.0, 3.0])
    assert execution.eval_object(one) == 1.0
    assert execution.eval_object("text") == "text"
    with pytest.raises(TypeError):
        run(one, dtype=np.float32)


# -- gone for good ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GONE)
def test_what_is_gone_says_what_became_of_it(name):
    with pytest.raises(zrun_compat.RemovedNameError, match=f"^run.{name} is gone for good. .* on the page '"):
        getattr(run, name)
    with pytest.raises(AttributeError):
        getattr(run, name)
    assert not hasattr(run, name)
    assert name not in dir(run)


@pytest.mark.parametrize("name", ["set_graph_mod", "sess", "_nothing"])
def test_what_never_was_is_an_ordinary_attribute_error(name):
    with pytest.raises(AttributeError, match=f"^'RunManager' object has no attribute '{name}'") as caught:
        getattr(run, name)
    assert type(caught.value) is AttributeError
    assert not hasattr(run, name)


def test_the_package_has_no_other_names():
    with pytest.raises(AttributeError, match="module 'zrun_compat' has no attribute 'rum'"):
        _ = zrun_compat.rum
    assert not hasattr(zrun_compat, "function")
    assert {*zrun_compat.__all__} <= {*dir(zrun_compat)}


LAZY = """
import sys
import zrun_compat
assert {"numpy", "tensorflow", "deprecation", "typing_extensions", "zrun_tf", "zrun_core"}.isdisjoint(sys.modules)
assert zrun_compat.__version__ == "%s"
assert "zrun_tf" not in sys.modules
"""


def test_the_package_costs_nothing_until_it_is_used():
    code = LAZY % zrun_compat.__version__
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr


def test_threads_may_use_the_shim_at_the_same_time(pool):
    wrong = []

    def work():
        for _ in range(20):
            with pool.aquire_cpu(1) as cpus, run.set_autograd_mode(False):
                if len(cpus) != 1 or run.get_autograd_mode():
                    wrong.append(cpus)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
