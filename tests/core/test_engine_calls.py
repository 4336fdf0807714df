"""How decorated functions are called, and what can be decorated: arguments, methods, classes, copies, pickles."""

from __future__ import annotations

import copy
import functools
import inspect
import pickle
from abc import ABC, abstractmethod
from dataclasses import dataclass

import pytest

from zrun_core import RunManager, struct
from zrun_core import run as python_run
from zrun_core.errors import PolicyError, UnknownKindError

from .counting_backend import CountingBackend


@pytest.fixture
def run():
    return RunManager(backend=CountingBackend())


@pytest.fixture
def traces(run):
    return lambda: run.backend.traces


# -- one canonical form of a call -----------------------------------------------------------------------------------


def test_however_arguments_are_passed_it_is_the_same_call(run, traces):
    @run.function
    def f(x, y=2.0, *, z=3.0):
        return (x, y, z)

    expected = (1.0, 2.0, 3.0)
    assert f(1.0) == f(1.0, 2.0) == f(x=1.0) == f(y=2.0, x=1.0) == f(1.0, z=3.0) == f(z=3.0, y=2.0, x=1.0) == expected
    assert f(5.0, z=7.0) == (5.0, 2.0, 7.0)
    assert traces() == 1


def test_positional_only_parameters_and_variadic_ones(run, traces):
    @run.function
    def f(a, b=2.0, /, c=3.0, *more, d=4.0, **named):
        return (a, b, c, list(more), d, sorted(named), [named[name] for name in sorted(named)])

    assert f(1.0) == f(1.0, 2.0, c=3.0) == f(1.0, d=4.0) == (1.0, 2.0, 3.0, [], 4.0, [], [])
    assert traces() == 1
    assert f(1.0, 2.0, 3.0, 8.0, 9.0) == (1.0, 2.0, 3.0, [8.0, 9.0], 4.0, [], [])
    assert f(1.0, 2.0, 3.0, 7.0, 6.0) == (1.0, 2.0, 3.0, [7.0, 6.0], 4.0, [], [])
    assert traces() == 2
    # What is called like a positional-only parameter may be among the named ones.
    assert f(1.0, e=5.0, a=6.0) == (1.0, 2.0, 3.0, [], 4.0, ["a", "e"], [6.0, 5.0])
    assert f(1.0, e=7.0, a=8.0) == (1.0, 2.0, 3.0, [], 4.0, ["a", "e"], [8.0, 7.0])
    assert traces() == 3


@pytest.mark.parametrize(
    "make",
    [
        lambda: lambda: 0,
        lambda: lambda x: 0,
        lambda: lambda x, y=1: 0,
        lambda: lambda x, *, y: 0,
        lambda: lambda x, *, y=1: 0,
        lambda: lambda *x: 0,
        lambda: lambda **x: 0,
        lambda: lambda x, /, y=1: 0,
        lambda: lambda x=1, /, **y: 0,
        lambda: lambda x, y=1, *z, **w: 0,
    ],
    ids=range(10),
)
@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((), {}),
        ((1,), {}),
        ((1, 2), {}),
        ((1, 2, 3), {}),
        ((), {"x": 1}),
        ((1,), {"x": 1}),
        ((1,), {"y": 1}),
        ((), {"y": 1}),
        ((), {"y": 1, "x": 2}),
        ((1,), {"z": 1}),
        ((1,), {"y": 1, "z": 2}),
    ],
    ids=str,
)
def test_calls_fit_or_fail_as_python_says(run, make, args, kwargs):
    body = make()
    decorated = run.function(body)
    try:
        inspect.signature(body).bind(*args, **kwargs)
    except TypeError as error:
        with pytest.raises(TypeError, match=f"^{body.__qualname__.replace('<', '.').replace('>', '.')}: {error}$"):
            decorated(*args, **kwargs)
        assert run.backend.traces == 0
    else:
        assert decorated(*args, **kwargs) == 0


def test_parameters_may_be_called_self(run):
    @run.function
    def f(self, args, kwargs=1.0):
        return (self, args, kwargs)

    assert f(self=1.0, args=2.0) == (1.0, 2.0, 1.0)
    with run.using(graph=False):
        assert f(self=1.0, args=2.0) == (1.0, 2.0, 1.0)
    assert run.explain(f, self=1.0, args=2.0).runs == "graph"

    @run.function
    def caller(x):
        return f(self=x, args=x)

    assert caller(1.5) == (1.5, 1.5, 1.0)


def test_a_wrapped_function_is_called_through_its_wrapper(run):
    def double(function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            return function(*args, **kwargs) * 2

        return wrapper

    @run.function(static="n")
    @double
    def f(x, n=1):
        return x + n

    assert [f(1.0), f(2.0, n=2)] == [4.0, 8.0]


# -- methods --------------------------------------------------------------------------------------------------------


def test_self_is_an_argument_like_any_other(run, traces):
    @struct
    class Base:
        mu: float

        @run.function
        def value(self, x):
            return self.mu * x + self.shift()

        def shift(self):
            return 0.0

        @staticmethod
        @run.function
        def static(x):
            return x * 2

        @classmethod
        @run.function
        def of_class(cls, x):
            return x * cls.factor

        @property
        @run.function
        def twice(self):
            return self.mu * 2

        factor = 3.0

    @struct
    class Sub(Base):
        factor = 5.0

        def shift(self):
            return 100.0

        @run.function
        def more(self, x):
            return super().value(x) + 1

    one, other = Base(2.0), Sub(2.0)
    assert [one.value(1.0), Base(3.0).value(2.0)] == [2.0, 6.0]
    assert traces() == 1
    assert [other.value(1.0), Base.value(other, 1.0), other.value(x=1.0)] == [102.0] * 3
    assert traces() == 2
    assert [other.more(1.0), Sub(5.0).more(1.0)] == [103.0, 106.0]
    assert traces() == 3
    assert [one.static(1.0), Base.static(2.0), Sub.static(3.0)] == [2.0, 4.0, 6.0]
    assert traces() == 4
    assert [Base.of_class(1.0), one.of_class(2.0), Sub.of_class(1.0)] == [3.0, 6.0, 5.0]
    assert traces() == 6
    assert [one.twice, Base(7.0).twice] == [4.0, 14.0]
    assert traces() == 7
    assert run.explain(one.value, 1.0).look_up.hit


def test_methods_of_objects_nobody_can_take_apart(run, traces):
    class Model:
        def __init__(self, mu):
            self.mu = mu

        @run.function
        def value(self, x):
            return self.mu * x

    one, other = Model(2.0), Model(3.0)
    assert [one.value(1.0), other.value(1.0), one.value(5.0)] == [2.0, 3.0, 10.0]
    assert traces() == 2


def test_a_bound_method_can_be_an_argument(run, traces):
    @dataclass
    class Model:
        mu: float

        def value(self, x):
            return self.mu * x

    @run.function
    def f(function, x):
        return function(x)

    assert [f(Model(2.0).value, 1.0), f(Model(3.0).value, 2.0)] == [2.0, 6.0]
    assert traces() == 1


def test_a_decorated_function_can_be_an_argument(run, traces):
    @run.function
    def double(x):
        return x * 2

    @run.function
    def apply(function, x):
        return function(x)

    assert [apply(double, 1.0), apply(double, 2.0)] == [2.0, 4.0]
    assert traces() == 1


def test_methods_are_bound_as_python_binds_them(run):
    class Model:
        @run.function
        def value(self, x):
            """Say what."""
            return x

    model = Model()
    assert model.value == model.value
    assert model.value.__self__ is model
    assert Model.value.python_function.__name__ == "value"
    assert inspect.signature(model.value) == inspect.signature(lambda x: x)
    assert Model.value.__doc__ == "Say what."


def test_an_abstract_method_stays_abstract(run):
    class Base(ABC):
        @run.function
        @abstractmethod
        def value(self):
            raise NotImplementedError

    class Sub(Base):
        @run.function
        def value(self):
            return 1

    with pytest.raises(TypeError, match="abstract"):
        Base()
    assert Sub().value() == 1


# -- what can be decorated ------------------------------------------------------------------------------------------


def test_a_decorated_function_looks_like_the_function(run):
    def f(x: float, y=1) -> float:
        """Say what."""
        return x

    f.note = "mine"
    decorated = run.function(f, kind="loss")
    assert (decorated.__name__, decorated.__qualname__, decorated.__module__) == (f.__name__, f.__qualname__, __name__)
    assert (decorated.__doc__, decorated.note, decorated.__wrapped__) == ("Say what.", "mine", f)
    assert inspect.signature(decorated) == inspect.signature(f)
    assert decorated.python_function is f
    assert repr(decorated) == f"<zrun function {f.__qualname__} of kind 'loss'>"


def test_attributes_of_the_function_do_not_replace_those_of_the_decorator(run, traces):
    def f(x):
        return x

    f._body = f._owner = f._kind = f._name = f._manager = "mine"
    f.rows = f.why = f.kind = f.owner = "mine"
    decorated = run.function(f)
    assert decorated(1.0) == 1.0
    assert decorated.kind == "tensor"
    assert "the policy says" in str(run.explain(decorated, 1.0))
    assert traces() == 1


def test_a_function_may_be_decorated_twice(run):
    inner = run.function(lambda x: x * 2, kind="model")
    outer = run.function(inner, kind="loss")
    assert (outer.kind, inner.kind) == ("loss", "model")
    assert outer.python_function is inner
    assert outer(1.5) == 3.0
    assert len(run.backend.traced) == 1


def test_callable_objects_can_be_decorated(run, traces):
    class Model:
        mu = 2.0

        def __call__(self, x):
            return self.mu * x

    model = Model()
    model.note = "mine"
    f = run.function(model)
    assert not hasattr(f, "note")
    assert [f(1.0), f(2.0)] == [2.0, 4.0]
    assert traces() == 1
    assert str(run.explain(f, 1.0)).startswith(f"{Model.__qualname__} (kind 'tensor') runs as a graph")
    g = run.function(functools.partial(lambda x, y: x * y, y=3.0))
    assert g(2.0) == 6.0


async def coroutine_function():
    pass


def generator_function():
    yield


class AsyncCallable:
    async def __call__(self):
        pass


@pytest.mark.parametrize(
    "body",
    [coroutine_function, generator_function, functools.partial(generator_function), AsyncCallable()],
    ids=range(4),
)
def test_generators_and_coroutines_cannot_be_decorated(run, body):
    with pytest.raises(TypeError, match="a generator or coroutine function has no result that a graph could return"):
        run.function(body)


@pytest.mark.parametrize("wrapper", [staticmethod, classmethod])
def test_wrappers_of_functions_in_classes_go_above(run, wrapper):
    with pytest.raises(TypeError, match=rf"cannot decorate the {wrapper.__name__} .*Write @{wrapper.__name__} above"):
        run.function(wrapper(generator_function))


@pytest.mark.parametrize("body", ["loss", 3, CountingBackend], ids=str)
def test_only_functions_can_be_decorated(run, body):
    with pytest.raises(
        TypeError, match=r"function decorates functions and methods; got .* as in function\(kind='loss'\)"
    ):
        run.function(body)


def test_a_function_without_a_signature_cannot_be_decorated(run):
    class Silent:
        @property
        def __signature__(self):
            raise ValueError("nothing is known of it")

        def __call__(self):
            pass

    with pytest.raises(TypeError, match=r"function cannot decorate .*: nothing is known of it, so its arguments"):
        run.function(Silent())


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"kind": "los"},
            UnknownKindError,
            r"function .*<lambda>: unknown kind of function 'los'. Did you mean 'loss'\?",
        ),
        ({"kind": None}, PolicyError, "a kind of function is named by a string; got None"),
        ({"force_eager": 1}, PolicyError, "force_eager must be True or False; got 1"),
        ({"jit_compile": "yes"}, PolicyError, "jit_compile must be True or False; got 'yes'"),
        ({"max_graphs": 0}, ValueError, "max_graphs must be a positive whole number, or None for no limit; got 0"),
        ({"max_graphs": True}, ValueError, "max_graphs must be a positive whole number"),
        ({"max_graphs": 1.5}, ValueError, "max_graphs must be a positive whole number"),
        ({"static": ("z",)}, ValueError, "has no parameter 'z'"),
        ({"knd": "loss"}, TypeError, "knd"),
    ],
)
def test_options_are_checked(run, options, error, message):
    with pytest.raises(error, match=message):
        run.function(lambda x: x, **options)
    with pytest.raises(error, match=message):
        run.function(**options)(lambda x: x)


# -- copies and pickles ---------------------------------------------------------------------------------------------


@python_run.function
def module_function(x):
    return x * 2


class Model:
    def __init__(self, mu):
        self.mu = mu

    @python_run.function
    def value(self, x):
        return self.mu * x


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda f: pickle.loads(pickle.dumps(f))])
def test_decorated_functions_are_copied_and_pickled_by_name(copied):
    assert copied(module_function) is module_function
    assert copied(Model.value) is Model.value
    assert copied({"f": module_function})["f"] is module_function
    method = copied(Model(3.0).value)
    assert method(2.0) == 6.0
    assert method.__func__ is Model.value


def test_a_local_function_cannot_be_pickled_but_copied(run):
    @run.function
    def f(x):
        return x

    assert copy.deepcopy([f])[0] is f
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(f)
