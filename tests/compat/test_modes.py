"""`set_mode` and its kin: for good where they are called, and exact on leaving a `with` block."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import warnings

import pytest
import tensorflow as tf

import zrun_tf as zrun
from zrun_compat import ZrunDeprecationWarning, run
from zrun_core import _scope
from zrun_core.errors import IllegalInGraphError, PolicyError, PolicyShadowedError, ZrunWarning

pytestmark = pytest.mark.filterwarnings("ignore::zrun_compat.ZrunDeprecationWarning")

# Each way to say it, and what has to be in force then.
CHANGES = {
    "set_mode(graph=False)": (lambda: run.set_mode(graph=False), {"graph": False}),
    "set_mode(False)": (lambda: run.set_mode(False), {"graph": False}),
    "set_mode(True, False)": (lambda: run.set_mode(True, False), {"graph": True, "autograd": False}),
    "set_mode(autograd=False)": (lambda: run.set_mode(autograd=False), {"autograd": False}),
    "set_mode(graph=dict)": (lambda: run.set_mode(graph={"model": True}), {"graph": {"model": True}}),
    "set_graph_mode(False)": (lambda: run.set_graph_mode(False), {"graph": False}),
    "set_graph_mode(graph=True)": (lambda: run.set_graph_mode(graph=True), {"graph": True}),
    "set_graph_mode(dict)": (lambda: run.set_graph_mode({"loss": False}), {"graph": {"loss": False}}),
    "set_autograd_mode(False)": (lambda: run.set_autograd_mode(False), {"autograd": False}),
    "set_autograd_mode(autograd=False)": (lambda: run.set_autograd_mode(autograd=False), {"autograd": False}),
}
EACH_CHANGE = pytest.mark.parametrize(("change", "expected"), CHANGES.values(), ids=CHANGES)


def in_force():
    return {"graph": run.current_policy_graph(), "autograd": run.current_policy_autograd()}


@EACH_CHANGE
def test_a_call_alone_sets_for_good(change, expected):
    change()
    try:
        assert in_force() == {"graph": "auto", "autograd": True, **expected}
        # Check that it is zrun's default, which every thread sees.
        assert dict(_scope.default().mode) == in_force()
        assert tf.config.functions_run_eagerly() is (in_force()["graph"] is False)
    finally:
        run.set_mode_default()
    assert in_force() == {"graph": "auto", "autograd": True}


@EACH_CHANGE
@pytest.mark.parametrize("leave", ["end", "exception", "return"])
def test_a_block_restores_exactly_what_was_there(change, expected, leave, process_state):
    run.set_mode(graph={"model": False, "loss": True}, autograd=True)
    before = process_state()

    def block():
        with change():
            assert in_force() == {"graph": {"model": False, "loss": True}, "autograd": True, **expected}
            if leave == "exception":
                raise KeyError
            if leave == "return":
                return

    try:
        with pytest.raises(KeyError) if leave == "exception" else contextlib.nullcontext():
            block()
        assert process_state() == before
    finally:
        run.set_mode_default()


@pytest.mark.parametrize(
    ("change", "value"),
    [
        (lambda: run.set_mode(graph=False), {"graph": False, "autograd": True}),
        (run.set_mode_default, {"graph": "auto", "autograd": True}),
        (run.set_graph_mode, "auto"),
        (lambda: run.set_graph_mode(False), False),
        (lambda: run.set_graph_mode({"loss": False}), {"loss": False}),
        (run.set_autograd_mode, True),
        (lambda: run.set_autograd_mode(False), False),
    ],
)
def test_what_with_yields(change, value):
    with change() as yielded:
        assert yielded == value


@pytest.mark.parametrize(
    ("reset", "expected"),
    [
        (run.set_mode_default, {"graph": "auto", "autograd": True}),
        (run.set_graph_mode, {"graph": "auto", "autograd": False}),
        (lambda: run.set_graph_mode(None), {"graph": "auto", "autograd": False}),
        (run.set_autograd_mode, {"graph": False, "autograd": True}),
        (lambda: run.set_autograd_mode(None), {"graph": False, "autograd": True}),
        (run.set_mode, {"graph": False, "autograd": False}),
    ],
)
def test_what_is_left_out_means_what_it_did(reset, expected):
    run.set_mode(graph=False, autograd=False)
    reset()
    try:
        assert in_force() == expected
    finally:
        run.set_mode_default()
    with run.set_mode(graph=False, autograd=False):
        with reset():
            assert in_force() == expected
        assert in_force() == {"graph": False, "autograd": False}


def test_blocks_nest_in_each_other_and_in_new_ones():
    with run.set_autograd_mode(False):
        with run.set_mode_default(), run.set_graph_mode(True):
            with zrun.run.using(graph=False), run.set_mode(autograd=False):
                assert in_force() == {"graph": False, "autograd": False}
            assert in_force() == {"graph": True, "autograd": True}
        assert in_force() == {"graph": "auto", "autograd": False}


def test_one_object_can_be_entered_again():
    # This used to do nothing the second time.
    change = run.set_graph_mode(False)
    assert run.current_policy_graph() is False
    for _ in range(2):
        with change:
            assert run.current_policy_graph() is False
            with change:
                assert run.current_policy_graph() is False
            assert run.current_policy_graph() is False
        assert run.current_policy_graph() == "auto"


def test_blocks_that_are_left_out_of_order_leave_nothing_behind():
    # This used to end in the mode of the block that was entered first.
    def steps(change):
        with change():
            yield

    first, second = steps(lambda: run.set_mode(graph=False)), steps(lambda: run.set_graph_mode(True))
    next(first), next(second)
    first.close()
    assert run.current_policy_graph() is True
    second.close()
    assert run.current_policy_graph() == "auto"


def test_a_default_that_was_set_since_the_call_stays():
    change = run.set_mode(graph=False)
    run.set_mode(graph=True)
    with change:
        assert run.current_policy_graph() is False
    assert run.current_policy_graph() is True
    run.set_mode_default()


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0), (0, 2, 1)])
def test_objects_that_are_kept_take_back_their_own_change_in_any_order(order):
    kept = [run.set_mode(graph=True), run.set_graph_mode(False), run.set_mode({"model": True}, False)]
    assert in_force() == {"graph": {"model": True}, "autograd": False}
    for number in order:
        with kept[number]:
            pass
    assert in_force() == {"graph": "auto", "autograd": True}


def test_a_change_for_good_that_is_entered_inside_of_a_block_stays_for_good():
    change = run.set_mode(graph=False)
    with zrun.run.using(autograd=False), change:
        assert in_force() == {"graph": False, "autograd": False}
    assert in_force() == {"graph": False, "autograd": True}
    run.set_mode_default()


def in_thread(function):
    seen = []
    thread = threading.Thread(target=lambda: seen.append(function()))
    thread.start()
    thread.join(60)
    return seen[0]


def test_what_other_threads_see():
    # Check the difference from the original that the documentation states: a block belongs to its context.
    run.set_mode(graph=False)
    assert in_thread(run.current_policy_graph) is False
    run.set_mode_default()
    with run.set_mode(graph=False):
        assert in_thread(run.current_policy_graph) == "auto"
        assert in_thread(run.bind(run.current_policy_graph)) is False


def kept(graph):
    return run.set_mode(graph)


@pytest.mark.parametrize("change", [run.set_graph_mode, kept])
def test_threads_with_blocks_of_their_own_do_not_mix(change):
    # Check also that calls whose results are kept, and which set the default, leave it as it was before all of them.
    barrier = threading.Barrier(4, timeout=60)
    wrong = []

    def work(graph):
        for _ in range(50):
            barrier.wait()
            with change(graph):
                barrier.wait()
                if run.current_policy_graph() is not graph:
                    wrong.append(graph)
                barrier.wait()

    threads = [threading.Thread(target=work, args=(graph,)) for graph in (True, False, True, False)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    assert run.current_policy_graph() == "auto"


def test_a_block_is_never_seen_by_another_thread():
    seen, done = set(), threading.Event()

    def watch():
        while not done.is_set():
            seen.add(str(run.current_policy_graph()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in range(200):
        with run.set_mode(graph=False), run.set_graph_mode(True):
            pass
    done.set()
    watcher.join(60)
    assert seen == {"auto"}


def test_tasks_with_blocks_of_their_own_do_not_mix():
    async def work(graph):
        with run.set_graph_mode(graph):
            await asyncio.sleep(0)
            return run.current_policy_graph()

    async def both():
        return await asyncio.gather(work(True), work(False))

    assert asyncio.run(both()) == [True, False]
    assert run.current_policy_graph() == "auto"


# -- inside of a block ------------------------------------------------------------------------------------------------


@EACH_CHANGE
def test_a_block_works_inside_of_using(change, expected, process_state):
    with zrun.run.using(graph={"model": False}, autograd=True):
        before = process_state()
        with change():
            assert in_force() == {"graph": {"model": False}, "autograd": True, **expected}
        assert process_state() == before
        with pytest.raises(KeyError), change():
            raise KeyError
        assert process_state() == before


@pytest.mark.parametrize("outer", [lambda: zrun.run.using(autograd=False), lambda: run.set_mode(autograd=False)])
def test_a_call_for_good_inside_of_a_block_is_an_error(outer, process_state):
    with outer():
        before = process_state()
        with pytest.raises(PolicyShadowedError, match=r"set_mode\(graph=False\) inside a using block"):
            run.set_mode(graph=False)
        with pytest.raises(PolicyShadowedError):
            run.set_graph_mode(False)
        with pytest.raises(PolicyShadowedError):
            run.set_autograd_mode(autograd=True)
        with pytest.raises(PolicyShadowedError):
            run.set_mode_default()
        assert process_state() == before


@pytest.mark.parametrize("mode", ["exec", "single"])
def test_a_call_at_a_prompt_counts_as_one_for_good(mode):
    with zrun.run.using(autograd=False), pytest.raises(PolicyShadowedError):
        exec(compile("run.set_mode(graph=False)", "<prompt>", mode), {"run": run})


def test_a_result_that_is_kept_acts_when_it_is_entered():
    def eager():
        return run.set_mode(graph=False)

    with zrun.run.using(autograd=False):
        kept = run.set_mode(graph=False)
        assert run.current_policy_graph() == "auto"
        with kept:
            assert in_force() == {"graph": False, "autograd": False}
        with eager():
            assert run.current_policy_graph() is False
        with contextlib.ExitStack() as stack:
            stack.enter_context(run.set_mode(graph=False))
            assert run.current_policy_graph() is False
        del kept


def test_a_result_that_is_kept_and_never_entered_says_so():
    with zrun.run.using(autograd=False):
        kept = run.set_mode(graph=False)
        with pytest.warns(ZrunWarning, match=r"set_mode\(graph=False\) had no effect") as caught:
            del kept
    first = test_a_result_that_is_kept_and_never_entered_says_so.__code__.co_firstlineno
    assert (caught[0].filename, caught[0].lineno) == (__file__, first + 2)


# -- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda: run.set_mode(graph="default"),
        lambda: run.set_mode(graph=False, autograd="yes"),
        lambda: run.set_graph_mode("default"),
        lambda: run.set_graph_mode({"modle": True}),
        lambda: run.set_autograd_mode(1),
    ],
)
@pytest.mark.parametrize("inside", [False, True])
def test_a_wrong_value_changes_nothing(change, inside, process_state):
    # This used to leave TensorFlow switched over.
    with zrun.run.using(autograd=False) if inside else contextlib.nullcontext():
        before = process_state()
        with pytest.raises(PolicyError), change():
            pytest.fail("entered")
        assert process_state() == before


def test_the_mode_cannot_be_set_while_a_graph_is_built(process_state):
    before = process_state()
    seen = []

    @zrun.function(kind="loss")
    @tf.autograph.experimental.do_not_convert
    def loss(x):
        for change, _ in CHANGES.values():
            with pytest.raises(IllegalInGraphError):
                change()
            seen.append(change)
        return x

    loss(1.0)
    assert len(seen) == len(CHANGES)
    assert process_state() == before


def test_a_block_works_while_a_graph_is_built(process_state):
    before = process_state()
    seen = []

    @zrun.function(kind="loss")
    @tf.autograph.experimental.do_not_convert
    def loss(x):
        with run.set_mode(autograd=False):
            seen.append(run.current_policy_autograd())
        seen.append(run.current_policy_autograd())
        return x

    loss(1.0)
    assert seen == [False, True]
    assert process_state() == before


def test_a_block_that_is_an_error_leaves_everything_as_it_was(process_state):
    before = process_state()
    kept = run.set_mode(graph=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ZrunDeprecationWarning), kept:
            pytest.fail("entered")
        with pytest.raises(ZrunDeprecationWarning), run.set_mode(graph=False):
            pytest.fail("entered")
        with pytest.raises(ZrunDeprecationWarning), run.set_mode_default():
            pytest.fail("entered")
    assert process_state() == before


# -- TensorFlow's own switch ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("users", [False, True])
@pytest.mark.parametrize(
    ("change", "inside"),
    [
        (lambda: run.set_mode(graph=False), True),
        (lambda: run.set_graph_mode(False), True),
        (lambda: run.set_graph_mode(False, set_backend=True), True),
        (lambda: run.set_graph_mode(False, set_backend=False), None),
        (lambda: run.set_graph_mode(True), None),
        (lambda: run.set_autograd_mode(False), None),
    ],
)
def test_tf_functions_follow_and_the_users_switch_survives(change, inside, users):
    # This used to be False afterwards, whatever the user had set.
    tf.config.run_functions_eagerly(users)
    try:
        with change():
            assert tf.config.functions_run_eagerly() is (users if inside is None else inside)
        assert tf.config.functions_run_eagerly() is users
        change()
        assert tf.config.functions_run_eagerly() is (users if inside is None else inside)
        run.set_mode_default()
        assert tf.config.functions_run_eagerly() is users
    finally:
        tf.config.run_functions_eagerly(False)


def test_functions_follow_the_mode():
    traces = []

    @zrun.function(kind="loss")
    def loss(x):
        traces.append(tf.executing_eagerly())
        return x * 2.0

    with run.set_mode(graph=False):
        assert float(loss(tf.constant(2.0))) == 4.0
    assert traces == [True]
    assert [float(loss(tf.constant(value))) for value in (2.0, 3.0)] == [4.0, 6.0]
    assert traces == [True, False]
    run.set_mode(graph=False)
    loss(tf.constant(2.0))
    with run.set_graph_mode(True):
        loss(tf.constant(2.0))
    run.set_mode_default()
    assert traces == [True, False, True]
    run.clear_graph_cache()


def test_the_object_says_what_it_is():
    assert repr(run.set_mode(graph=False, autograd=False)) == "set_mode(graph=False, autograd=False)"
    run.set_mode_default()
