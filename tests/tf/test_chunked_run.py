"""How chunks are run: threads and leases, exceptions, Ctrl-C, progress, the block size."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf

import zrun_tf as zrun
from zrun_core import listen
from zrun_core.testing import policy_unchanged
from zrun_tf import _chunked_crew as crew
from zrun_tf import _chunked_progress as progress
from zrun_tf._chunked_plan import plan_of
from zrun_tf._chunked_sums import Total
from zrun_tf._chunked_tuner import COMPILED, INTERPRETED, Sharing, Tuner

RUN = zrun.run
X = np.random.default_rng(5).normal(size=2000)


def square(x):
    return x**2


def quiet():
    return progress.Progress("test", None, None, False)


def chunks_of(n):
    return ([np.full(1, i)] for i in range(n))


# -- the crew --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_are_used_in_order_whatever_finishes_first(workers):
    used = []

    def work(chunk):
        time.sleep(0.002 * (chunk[0][0] % 3))
        return int(chunk[0][0])

    crew.in_order("test", chunks_of(40), work, used.append, workers, quiet())
    assert used == list(range(40))


def test_chunks_are_read_ahead_but_not_all_of_them():
    read, gate, seen = [], threading.Event(), []

    def chunks():
        for chunk in chunks_of(50):
            read.append(1)
            yield chunk

    def work(chunk):
        gate.wait(10)
        return

    def watch():
        while len(read) < 4:
            time.sleep(0.01)
        time.sleep(0.2)
        seen.append(len(read))
        gate.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    crew.in_order("test", chunks(), work, lambda _: None, 2, quiet())
    watcher.join()
    # Two under work, two waiting, one in hand.
    assert 4 <= seen[0] <= 5
    assert len(read) == 50


def test_an_exception_of_the_work_stops_the_others_and_passes_through():
    began = []

    def work(chunk):
        began.append(int(chunk[0][0]))
        if chunk[0][0] == 3:
            raise ValueError("mine")

    with pytest.raises(ValueError, match=r"^mine$"):
        crew.in_order("test", chunks_of(1000), work, lambda _: None, 2, quiet())
    assert len(began) < 20


@pytest.mark.parametrize("graph", [True, False])
def test_a_generator_that_raises(graph):
    def batches():
        yield X[:500]
        raise RuntimeError("disk gone")

    with RUN.using(graph=graph), policy_unchanged(), pytest.raises(RuntimeError, match="disk gone"):
        zrun.chunked_sum(square, batches, chunksize=100)
    assert RUN._cpus().available == RUN.n_cpu
    assert float(zrun.chunked_sum(square, X, chunksize=100)) == pytest.approx(np.sum(X**2))


@pytest.mark.parametrize("graph", [True, False])
def test_a_function_that_raises(graph):
    def values(x):
        raise KeyError("mine")

    with RUN.using(graph=graph), pytest.raises(KeyError, match="mine"):
        zrun.chunked_sum(values, X, chunksize=100)
    assert RUN._cpus().available == RUN.n_cpu


def test_an_error_while_a_graph_runs():
    def values(x):
        tf.debugging.assert_less(x, tf.constant(5.0, tf.float64), message="too large")
        return x

    data = X.copy()
    data[1500] = 10.0
    with pytest.raises(tf.errors.InvalidArgumentError, match="too large"):
        zrun.chunked_sum(values, data, chunksize=100)
    assert RUN._cpus().available == RUN.n_cpu


def test_a_chunked_sum_inside_another_does_not_wait_for_itself():
    inner = np.arange(3.0)

    def values(x):
        return x * zrun.chunked_sum(square, inner, chunksize=2)

    for graph in (True, False):
        with RUN.using(graph=graph):
            assert float(zrun.chunked_sum(values, X, chunksize=100)) == pytest.approx(5 * np.sum(X))


def test_many_threads_at_once_never_lease_more_than_there_are():
    most = []

    def watch(event):
        most.append(RUN.n_cpu - RUN._cpus().available)

    def total(k):
        with RUN.using(jit=bool(k % 2)):
            found = float(zrun.chunked_sum(square, X + k, chunksize=10))
        watch(None)
        return found

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(total, range(40)))
    np.testing.assert_allclose(found, [np.sum((X + k) ** 2) for k in range(40)], rtol=1e-12)
    assert max(most) <= RUN.n_cpu
    assert RUN._cpus().available == RUN.n_cpu


def test_no_free_cpu_is_no_reason_to_wait():
    with RUN.acquire_cpu():
        assert RUN._cpus().available == 0
        assert float(zrun.chunked_sum(square, X, chunksize=100)) == pytest.approx(np.sum(X**2))


def test_the_policy_of_the_caller_reaches_the_threads():
    seen = []

    def values(x):
        seen.append((RUN.policy.graph, RUN.policy.autograd, threading.current_thread().name))
        return x

    with RUN.using(graph=False, autograd=False):
        zrun.chunked_sum(values, X, chunksize=1000)
    assert [part[:2] for part in seen] == [(False, False)] * 2


def test_eager_work_leaves_nothing_on_an_outer_tape():
    alive = []

    class Watched(np.ndarray):
        pass

    mu = tf.Variable(1.0, dtype=tf.float64)

    def values(x):
        alive.append(mu * x)
        return alive.pop()

    with RUN.using(graph=False), tf.GradientTape() as tape:
        total = zrun.chunked_sum(values, X, chunksize=100)
    # The tape knows one operation, with the variable as its input.
    assert float(tape.gradient(total, mu)) == pytest.approx(np.sum(X))


# -- Ctrl-C ----------------------------------------------------------------------------------------------------------

INTERRUPTED = """
import os, signal, threading, time
import numpy as np
import zrun_tf as zrun

data = np.ones(10_000)
done = []

def batches():
    for i in range(1000):
        if i == 300:
            os.kill(os.getpid(), signal.SIGINT)
        yield data

zrun.run.set_n_cpu(2)
before = zrun.run.policy
try:
    zrun.chunked_sum(lambda x: x, batches, chunksize=10_000)
except KeyboardInterrupt as stop:
    print(stop)
assert zrun.run.policy is before
assert zrun.run._cpus().available == 2
assert float(zrun.chunked_sum(lambda x: x, data)) == 10_000
print("went on")
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGINT is sent to the process itself")
def test_ctrl_c_stops_between_chunks_and_says_how_far_it_was():
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    first, last = done.stdout.splitlines()[-2:]
    assert first.startswith("chunked_sum of <lambda> was stopped after ")
    rows = int(re.search(r"after \d+ chunks \((\d+) rows\); nothing was changed\.$", first)[1])
    assert 1_000_000 < rows <= 3_010_000
    assert last == "went on"


def test_an_interrupt_waits_for_the_chunks_under_work():
    begun, ended = threading.Barrier(3, timeout=30), []

    def work(chunk):
        begun.wait()
        time.sleep(0.3)
        ended.append(1)

    def chunks():
        yield from chunks_of(2)
        begun.wait()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"test was stopped after 2 chunks \(2 rows\)"):
        crew.in_order("test", chunks(), work, lambda _: None, 2, quiet())
    assert len(ended) == 2
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# -- progress --------------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "shown", "delay", "expected"),
    [
        (Terminal, None, 0.0, True),
        (Terminal, False, 0.0, False),
        (Terminal, None, 100.0, False),
        (io.StringIO, None, 0.0, False),
        (io.StringIO, True, 0.0, True),
    ],
)
def test_a_bar_appears_on_a_terminal_after_a_while(monkeypatch, stream, shown, delay, expected):
    text = stream()
    monkeypatch.setattr(sys, "stderr", text)
    monkeypatch.setattr(progress, "DELAY", delay)
    total = zrun.chunked_sum(square, lambda: iter(np.array_split(X, 9)), chunksize=100, progress=shown)
    assert float(total) == pytest.approx(np.sum(X**2))
    assert ("square" in text.getvalue() and "rows" in text.getvalue()) is expected


def test_a_bar_appears_while_the_first_chunks_are_under_work(monkeypatch):
    bar, shown, enough = progress.Progress("test", None, None, False), [], threading.Event()
    monkeypatch.setattr(progress.Progress, "interval", 0.01)

    def show():
        shown.append(1)
        # More often than there is room for chunks to be read ahead.
        if len(shown) > 8:
            enough.set()

    monkeypatch.setattr(bar, "show", show)
    found = []
    crew.in_order("test", [[range(1)]] * 5, lambda _: enough.wait(60), found.append, 1, bar)
    assert found == [True] * 5


def test_without_tqdm_there_is_no_bar(monkeypatch):
    text = Terminal()
    monkeypatch.setattr(sys, "stderr", text)
    monkeypatch.setattr(progress, "DELAY", 0.0)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    zrun.chunked_sum(square, lambda: iter(np.array_split(X, 9)), chunksize=100)
    assert text.getvalue() == ""


# -- how rows are cut ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("workers", [1, 2, 7])
def test_pieces_are_a_few_calls_for_each_worker(jit, workers):
    for n_rows in (1, 100, 4096, 10_000, 1_000_000, 5_000_000, 10**7, 10**9, None):
        plan = plan_of(n_rows, 8, "auto", workers=workers, graph=True, jit=jit, sums=True)
        assert plan.block is None
        assert 1 <= plan.size <= 1_048_576
        if plan.size > 262_144:
            assert n_rows >= 4 * workers * plan.size
        if n_rows is not None and n_rows > 4096 * workers * 2:
            assert plan.size * workers < n_rows * 1.1
    assert plan_of(10**9, 8, 1000, workers=workers, graph=True, jit=jit, sums=True).block == 1000
    assert plan_of(10**9, 8, 10**6, workers=workers, graph=True, jit=True, sums=True).block <= COMPILED[2]
    assert plan_of(10**9, 8, 10**6, workers=workers, graph=True, jit=False, sums=True).block == 10**6


def test_wide_rows_are_handed_over_in_smaller_pieces():
    plan = plan_of(10**7, 80_000, "auto", workers=2, graph=True, jit=False, sums=True)
    assert plan.size * 80_000 < 200 * 2**20


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("best", [1024, 4096, 8192, 32_768, 131_072])
def test_the_block_size_lands_within_20_percent_of_the_best(compiled, best):
    tuner = Tuner(compiled)
    start, least, most = COMPILED if compiled else INTERPRETED

    def seconds(block):
        return 1e-8 * (1 + 0.3 * abs(np.log2(block / best))) * 10**6

    for _ in range(500):
        if compiled and not tuner.settled:
            tuner.built(0.05)
        block = tuner.choose()
        assert least <= block <= most
        tuner.record(block, 10**6, seconds(block))
    allowed = [start * 2**k for k in range(-10, 11) if least <= start * 2**k <= most]
    assert tuner.settled
    assert seconds(tuner.best) <= 1.2 * min(map(seconds, allowed))


def test_compiling_to_try_a_size_waits_until_it_is_a_small_part_of_the_work():
    tuner = Tuner(compiled=True)
    tuner.built(10.0)
    for _ in range(40):
        assert tuner.choose() == COMPILED[0]
        tuner.record(COMPILED[0], 10**6, 1.0)
    while (block := tuner.choose()) == COMPILED[0]:
        tuner.record(block, 10**6, 1.0)
    assert tuner._spent >= 50.0


def test_totals_are_compensated():
    total = Total()
    for value in [1e16, 1.0, -1e16, 1.0] * 100:
        total.add([np.array(value), np.array(1, np.int64), np.array(value * 1j)])
    found = total.result()
    assert [float(found[0]), int(found[1]), complex(found[2])] == [200.0, 400, 200j]


def test_chunked_map_keeps_the_order_and_has_derivatives():
    scale = tf.Variable(2.0, dtype=tf.float64)
    for policy in ({"graph": False}, {"graph": True}, {"graph": True, "jit": True}):
        with RUN.using(**policy), tf.GradientTape() as tape:
            found = zrun.chunked_map(lambda x: (scale * x, x > 0), X, chunksize=300)
            weighted = tf.reduce_sum(found[0] * X)
        np.testing.assert_allclose(found[0], 2 * X)
        assert np.array_equal(found[1], X > 0)
        assert float(tape.gradient(weighted, scale)) == pytest.approx(np.sum(X**2), rel=1e-12)
        with RUN.using(**policy):
            assert zrun.chunked_map(square, X[:0], chunksize=3).shape == (0,)
            batches = iter(np.array_split(X, 7))
            np.testing.assert_allclose(zrun.chunked_map(square, batches, chunksize=300), X**2, rtol=1e-15)


@pytest.mark.parametrize("jit", [True, False])
def test_chunked_map_inside_a_graph(jit):
    @tf.function(jit_compile=jit)
    def gradient(x, s):
        return zrun.value_and_gradient(
            lambda s: tf.reduce_sum(zrun.chunked_map(lambda x, s: tf.exp(s * x), x, s, chunksize=300) ** 2), s
        )

    value, slope = gradient(tf.constant(X), tf.constant(0.5, tf.float64))
    assert float(value) == pytest.approx(np.sum(np.exp(X)), rel=1e-12)
    assert float(slope) == pytest.approx(np.sum(2 * X * np.exp(X)), rel=1e-12)


# -- whether threads share the work ----------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("gain", [0.5, 0.99, 2.0])
def test_threads_share_the_work_where_that_turned_out_to_be_faster(first, gain):
    sharing, seen = Sharing(first), []
    for _ in range(200):
        shared = sharing.choose()
        seen.append(shared)
        sharing.record(shared, 1.0 if shared is first else gain)
    assert sharing.choose() is (first if gain > 0.9 else not first)
    assert seen[:8] == [first] * 8
    assert seen.count(not first) >= (8 if gain > 0.9 else 100)


def test_the_other_way_waits_until_it_costs_little():
    sharing = Sharing(False)
    sharing.record(False, 10.0)
    passes = 0
    while not sharing.choose():
        sharing.record(False, 1.0)
        passes += 1
    assert passes >= 50


@pytest.mark.parametrize("jit", [True, False])
def test_both_ways_give_the_same(monkeypatch, jit):
    data = np.random.default_rng(8).exponential(size=5000)
    found = []
    for shared in (True, False):
        monkeypatch.setattr(Sharing, "choose", lambda _, shared=shared: shared)
        loss = zrun.objective(lambda s, x: tf.reduce_sum(x / s + tf.math.log(s)), {"s": 1.0}, x=data, chunksize="auto")
        with RUN.using(jit=jit):
            found += [(loss.value([s]), *loss.gradient([s])) for s in (1.1, 1.2, 1.3, 1.1)]
    np.testing.assert_allclose(found[:4], found[4:], rtol=1e-12)


@pytest.mark.parametrize("n_threads", [0, 1, 3])
def test_the_calling_thread_works_too_where_there_is_nothing_to_read(n_threads):
    used, seen = [], set()

    def work(chunk):
        seen.add(threading.get_ident())
        time.sleep(0.001)
        return int(chunk[0][0])

    crew.in_order("test", chunks_of(40), work, used.append, n_threads + 1, quiet(), helps=True)
    assert used == list(range(40))
    assert threading.get_ident() in seen
    assert len(seen) <= n_threads + 1


@pytest.mark.parametrize("at", [0, 3])
def test_an_exception_stops_all_who_work(at):
    began = []

    def work(chunk):
        began.append(int(chunk[0][0]))
        time.sleep(0.001)
        if chunk[0][0] == at:
            raise ValueError("mine")

    with pytest.raises(ValueError, match=r"^mine$"):
        crew.in_order("test", chunks_of(1000), work, lambda _: None, 3, quiet(), helps=True)
    assert len(began) < 20


def test_a_source_that_fails_is_not_taken_for_its_end():
    def chunks():
        yield from chunks_of(5)
        raise RuntimeError("gone")

    for _ in range(20):
        with pytest.raises(RuntimeError, match="gone"):
            crew.in_order("test", chunks(), lambda _: time.sleep(0.001), lambda _: None, 3, quiet(), helps=True)


def test_an_interrupt_of_the_calling_thread_waits_for_the_others():
    ended = []
    main = threading.get_ident()

    def work(chunk):
        if threading.get_ident() == main and chunk[0][0] > 2:
            raise KeyboardInterrupt
        time.sleep(0.05)
        ended.append(1)

    with pytest.raises(KeyboardInterrupt, match=r"^test was stopped after \d+ chunks \(\d+ rows\); nothing was"):
        crew.in_order("test", chunks_of(1000), work, lambda _: None, 3, quiet(), helps=True)
    before = len(ended)
    time.sleep(0.2)
    assert 2 < len(ended) == before < 20


# -- events ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "chunksize", "text", "count"),
    [
        (2000, 100, "20 chunks of 100 rows", 20),
        (2000, "auto", "1 chunk of 2000 rows", 1),
        (10, 3, "4 chunks of 3 rows", 4),
    ],
)
def test_a_pass_tells_its_chunks_to_whoever_listens(n, chunksize, text, count):
    heard = []
    with listen(heard.append, "chunks"):
        zrun.chunked_sum(square, X[:n], chunksize=chunksize)
    assert [(e.function, e.kind, e.reason, e.count) for e in heard] == [("square", "loss", text, count)]
    with listen(heard.append, "chunks"):
        zrun.objective(lambda a, x: tf.reduce_sum(a * x), {"a": 1.0}, x=X, chunksize=500).value([2.0])
    assert heard[-1].function.endswith("<lambda>")
    assert heard[-1].count == 4
