"""The process default and the blocks on top of it, in one thread."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import gc
import inspect
import pickle
import sys

import pytest

from zrun_core import PythonBackend, RunManager, _scope, run
from zrun_core._policy import Policy
from zrun_core._scope import Using, bind, current, default, observe_default
from zrun_core.errors import IllegalInGraphError, PolicyError, PolicyShadowedError


@pytest.fixture(autouse=True)
def _policy_is_left_as_it_was():
    before = default(), current()
    yield
    assert (default(), current()) == before


@contextlib.contextmanager
def process_default(**parts):
    """Set parts of the process default for the length of a block."""
    before = default()
    _scope.set_default(parts, "a test")
    try:
        yield
    finally:
        _scope.set_default({name: getattr(before, name) for name in parts}, "a test")


class Tracing(PythonBackend):
    """A backend that says that a graph is being built."""

    def is_tracing(self):
        return True


class Observer:
    """Notes what it is told about the default, and refuses when told to."""

    def __init__(self, refuses=None):
        self.refuses = refuses
        self.seen = []

    def default_changed(self, old, new):
        self.seen.append((old, new))
        if self.refuses is not None:
            raise self.refuses("no")


@contextlib.contextmanager
def observed_by(*observers):
    for observer in observers:
        observe_default(observer.default_changed)
    try:
        yield
    finally:
        # A traceback may keep them alive for a while.
        for observer in observers:
            observer.refuses = None


DICT_POLICY = {"model": True, "loss": False, "sample.*": True}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"graph": False}, {"graph": False, "autograd": True}),
        ({"autograd": False}, {"graph": "auto", "autograd": False}),
        ({"graph": True, "autograd": False}, {"graph": True, "autograd": False}),
        ({"graph": DICT_POLICY}, {"graph": DICT_POLICY, "autograd": True}),
        ({"graph": "auto", "autograd": None}, {"graph": "auto", "autograd": True}),
    ],
    ids=str,
)
def test_set_mode_sets_what_is_given_and_leaves_the_rest(changes, expected):
    run.set_mode(**changes)
    try:
        assert dict(run.mode) == expected
        assert run.current_policy_graph() == expected["graph"]
        assert run.current_policy_autograd() == expected["autograd"]
        assert RunManager().mode == run.mode
    finally:
        run.set_mode_default()
    assert dict(run.mode) == dict(run.DEFAULT_MODE)


def test_set_mode_without_anything_to_set_is_an_error():
    with pytest.raises(PolicyError, match="both graph and autograd are None"):
        run.set_mode()
    with pytest.raises(PolicyError, match="give at least one"):
        run.set_mode(graph=None, autograd=None)


@pytest.mark.parametrize(
    "changes",
    [
        {"graph": "nonsense"},
        {"graph": "nonsense", "autograd": False},
        {"graph": False, "autograd": "no"},
        {"graph": {"modle": True}},
        {"graph": 0},
    ],
    ids=str,
)
def test_set_mode_with_an_invalid_value_changes_nothing(changes):
    with process_default(graph=DICT_POLICY):
        before = default()
        with pytest.raises(PolicyError):
            run.set_mode(**changes)
        assert default() is before


def test_set_mode_returns_nothing():
    assert run.set_mode(graph="auto") is None


def test_the_other_parts_survive_set_mode_default():
    with process_default(chunksize=10, retrace="error"):
        run.set_mode(graph=False)
        run.set_mode_default()
        assert (run.chunksize, run.policy.retrace) == (10, "error")


def test_setting_one_part_after_the_other_keeps_both():
    run.set_mode(graph=DICT_POLICY)
    run.set_mode(autograd=False)
    try:
        assert dict(run.mode) == {"graph": DICT_POLICY, "autograd": False}
    finally:
        run.set_mode_default()


@pytest.mark.parametrize("value", [1, 1000, "auto", None])
def test_the_chunksize_can_be_set_for_the_process(value):
    run.set_chunksize(value)
    try:
        assert run.chunksize == value
    finally:
        run.set_chunksize(None)


@pytest.mark.parametrize("value", ["allow", "warn", "error"])
def test_the_retrace_policy_can_be_set_for_the_process(value):
    run.set_retrace_policy(value)
    try:
        assert run.policy.retrace == value
    finally:
        run.set_retrace_policy("warn")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: run.set_chunksize(0), "chunksize must be .* got 0"),
        (lambda: run.set_retrace_policy("never"), "retrace must be .* got 'never'"),
        (lambda: run.set_retrace_policy(None), "retrace must be"),
        (lambda: run.using(graph="nonsense"), "graph must be"),
        (lambda: run.using(retrace="never"), "retrace must be"),
        (lambda: run.using(chunksize=-1), "chunksize must be"),
        (lambda: run.using(jit="yes"), "jit must be"),
        (lambda: run.using(check_numerics=1), "check_numerics must be"),
    ],
)
def test_other_invalid_values_change_nothing(call, message):
    before = default()
    with pytest.raises(PolicyError, match=message):
        call()
    assert default() is before


def test_what_the_manager_hands_out_cannot_change_the_policy():
    with process_default(graph={"model": True}):
        with pytest.raises(TypeError):
            run.mode["graph"] = "nonsense"
        with pytest.raises(TypeError):
            run.mode["graph"]["model"] = False
        with pytest.raises(AttributeError):
            run.mode = {}
        with pytest.raises(AttributeError):
            run.policy = Policy()
        with pytest.raises(AttributeError):
            run.chunksize = 5
        with pytest.raises(TypeError):
            run.DEFAULT_MODE["graph"] = True
        run.current_policy_graph()["model"] = False
        assert run.mode["graph"] == {"model": True}


@pytest.mark.parametrize(
    "parts",
    [
        {"graph": True},
        {"graph": DICT_POLICY},
        {"autograd": False, "jit": True},
        {"jit": {"loss": True}},
        {"check_numerics": True},
        {"chunksize": 7},
        {"retrace": "allow"},
    ],
    ids=str,
)
def test_a_block_changes_what_is_given_and_restores_it(parts):
    before = run.policy
    with run.using(**parts) as policy:
        assert run.policy is policy
        assert policy == before.changed(**parts)
    assert run.policy is before


def test_a_block_without_parts_leaves_all_as_it_is():
    with process_default(graph=DICT_POLICY, chunksize=9), run.using() as policy:
        assert policy == default()


def test_none_leaves_a_part_alone_in_a_block():
    with run.using(graph=DICT_POLICY, autograd=False, jit=True, check_numerics=True, retrace="error", chunksize=3):
        before = run.policy
        nothing = {"graph": None, "autograd": None, "jit": None, "check_numerics": None, "retrace": None}
        with run.using(**nothing) as policy:
            assert policy == before


def test_none_is_a_chunksize():
    with run.using(chunksize=3):
        with run.using(chunksize=None):
            assert run.chunksize is None
        assert run.chunksize == 3


def test_dict_policies_are_restored_exactly():
    # Check that leaving a block neither merges what it set nor what was there.
    with process_default(graph={"loss": False}):
        with run.using(graph={"model": True}):
            with run.using(graph={"sample": False}):
                assert run.current_policy_graph() == {"sample": False}
                assert run.builds_graph("loss")
            assert run.current_policy_graph() == {"model": True}
        assert run.current_policy_graph() == {"loss": False}
        assert not run.builds_graph("model")


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_a_block_survives_exceptions(error):
    before = run.policy
    with pytest.raises(error), run.using(graph=False), run.using(autograd=False):
        raise error
    assert run.policy is before


def test_the_values_are_checked_before_anything_is_entered():
    before = run.policy
    with pytest.raises(PolicyError):
        run.using(graph=True, autograd="no")
    assert run.policy is before


def test_creating_a_block_changes_nothing():
    before = run.policy
    block = run.using(graph=False)
    assert run.policy is before
    assert repr(block) == "using(graph=False)"


def test_a_block_takes_the_rest_of_the_policy_where_it_is_entered():
    block = run.using(autograd=False)
    with block as first:
        pass
    with run.using(graph=True), block as second:
        pass
    with block as third:
        pass
    assert (first.graph, second.graph, third.graph) == ("auto", True, "auto")
    assert first == third


def test_a_block_can_be_entered_again_and_within_itself():
    block = run.using(graph=False)
    before = run.policy
    for _ in range(3):
        with block:
            assert run.current_policy_graph() is False
        assert run.policy is before
    with block:
        with run.using(graph=True), block:
            assert run.current_policy_graph() is False
            with block:
                assert run.current_policy_graph() is False
            assert run.current_policy_graph() is False
        assert run.current_policy_graph() is False
    assert run.policy is before


def test_blocks_that_are_left_out_of_order_leave_nothing_behind():
    before = run.policy
    first, second = run.using(graph=False), run.using(autograd=False)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    # The later block is still open, with all that it found when it was entered.
    assert dict(run.mode) == {"graph": False, "autograd": False}
    second.__exit__(None, None, None)
    assert run.policy is before


def test_generators_may_leave_their_blocks_while_later_ones_are_open():
    def generator(**parts):
        with run.using(**parts):
            yield run.policy
            yield run.policy

    before = run.policy
    one, other = generator(graph=False), generator(autograd=False)
    next(one)
    with run.using(check_numerics=True) as mine:
        next(other)
        one.close()
        assert run.policy.check_numerics
    other.close()
    assert mine.graph is False
    assert run.policy is before


def test_a_block_that_was_left_already_cannot_be_left_again():
    before = run.policy
    block = run.using(graph=False)
    with block:
        pass
    with pytest.raises(RuntimeError, match="left in another context"):
        block.__exit__(None, None, None)
    assert run.policy is before


def test_a_block_cannot_be_left_in_another_context():
    block = run.using(graph=False)
    with block, run.using(autograd=False):
        elsewhere = contextvars.Context()
        with pytest.raises(RuntimeError, match=r"run.bind\(fn\) hands a policy over"):
            elsewhere.run(block.__exit__, None, None, None)
        assert elsewhere.run(current) is default()
        assert dict(run.mode) == {"graph": False, "autograd": False}


SETTERS = [
    lambda: run.set_mode(graph=True),
    lambda: run.set_mode(autograd=False),
    lambda: run.set_mode_default(),
    lambda: run.set_chunksize(5),
    lambda: run.set_retrace_policy("allow"),
]


@pytest.mark.parametrize("setter", SETTERS)
def test_the_default_cannot_be_set_where_a_block_hides_it(setter):
    before = default()
    with run.using(graph=False) as policy:
        with pytest.raises(PolicyShadowedError, match=r"^set_.* inside a using block") as raised:
            setter()
        assert "Call it before the block" in str(raised.value)
        assert run.policy is policy
    with pytest.raises(PolicyShadowedError, match="a bound function"):
        run.bind(setter)()
    assert default() is before


def test_an_invalid_value_counts_more_than_the_block_that_hides_the_default():
    with run.using(graph=False), pytest.raises(PolicyError, match="got 'nonsense'"):
        run.set_mode("nonsense")


@pytest.mark.parametrize(
    "setter",
    [
        lambda manager: manager.set_mode(graph=True),
        lambda manager: manager.set_mode_default(),
        lambda manager: manager.set_chunksize(5),
        lambda manager: manager.set_retrace_policy("allow"),
    ],
)
def test_the_default_cannot_be_set_while_a_graph_is_being_built(setter):
    before = default()
    with pytest.raises(IllegalInGraphError, match="was called while a graph is being built"):
        setter(RunManager(backend=Tracing()))
    assert default() is before


def test_an_invalid_value_counts_more_than_the_graph_being_built():
    with pytest.raises(PolicyError, match="got 'nonsense'"):
        RunManager(backend=Tracing()).set_mode("nonsense")


def test_a_block_works_while_a_graph_is_being_built():
    manager = RunManager(backend=Tracing())
    with manager.using(autograd=False):
        assert not manager.current_policy_autograd()


def test_a_decorated_function_runs_under_the_policy():
    @run.using(graph=False)
    def probe(a, b=2, *, c: int = 3) -> str:
        """Say what."""
        return run.current_policy_graph(), a, b, c

    assert probe(1, c=4) == (False, 1, 2, 4)
    assert run.current_policy_graph() == "auto"
    assert (probe.__name__, probe.__doc__) == ("probe", "Say what.")
    assert list(inspect.signature(probe).parameters) == ["a", "b", "c"]


def test_a_decorated_function_may_have_parameters_called_self():
    @run.using(graph=False)
    def probe(self, block):
        return self, block

    assert probe(self=1, block=2) == (1, 2)
    assert run.bind(probe)(self=1, block=2) == (1, 2)


def test_a_decorated_function_restores_the_policy_when_it_raises():
    @run.using(graph=False)
    def fail():
        raise LookupError(run.current_policy_graph())

    before = run.policy
    with pytest.raises(LookupError, match="False"):
        fail()
    assert run.policy is before


def test_a_decorated_function_may_call_itself():
    seen = []

    @run.using(graph=False)
    def down(n):
        seen.append(run.current_policy_graph())
        if n:
            with run.using(graph=True):
                down(n - 1)
            seen.append(run.current_policy_graph())

    down(3)
    assert seen == [False] * 7
    assert run.current_policy_graph() == "auto"


def test_one_block_can_decorate_several_functions_and_methods():
    block = run.using(autograd=False)

    @block
    def inner():
        return run.current_policy_autograd()

    class Model:
        @block
        def method(self):
            return inner(), run.current_policy_autograd(), self

        @staticmethod
        @block
        def static():
            return inner()

        @classmethod
        @block
        def of_class(cls):
            return inner(), cls

    model = Model()
    assert model.method() == (False, False, model)
    assert (model.static(), Model.of_class()) == (False, (False, Model))
    assert run.current_policy_autograd()


def test_a_decorated_coroutine_function_runs_under_the_policy_when_awaited():
    @run.using(graph=False)
    async def probe():
        before = run.current_policy_graph()
        await asyncio.sleep(0)
        return before, run.current_policy_graph()

    async def main():
        coroutine = probe()
        outside = run.current_policy_graph()
        return await coroutine, outside, run.current_policy_graph()

    assert inspect.iscoroutinefunction(probe)
    assert asyncio.run(main()) == ((False, False), "auto", "auto")


class AsyncCallable:
    async def __call__(self):
        await asyncio.sleep(0)
        return run.current_policy_graph()


@pytest.mark.parametrize("wrap", [run.using(graph=False), run.using(graph=False)(bind)])
@pytest.mark.parametrize("function", [AsyncCallable(), functools.partial(AsyncCallable().__call__)])
def test_callables_that_return_coroutines_are_known_as_such(wrap, function):
    # Check that the policy holds when the body runs, not only while the coroutine is made.
    assert asyncio.run(wrap(function)()) is False


def test_a_recursive_coroutine_function_keeps_the_policy():
    @run.using(graph=False)
    async def down(n):
        if n == 0:
            return [run.current_policy_graph()]
        return [*await down(n - 1), run.current_policy_graph()]

    assert asyncio.run(down(3)) == [False] * 4


def generator_function():
    yield


async def async_generator_function():
    yield


class GeneratorCallable:
    def __call__(self):
        yield


@pytest.mark.parametrize(
    "function",
    [generator_function, async_generator_function, functools.partial(generator_function), GeneratorCallable()],
    ids=["generator", "async generator", "partial", "object"],
)
@pytest.mark.parametrize(("name", "decorator"), [("using", run.using(graph=False)), ("bind", run.bind)])
def test_generator_functions_cannot_be_decorated(name, decorator, function):
    with pytest.raises(TypeError, match=f"{name} cannot decorate the generator function .* inside the body"):
        decorator(function)


@pytest.mark.parametrize(("name", "decorator"), [("using", run.using(graph=False)), ("bind", run.bind)])
def test_only_callables_can_be_decorated(name, decorator):
    with pytest.raises(TypeError, match=f"{name} takes a callable; got 3 of type int"):
        decorator(3)


def test_a_class_cannot_be_decorated():
    with pytest.raises(TypeError, match="using decorates functions; got the class Observer"):
        run.using(graph=False)(Observer)


def test_a_class_can_be_bound():
    class Probe:
        def __init__(self):
            self.graph = run.current_policy_graph()

    with run.using(graph=False):
        make = run.bind(Probe)
    assert make().graph is False


def test_a_bound_function_runs_under_the_policy_it_was_bound_with():
    def probe(a, *, b=1):
        """Say what."""
        return run.current_policy_graph(), a, b

    with run.using(graph=False):
        bound = run.bind(probe)
    with run.using(graph=True):
        assert bound(5, b=6) == (False, 5, 6)
        assert run.current_policy_graph() is True
    with process_default(graph={"model": True}):
        assert bound(5) == (False, 5, 1)
    assert (bound.__name__, bound.__doc__) == ("probe", "Say what.")
    assert list(inspect.signature(bound).parameters) == ["a", "b"]
    assert "bound to Policy(graph=False" in repr(bound)


def test_what_was_bound_to_the_default_does_not_follow_it():
    bound = run.bind(run.current_policy_graph)
    with process_default(graph=False):
        assert bound() == "auto"


def test_a_bound_function_restores_the_policy_when_it_raises():
    def fail():
        raise LookupError

    before = run.policy
    with pytest.raises(LookupError):
        run.bind(fail)()
    assert run.policy is before


def test_a_bound_function_can_be_pickled():
    with run.using(graph={"model": True}, chunksize=3):
        bound = bind(current)
        expected = current()
    arrived = pickle.loads(pickle.dumps(bound))
    assert arrived() == expected


def test_observers_are_told_before_the_default_changes():
    told = []

    class Asking(Observer):
        def default_changed(self, old, new):
            told.append((old, new, default()))

    observer = Asking()
    observe_default(observer.default_changed)
    before = default()
    with process_default(graph=False):
        pass
    changed = before.changed(graph=False)
    assert told == [(before, changed, before), (changed, before, changed)]


def test_an_observer_given_twice_is_told_once():
    observer = Observer()
    observe_default(observer.default_changed)
    observe_default(observer.default_changed)
    RunManager(backend=PythonBackend())
    with process_default(graph=False):
        assert len(observer.seen) == 1


def test_observers_die_with_their_object():
    observer = Observer()
    seen = observer.seen
    observe_default(observer.default_changed)
    del observer
    gc.collect()
    with process_default(graph=False):
        assert seen == []
    count = len(_scope._process.observers)
    kept = Observer()
    observe_default(kept.default_changed)
    assert len(_scope._process.observers) <= count


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_observer_that_refuses_leaves_all_as_it_was(error):
    first, refusing, last = Observer(), Observer(error), Observer()
    before = default()
    with observed_by(first, refusing, last), pytest.raises(error, match="no"):
        run.set_mode(graph=False)
    changed = before.changed(graph=False)
    assert default() is before
    assert first.seen == [(before, changed), (changed, before)]
    assert refusing.seen == [(before, changed)]
    assert last.seen == []


def test_an_observer_that_cannot_go_back_does_not_keep_others_from_it():
    class Stuck(Observer):
        def default_changed(self, old, new):
            super().default_changed(old, new)
            if len(self.seen) == 2:
                raise OSError("stuck")

    first, stuck, refusing = Observer(), Stuck(), Observer(RuntimeError)
    before = default()
    with observed_by(first, stuck, refusing), pytest.raises(OSError, match="stuck") as raised:
        run.set_mode(graph=False)
    assert isinstance(raised.value.__context__, RuntimeError)
    assert default() is before
    assert [len(observer.seen) for observer in (first, stuck, refusing)] == [2, 2, 1]


def test_the_hooks_of_a_block_are_called_once_each():
    calls = []
    block = Using({"graph": False}, lambda: calls.append("enter"), lambda: calls.append("leave"))
    with block:
        with pytest.raises(LookupError), block:
            raise LookupError
        assert calls == ["enter", "enter", "leave"]
    assert calls == ["enter", "enter", "leave", "leave"]


def test_a_hook_that_fails_on_entering_leaves_nothing_behind():
    calls = []

    def fail():
        raise OSError("no")

    before = run.policy
    block = Using({"graph": False}, fail, lambda: calls.append("leave"))
    with pytest.raises(OSError, match="no"), block:
        calls.append("body")
    assert calls == []
    assert run.policy is before


def test_a_hook_that_fails_on_leaving_leaves_the_policy_restored():
    def fail():
        raise OSError("no")

    before = run.policy
    with pytest.raises(OSError, match="no"), Using({"graph": False}, None, fail):
        pass
    assert run.policy is before


def test_a_block_left_in_the_wrong_context_does_not_call_its_hook():
    calls = []
    block = Using({"graph": False}, None, lambda: calls.append("leave"))
    with pytest.raises(RuntimeError, match="another context"):
        block.__exit__(None, None, None)
    assert calls == []


def test_a_block_must_say_its_policy():
    before = run.policy
    with pytest.raises(NotImplementedError), _scope._Block():
        pass
    assert run.policy is before


def interrupted_at(line, call, code_name):
    """Run `call` with a KeyboardInterrupt at the given line event of a function of `_scope`; whether it came so far."""
    seen = 0

    def local(frame, event, arg):
        nonlocal seen
        if event == "line":
            seen += 1
            if seen == line:
                raise KeyboardInterrupt
        return local

    def tracer(frame, event, arg):
        code = frame.f_code
        return local if code.co_name == code_name and code.co_filename == _scope.__file__ else None

    previous = sys.gettrace()
    sys.settrace(tracer)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(previous)
    return False


@pytest.mark.parametrize("code_name", ["__enter__", "_policy"])
def test_an_interrupt_anywhere_on_the_way_into_a_block_leaves_the_policy(code_name):
    before = run.policy

    def enter():
        with run.using(graph=False):
            pass

    lines = 1
    while interrupted_at(lines, enter, code_name):
        assert run.policy is before
        lines += 1
    assert lines > 3


def test_an_interrupt_anywhere_in_setting_the_default_leaves_the_old_one_or_the_new_one(monkeypatch):
    # Without the backends that other tests may have brought: one told but not noted cannot be told again.
    monkeypatch.setattr(_scope._process, "observers", ())
    # Observers of other tests must not go while the lines are counted.
    gc.collect()
    lines, interrupted, outcomes = 1, True, set()
    old = default()
    while interrupted:
        observer = Observer()
        observe_default(observer.default_changed)
        interrupted = interrupted_at(lines, lambda: run.set_mode(graph=False), "set_default")
        outcomes.add((default(), len(observer.seen)))
        run.set_mode_default()
        lines += 1
    new = old.changed(graph=False)
    # Nobody was told; told and told back; interrupted between being told and that being noted; all done.
    assert outcomes <= {(old, 0), (old, 2), (old, 1), (new, 1)}
    assert {(old, 0), (old, 2), (new, 1)} <= outcomes
