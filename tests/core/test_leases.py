"""Leases of CPUs between the threads of one process."""

from __future__ import annotations

import contextlib
import copy
import gc
import json
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
from functools import partial

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from zrun_core import _lease_queue, _leases, _locks
from zrun_core._leases import CpuPool, Lease
from zrun_core.errors import CpuError, CpuLeaseTimeoutError, ZrunError

from .stepping import at_every_step, elsewhere, happens_at, interrupted_at

LONG = 60


@contextlib.contextmanager
def running(*targets):
    """Threads that run the targets; joined at the end, where an error in one of them is raised again."""
    errors = []

    def run(target):
        try:
            target()
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            errors.append(error)

    threads = [threading.Thread(target=run, args=(target,), name=target.__name__) for target in targets]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join(LONG)
        assert not thread.is_alive(), f"{thread.name} hangs"
    if errors:
        raise errors[0]


def wait_until(condition):
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.001)


def n_waiting(pool):
    return sum(not request.numbers for request in pool._queue.requests)


# -- what is granted ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_cpu", "max_cpu", "granted"),
    [
        (5, -1, 5),
        (5, -2, 4),
        (5, -5, 1),
        (5, -6, 1),
        (5, -100, 1),
        (5, 1, 1),
        (5, 3, 3),
        (5, 5, 5),
        (5, 6, 5),
        (1, -1, 1),
        (1, -2, 1),
        (1, 7, 1),
    ],
)
def test_a_lease_has_as_many_cpus_as_asked_for_and_at_least_one(n_cpu, max_cpu, granted):
    pool = CpuPool(n_cpu)
    with pool.acquire(max_cpu) as cpus:
        assert cpus == granted
        assert len(cpus.numbers) == granted
        assert pool.available == n_cpu - granted
    assert pool.available == pool.n_cpu == n_cpu


def test_negative_numbers_count_from_the_end_of_the_pool_not_of_what_is_free():
    pool = CpuPool(8)
    with pool.acquire(3), pool.acquire(-5) as cpus:
        assert cpus == 4
    with pool.acquire(6), pool.acquire(-5) as cpus:
        assert cpus == 2


def test_leases_share_no_number():
    pool = CpuPool(4)
    with pool.acquire(1) as a, pool.acquire(2) as b, pool.acquire() as c:
        assert (a.numbers, b.numbers, c.numbers) == ((0,), (1, 2), (3,))
        assert pool.available == 0


def test_a_number_that_was_given_back_is_the_first_to_be_used_again():
    pool = CpuPool(3)
    with pool.acquire(1) as first, pool.acquire(1) as second:
        first.release()
        with pool.acquire() as third:
            assert third.numbers == (0, 2)
        assert second.numbers == (1,)


def test_a_lease_is_an_int_that_leaves_its_pool_as_a_plain_int():
    with CpuPool(2).acquire() as cpus:
        assert isinstance(cpus, int)
        assert [*range(cpus)] == [0, 1]
        assert (str(cpus), f"{cpus}", f"{cpus:03d}", json.dumps(cpus)) == ("2", "2", "002", "2")
        assert repr(cpus) == "Lease(2, numbers=(0, 1), shared=False, released=False)"
        for other in (copy.copy(cpus), copy.deepcopy(cpus), pickle.loads(pickle.dumps(cpus))):
            assert (type(other), other) == (int, 2)


def test_a_pool_says_what_it_has():
    pool = CpuPool(4)
    assert repr(pool) == "CpuPool(4, available=4)"
    assert pool.explain() == "4 of 4 CPUs are free in this process."
    with pool.acquire(3):
        assert repr(pool) == "CpuPool(4, available=1)"
        me = threading.current_thread().name
        assert pool.explain() == f"1 of 4 CPUs is free in this process; leased: 3 by thread {me!r} (this one)."


# -- how a lease ends -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_exception_gives_the_cpus_back_and_passes_through(error):
    pool = CpuPool(5)
    raised = error("from the block")
    with pytest.raises(error) as caught, pool.acquire(3):
        raise raised
    assert caught.value is raised
    assert pool.available == 5


def test_leaving_by_return_or_by_closing_a_generator_gives_the_cpus_back():
    pool = CpuPool(2)

    def returns():
        with pool.acquire() as cpus:
            return int(cpus)

    def generates():
        with pool.acquire() as cpus:
            yield int(cpus)

    assert returns() == pool.available == 2
    generator = generates()
    assert next(generator) == 2
    assert pool.available == 0
    generator.close()
    assert pool.available == 2


def test_a_lease_can_end_early_and_twice_and_from_another_thread():
    pool = CpuPool(4)
    with pool.acquire(3) as cpus:
        assert not cpus.released
        with running(cpus.release):
            pass
        assert cpus.released
        with pool.acquire() as others:
            assert others == 4
            cpus.release()
            assert pool.available == 0
            assert not others.released
    assert pool.available == 4


def test_leaving_twice_gives_back_once():
    pool = CpuPool(4)
    acquisition = pool.acquire(2)
    acquisition.__enter__()
    with pool.acquire(2):
        acquisition.__exit__(None, None, None)
        acquisition.__exit__(None, None, None)
        assert pool.available == 2
    assert pool.available == 4


def test_one_object_can_be_entered_again_after_it_was_left():
    pool = CpuPool(2)
    acquisition = pool.acquire(1)
    for _ in range(3):
        with acquisition as cpus:
            assert (cpus, pool.available) == (1, 1)
        assert pool.available == 2


def test_one_object_cannot_be_entered_while_it_is():
    pool = CpuPool(3)
    acquisition = pool.acquire(1)
    with acquisition as cpus:
        with pytest.raises(CpuError, match=r"entered already.*Call acquire\(\) once per lease"), acquisition:
            pass
        assert not cpus.released
        assert pool.available == 2
    assert pool.available == 3


def test_nothing_is_leased_before_the_block_is_entered():
    pool = CpuPool(2)
    acquisition = pool.acquire()
    assert pool.available == 2
    with acquisition:
        assert pool.available == 0


def test_a_context_manager_that_is_dropped_gives_the_cpus_back():
    pool = CpuPool(2)
    acquisition = pool.acquire()
    lease = acquisition.__enter__()
    assert pool.available == 0
    del acquisition
    gc.collect()
    assert pool.available == 2
    assert lease.released


def test_cpus_of_a_dropped_context_manager_reach_a_thread_that_waits(monkeypatch):
    monkeypatch.setattr(_lease_queue, "_LOOK_AGAIN", 0.01)
    pool = CpuPool(1)
    acquisition = pool.acquire()
    acquisition.__enter__()
    got = []

    def waiter():
        with pool.acquire() as cpus:
            got.append(int(cpus))

    with running(waiter):
        wait_until(lambda: n_waiting(pool) == 1)
        del acquisition
        gc.collect()
    assert got == [1]


# -- bad arguments --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"max_cpu": 0}, CpuError, r"^max_cpu must not be 0\. Give how many CPUs at most"),
        ({"max_cpu": 1.5}, TypeError, r"^max_cpu must be an integer; got 1\.5 of type float\. Give how many"),
        ({"max_cpu": "2"}, TypeError, r"^max_cpu must be an integer; got '2' of type str"),
        ({"max_cpu": None}, TypeError, r"^max_cpu must be an integer; got None"),
        ({"max_cpu": True}, TypeError, r"^max_cpu must be an integer; got True of type bool"),
        ({"timeout": -1}, CpuError, r"^timeout must be at least 0 seconds; got -1\.0\. Use None to wait for ever"),
        ({"timeout": float("nan")}, CpuError, r"^timeout must be at least 0 seconds; got nan\. Use None"),
        ({"timeout": "1"}, TypeError, r"^timeout must be a number of seconds or None; got '1' of type str\. Use None"),
        ({"timeout": b"1"}, TypeError, r"^timeout must be a number of seconds"),
        ({"timeout": True}, TypeError, r"^timeout must be a number of seconds or None; got True of type bool"),
        ({"timeout": 1j}, TypeError, r"^timeout must be a number of seconds"),
        ({"shared": 1}, TypeError, r"^shared must be True or False; got 1 of type int"),
    ],
)
def test_a_bad_argument_of_acquire_is_refused_before_anything_happens(arguments, error, message):
    pool = CpuPool(2)
    with pytest.raises(error, match=message):
        pool.acquire(**arguments)
    assert pool.available == 2


@pytest.mark.parametrize(
    ("n_cpu", "error", "message"),
    [
        (0, CpuError, r"^n_cpu must be an integer of at least 1; got 0\. Give the number of CPUs"),
        (-2, CpuError, r"at least 1; got -2"),
        (10**9, CpuError, r"^n_cpu must be an integer of at most 65536; got 1000000000\. Give the number"),
        (2.0, TypeError, r"^n_cpu must be an integer; got 2\.0 of type float"),
        ("auto", TypeError, r"got 'auto' of type str.*count_cpus\(\)"),
        (True, TypeError, r"got True of type bool"),
    ],
)
def test_a_bad_size_is_refused_and_changes_nothing(n_cpu, error, message):
    with pytest.raises(error, match=message):
        CpuPool(n_cpu)
    pool = CpuPool(3)
    with pool.acquire(1):
        with pytest.raises(error, match=message):
            pool.resize(n_cpu)
        assert (pool.n_cpu, pool.available) == (3, 2)


def test_a_lease_timeout_is_a_timeout_error_too():
    assert issubclass(CpuLeaseTimeoutError, (ZrunError, TimeoutError))


# -- waiting --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [0, 0.0, 1e-9, 0.01])
def test_when_no_cpu_becomes_free_in_time_the_error_says_who_holds_them(timeout):
    pool = CpuPool(3)
    leave = threading.Event()
    entered = threading.Event()

    def holder():
        with pool.acquire(2):
            entered.set()
            leave.wait(LONG)

    with running(holder):
        entered.wait(LONG)
        with pool.acquire(1):
            me = threading.current_thread().name
            expected = (
                f"acquire: no CPU became free within {timeout:g} s. 0 of 3 CPUs are free in this process; leased: "
                f"2 by thread 'holder', 1 by thread {me!r} (this one). "
                "Give a longer timeout, or end another lease first."
            )
            with pytest.raises(CpuLeaseTimeoutError) as caught, pool.acquire(timeout=timeout):
                pass
            assert str(caught.value) == expected
        leave.set()
    assert pool.available == 3
    assert not pool._queue.requests


@pytest.mark.parametrize("timeout", [None, float("inf"), 1e300, LONG])
def test_a_waiting_thread_gets_what_another_gives_back(timeout):
    pool = CpuPool(2)
    got = []

    def waiter():
        with pool.acquire(timeout=timeout) as cpus:
            got.append(int(cpus))

    with pool.acquire() as cpus, running(waiter):
        wait_until(lambda: n_waiting(pool) == 1)
        assert not got
        cpus.release()
    assert got == [2]


def test_threads_get_their_turn_in_order_of_arrival():
    pool = CpuPool(1)
    turns = []

    def take_turn(name):
        def waiter():
            with pool.acquire():
                turns.append(name)

        return waiter

    with contextlib.ExitStack() as stack:
        outer = stack.enter_context(pool.acquire())
        for name in range(8):
            stack.enter_context(running(take_turn(name)))
            wait_until(lambda name=name: n_waiting(pool) == name + 1)
        outer.release()
    assert turns == list(range(8))


def test_a_newcomer_does_not_overtake_a_thread_that_waits():
    # Check that a thread that gives CPUs back and takes new ones at once, for ever, cannot starve the others.
    pool = CpuPool(1)
    served = threading.Event()

    def waiter():
        with pool.acquire():
            served.set()

    first = pool.acquire()
    first.__enter__()
    with running(waiter):
        wait_until(lambda: n_waiting(pool) == 1)
        first.__exit__(None, None, None)
        with pool.acquire(timeout=LONG):
            assert served.is_set()


def test_a_thread_that_gave_up_does_not_hold_up_the_next():
    pool = CpuPool(1)
    got = []

    def impatient():
        with pytest.raises(CpuLeaseTimeoutError), pool.acquire(timeout=0.05):
            pass

    def patient():
        with pool.acquire(timeout=LONG):
            got.append(True)

    with pool.acquire() as cpus, running(impatient):
        wait_until(lambda: n_waiting(pool) == 1)
        with running(patient):
            wait_until(lambda: n_waiting(pool) == 1 and pool._queue.requests)
            wait_until(lambda: len([r for r in pool._queue.requests if r.thread_name == "impatient"]) == 0)
            cpus.release()
    assert got == [True]


# -- leases within leases -------------------------------------------------------------------------------------------


def test_a_thread_that_would_wait_for_itself_is_told_so():
    pool = CpuPool(2)
    me = threading.current_thread().name
    message = rf"waiting would never end.*2 by thread '{me}' \(this one\)\. Use the CPUs of the outer lease"
    with pool.acquire():
        with pytest.raises(CpuError, match=message), pool.acquire():
            pass
        assert not n_waiting(pool)
    assert pool.available == 2


def test_a_lease_within_a_lease_takes_what_is_left():
    pool = CpuPool(3)
    with pool.acquire(2), pool.acquire() as inner:
        assert inner == 1
    assert pool.available == 3


def test_threads_that_would_wait_for_each_other_are_told_so():
    pool = CpuPool(2)
    both = threading.Barrier(2)
    outcomes = []

    def nested():
        with pool.acquire(1):
            both.wait(LONG)
            try:
                with pool.acquire(1):
                    outcomes.append("granted")
            except CpuError:
                outcomes.append("refused")

    with running(nested, nested):
        pass
    # The one that closes the circle is refused; leaving its outer block serves the other.
    assert sorted(outcomes) == ["granted", "refused"]
    assert pool.available == 2


def test_a_refused_thread_is_not_counted_among_those_that_wait():
    # Check that it is out of the queue as soon as it is refused: a third thread may come just then.
    queue = _lease_queue.LeaseQueue(1)
    owner = contextlib.nullcontext()
    first, second = (_lease_queue.Request(1, float("inf"), None, owner) for _ in range(2))
    queue.wait(first)
    with pytest.raises(CpuError, match="waiting would never end"):
        queue.wait(second)
    assert list(queue.requests) == [first]


def test_waiting_for_a_thread_that_may_give_up_is_no_deadlock():
    pool = CpuPool(2)
    outcomes = []

    def gives_up():
        with pool.acquire(1):
            wait_until(lambda: pool.available == 0)
            try:
                with pool.acquire(1, timeout=0.2):
                    outcomes.append("granted")
            except CpuLeaseTimeoutError:
                outcomes.append("timeout")

    with running(gives_up), pool.acquire(1):
        wait_until(lambda: n_waiting(pool) == 1)
        with pool.acquire(1):
            outcomes.append("granted")
    assert outcomes == ["timeout", "granted"]


def test_a_thread_with_the_number_of_a_dead_one_is_another_thread():
    # Check that a lease left behind by a thread that ended is not taken for one of the thread that got its number.
    pool = CpuPool(1)
    kept = []

    def takes():
        acquisition = pool.acquire()
        acquisition.__enter__()
        kept.append(acquisition)

    def waits():
        with pool.acquire(timeout=LONG):
            pass

    with running(takes):
        pass
    with running(waits):
        wait_until(lambda: n_waiting(pool) == 1)
        kept.pop().__exit__(None, None, None)


# -- changing the size ----------------------------------------------------------------------------------------------


def test_growing_serves_those_who_wait():
    pool = CpuPool(1)
    got = []

    def waiter():
        with pool.acquire() as cpus:
            got.append(cpus.numbers)

    with pool.acquire():
        with running(waiter):
            wait_until(lambda: n_waiting(pool) == 1)
            pool.resize(4)
        assert got == [(1, 2, 3)]
    assert pool.available == pool.n_cpu == 4


def test_after_shrinking_nothing_is_granted_until_few_enough_are_out():
    pool = CpuPool(4)
    with pool.acquire(1) as low, pool.acquire(3) as high:
        pool.resize(2)
        assert (pool.n_cpu, pool.available) == (2, 0)
        low.release()
        assert pool.available == 0
        with pytest.raises(CpuLeaseTimeoutError), pool.acquire(timeout=0):
            pass
        assert high == 3
        high.release()
        assert pool.available == 2
        with pool.acquire() as cpus:
            assert cpus.numbers == (0, 1)


def test_after_shrinking_a_lease_has_no_more_than_what_is_free():
    # Check with a CPU out that the pool no longer has: its number must not be made up for by a lower one.
    pool = CpuPool(4)
    with pool.acquire(3) as low, pool.acquire(1) as high:
        pool.resize(2)
        low.release()
        assert (high.numbers, pool.available) == ((3,), 1)
        with pool.acquire() as cpus:
            assert (cpus.numbers, pool.available) == ((0,), 0)


def test_a_negative_number_counts_in_the_pool_as_it_is_when_the_cpus_are_granted():
    pool = CpuPool(2)
    acquisition = pool.acquire(-2)
    pool.resize(6)
    with acquisition as cpus:
        assert cpus == 5


class PoolMachine(RuleBasedStateMachine):
    """A pool beside a model of it: which lease has how many CPUs."""

    def __init__(self):
        super().__init__()
        self.pool = CpuPool(3)
        self.n_cpu = 3
        self.held = []

    @property
    def free(self):
        return max(0, self.n_cpu - sum(int(lease) for _, lease in self.held))

    @rule(max_cpu=st.integers(-7, 7).filter(bool))
    def acquire(self, max_cpu):
        wanted = max_cpu if max_cpu > 0 else max(1, self.n_cpu + 1 + max_cpu)
        expected = min(wanted, self.free)
        acquisition = self.pool.acquire(max_cpu, timeout=0)
        if expected:
            lease = acquisition.__enter__()
            assert lease == expected
            self.held.append((acquisition, lease))
        else:
            with pytest.raises(CpuLeaseTimeoutError):
                acquisition.__enter__()

    @precondition(lambda self: self.held)
    @rule(data=st.data(), how=st.sampled_from(["exit", "release", "drop"]))
    def give_back(self, data, how):
        acquisition, lease = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        if how == "exit":
            acquisition.__exit__(None, None, None)
        elif how == "release":
            lease.release()
        del acquisition

    @rule(n_cpu=st.integers(1, 6))
    def resize(self, n_cpu):
        self.pool.resize(n_cpu)
        self.n_cpu = n_cpu

    @invariant()
    def agree(self):
        gc.collect(0)
        assert (self.pool.n_cpu, self.pool.available) == (self.n_cpu, self.free)
        numbers = [number for _, lease in self.held for number in lease.numbers]
        assert len(numbers) == len(set(numbers))
        assert not any(lease.released for _, lease in self.held)


TestPoolMachine = PoolMachine.TestCase
TestPoolMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


# -- many threads ---------------------------------------------------------------------------------------------------


@pytest.fixture
def tiny_switch_interval():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("tiny_switch_interval")
@pytest.mark.parametrize("n_cpu", [1, 5])
def test_16_threads_never_hold_more_than_the_pool(n_cpu):
    pool = CpuPool(n_cpu)
    used = set()
    lock = threading.Lock()
    counts = {"granted": 0, "timeout": 0, "raised": 0}
    most = 0

    def count(what):
        with lock:
            counts[what] += 1

    def hammer():
        nonlocal most
        choose = random.Random(threading.get_ident())
        for _ in range(600):
            timeout = choose.choice([None, 0, 1e-4, LONG])
            try:
                with pool.acquire(choose.choice([-1, -2, 1, 2, 3]), timeout) as cpus:
                    with lock:
                        assert used.isdisjoint(cpus.numbers)
                        used.update(cpus.numbers)
                        assert cpus == len(cpus.numbers) >= 1
                        assert len(used) <= n_cpu
                        most = max(most, len(used))
                    if choose.random() < 0.2:
                        time.sleep(0)
                    with lock:
                        used.difference_update(cpus.numbers)
                    count("granted")
                    if choose.random() < 0.1:
                        raise ZeroDivisionError
                    if choose.random() < 0.1:
                        cpus.release()
            except CpuLeaseTimeoutError:
                count("timeout")
            except ZeroDivisionError:
                count("raised")

    with running(*[hammer] * 16):
        pass
    assert counts["granted"] + counts["timeout"] == 16 * 600
    assert counts["raised"] > 0
    assert most == n_cpu
    assert pool.available == n_cpu
    assert not pool._queue.requests


@pytest.mark.usefixtures("tiny_switch_interval")
def test_resizing_while_threads_lease_loses_no_cpu():
    pool = CpuPool(3)
    done = threading.Event()

    def resizes():
        choose = random.Random(1)
        while not done.is_set():
            pool.resize(choose.randint(1, 6))

    def leases():
        for _ in range(200):
            with pool.acquire(2, timeout=LONG) as cpus:
                assert 1 <= cpus <= 2

    with running(resizes):
        try:
            with running(*[leases] * 8):
                pass
        finally:
            done.set()
    pool.resize(4)
    assert pool.available == 4
    assert not pool._queue.requests


# -- interrupts -----------------------------------------------------------------------------------------------------


FILES = (_leases.__file__, _lease_queue.__file__, _locks.__file__)


@pytest.mark.parametrize("shared", [False, True])
def test_an_interrupt_at_any_step_loses_no_cpu(shared, tmp_path):
    if shared:
        pytest.importorskip("fcntl", reason="shared leases need the file locks of POSIX")
    pool = CpuPool(3, lock_directory=tmp_path / "locks")

    def lease():
        with pool.acquire(2, timeout=LONG, shared=shared) as cpus:
            assert cpus == 2

    def try_step(step):
        interrupted = interrupted_at(step, FILES, lease) is not None
        gc.collect()
        assert pool.available == 3, f"step {step}"
        assert not pool._queue.requests
        with CpuPool(3, lock_directory=tmp_path / "locks").acquire(timeout=0, shared=shared) as cpus:
            assert cpus == 3, f"step {step}"
        return interrupted

    at_every_step(20, try_step)


def test_an_interrupt_while_giving_back_costs_no_waiting_thread_its_turn(monkeypatch):
    # Check that a thread gets CPUs even if an interrupt hits the one that should wake it, wherever it hits.
    monkeypatch.setattr(_lease_queue, "_LOOK_AGAIN", 0.01)
    pool = CpuPool(1)

    def try_step(step):
        acquisition = pool.acquire()
        acquisition.__enter__()
        served = []

        def waiter(served=served):
            with pool.acquire(timeout=LONG):
                served.append(True)

        with running(waiter):
            wait_until(lambda: n_waiting(pool) == 1)
            interrupted = interrupted_at(step, FILES, partial(acquisition.__exit__, None, None, None)) is not None
            del acquisition
            gc.collect()
        assert served == [True]
        assert pool.available == 1
        return interrupted

    at_every_step(5, try_step)


@pytest.mark.parametrize("shared", [False, True])
def test_a_finalizer_at_any_step_loses_no_cpu_and_waits_for_nobody(shared, tmp_path):
    # This used to wait for ever for the lock that the interrupted thread held.
    if shared:
        pytest.importorskip("fcntl", reason="shared leases need the file locks of POSIX")
    pool = CpuPool(3, lock_directory=tmp_path / "locks")
    refused = []

    def ask(timeout, error):
        try:
            with pool.acquire(1, timeout=timeout, shared=shared):
                pass
        except ZrunError as raised:
            refused.append((type(raised) is error, str(raised)))

    def try_step(step):
        held = pool.acquire(1, shared=shared)
        lease = held.__enter__()

        def finalizer():
            lease.release()
            assert lease.released
            pool.resize(3)
            assert 0 <= pool.available <= 3
            assert "of 3 CPUs" in pool.explain()
            ask(0, CpuLeaseTimeoutError)
            ask(None, CpuError)

        def work():
            with pool.acquire(2, timeout=LONG, shared=shared) as cpus:
                assert cpus == 2

        came = elsewhere(lambda: happens_at(step, FILES, finalizer, work))
        held.__exit__(None, None, None)
        assert pool.available == 3
        assert not pool._queue.requests
        with CpuPool(3, lock_directory=tmp_path / "locks").acquire(timeout=0, shared=shared) as cpus:
            assert cpus == 3
        return came

    at_every_step(20, try_step)
    assert refused
    assert all(right and "in the middle of this thread's own work in zrun" in text for right, text in refused)


def test_a_finalizer_in_the_middle_of_a_grant_is_refused_what_it_would_wait_for():
    pool = CpuPool(2)
    grant, refused = pool._queue._grant, []

    def finalizer_comes_first():
        if not refused:
            for timeout, error in ((0, CpuLeaseTimeoutError), (None, CpuError)):
                with pytest.raises(ZrunError, match="Do it in a thread of its own") as raised:
                    pool.acquire(1, timeout=timeout).__enter__()
                refused.append(raised.type is error)
        grant()

    pool._queue._grant = finalizer_comes_first
    with pool.acquire(2) as cpus:
        assert cpus == 2
    assert refused == [True, True]
    assert pool.available == 2
    assert not pool._queue.requests


def test_what_a_finalizer_gives_back_while_a_deadlock_is_looked_for_is_found(monkeypatch):
    monkeypatch.setattr(_lease_queue, "_LOOK_AGAIN", 0.01)
    outcomes = set()

    def try_step(step):
        pool = CpuPool(1)
        outer = pool.acquire()
        came = []

        def work():
            lease = outer.__enter__()

            def finalizer():
                came.append(step)
                lease.release()

            def ask_again():
                with pool.acquire() as cpus:
                    assert cpus == 1

            try:
                happens_at(step, FILES, finalizer, ask_again)
            except CpuError:
                # Given back when the answer had been found already, or never.
                return "refused"
            return "granted"

        outcomes.add(elsewhere(work))
        outer.__exit__(None, None, None)
        assert pool.available == 1
        assert not pool._queue.requests
        return came

    at_every_step(20, try_step)
    assert outcomes == {"granted", "refused"}


SIGNALS = """
import random, signal
from zrun_core._leases import CpuPool

def interrupt(number, frame):
    raise KeyboardInterrupt

pool = CpuPool(2)
choose = random.Random(3)
interrupts = 0
signal.signal(signal.SIGALRM, interrupt)
for _ in range(3000):
    try:
        signal.setitimer(signal.ITIMER_REAL, choose.uniform(1e-6, 2e-4))
        for _ in range(100_000):
            with pool.acquire(1, timeout=60) as cpus:
                assert cpus == 1
    except KeyboardInterrupt:
        interrupts += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    assert not pool._queue.lock.locked()
    assert pool.available == 2
print(interrupts)
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this platform has no interval timer")
def test_real_signals_at_random_moments_lose_no_cpu():
    # In a process of its own, without coverage: its measurement does not survive an exception at any moment.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    command = [sys.executable, "-W", "error", "-c", SIGNALS]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.stderr, done.stdout) == ("", "3000\n")


# -- forked processes -----------------------------------------------------------------------------------------------

FORK = """
import os, threading
from zrun_core._leases import CpuPool

pool = CpuPool(3)
acquisition = pool.acquire(2)
cpus = acquisition.__enter__()
# The child must not inherit a lock that another thread held at the moment of the fork.
pool._queue.lock.acquire()
child = os.fork()
if child == 0:
    assert pool.available == 3, pool
    assert cpus.released
    with pool.acquire(timeout=0) as own:
        assert own == 3
        cpus.release()
        acquisition.__exit__(None, None, None)
        assert pool.available == 0
    os._exit(17)
pool._queue.lock.release()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 17
assert pool.available == 1
acquisition.__exit__(None, None, None)
assert pool.available == 3
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")
def test_a_forked_process_starts_with_a_full_pool():
    done = subprocess.run([sys.executable, "-W", "error", "-c", FORK], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_renewed_pool_forgets_every_lease():
    # Check in this process, where coverage sees it, what a forked one does.
    pool = CpuPool(3)
    with pool.acquire(2) as cpus:
        pool._queue.renew()
        assert pool.available == 3
        assert cpus.released
    assert pool.available == 3


def test_a_lease_class_is_an_int_class():
    assert issubclass(Lease, int)
