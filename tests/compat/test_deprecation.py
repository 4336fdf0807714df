"""Each old name says, at the line that uses it, since when it is old, when it goes and what to write instead."""

from __future__ import annotations

import contextlib
import inspect
import re
import subprocess
import sys
import types
import typing
import warnings

import deprecation
import pytest

import zrun_compat
import zrun_tf as zrun
from zrun_compat import RunManager, ZrunDeprecationWarning, _deprecate, _switch, run
from zrun_compat._deprecate import Notice
from zrun_core.errors import EnvironmentVariableError, ZrunWarning


def block(change):
    with change:
        pass


def assign(owner, name, value):
    setattr(owner, name, value)


class Use(typing.NamedTuple):
    """One deprecated use: the code, and what the message has to hold besides the name."""

    do: typing.Callable
    removed_in: str
    instead: str


USES = {
    "with run.set_mode(graph=False)": Use(
        lambda: block(run.set_mode(graph=False)), "1.0", "with zrun.run.using(graph=False):"
    ),
    "with run.set_mode_default()": Use(
        lambda: block(run.set_mode_default()), "1.0", "with zrun.run.using(graph='auto', autograd=True):"
    ),
    "run.set_mode() without arguments": Use(lambda: run.set_mode() and None, "1.0", "Remove it"),
    "run.set_graph_mode(...)": Use(lambda: run.set_graph_mode("auto") and None, "1.0", "zrun.run.set_mode(graph=...)"),
    "run.set_autograd_mode(...)": Use(
        lambda: run.set_autograd_mode(True) and None, "1.0", "zrun.run.set_mode(autograd=...)"
    ),
    "run.get_graph_mode()": Use(run.get_graph_mode, "1.0", "zrun.run.current_policy_graph()"),
    "run.get_autograd_mode()": Use(run.get_autograd_mode, "1.0", "zrun.run.current_policy_autograd()"),
    "run.executing_eagerly()": Use(run.executing_eagerly, "1.0", "tf.executing_eagerly()"),
    "run.experimental_enable_eager(...)": Use(
        lambda: RunManager.experimental_enable_eager(True), "0.3", "zrun.run.set_mode(graph=False)"
    ),
    "run.experimental_is_eager": Use(
        lambda: run.experimental_is_eager, "0.3", "zrun.run.current_policy_graph() is False"
    ),
    "run.experimental_clear_caches()": Use(run.experimental_clear_caches, "0.3", "zrun.run.clear_graph_cache()"),
    "run.clear_graph_cache(call_gc=...)": Use(
        lambda: run.clear_graph_cache(call_gc=False), "1.0", "zrun.run.clear_graph_cache(release_memory=...)"
    ),
    "run.set_graph_cache_size(size)": Use(
        lambda: run.set_graph_cache_size(256), "1.0", "zrun.run.set_graph_cache_size(graphs=...)"
    ),
    "run.aquire_cpu(...)": Use(lambda: block(run.aquire_cpu(1)), "1.0", "with zrun.run.acquire_cpu(max_cpu) as cpus:"),
    "run.chunking.active": Use(lambda: run.chunking.active, "1.0", "zrun.run.chunksize is not None"),
    "run.chunking.active = ...": Use(
        lambda: assign(run.chunking, "active", False), "1.0", "zrun.run.set_chunksize(rows)"
    ),
    "run.chunking.max_n_points": Use(lambda: run.chunking.max_n_points, "1.0", "zrun.run.chunksize"),
    "run.chunking.max_n_points = ...": Use(
        lambda: assign(run.chunking, "max_n_points", 1_000_000), "1.0", "zrun.run.set_chunksize(rows)"
    ),
    "run.numeric_checks": Use(lambda: run.numeric_checks, "1.0", "zrun.run.policy.check_numerics"),
    "run.numeric_checks = ...": Use(
        lambda: assign(run, "numeric_checks", False), "1.0", "with zrun.run.using(check_numerics=...):"
    ),
    "run.check_numerics": Use(lambda: run.check_numerics, "1.0", "zrun.run.policy.check_numerics"),
    "run.check_numerics = ...": Use(
        lambda: assign(run, "check_numerics", False), "1.0", "with zrun.run.using(check_numerics=...):"
    ),
}
EACH_USE = pytest.mark.parametrize(("what", "use"), USES.items(), ids=USES)


@pytest.fixture(autouse=True)
def nothing_was_warned_of(monkeypatch):
    """As in a new process."""
    monkeypatch.setattr(_deprecate, "_warned", set())


@pytest.fixture(autouse=True)
def mode_is_put_back():
    yield
    zrun.run.set_mode_default()


def test_every_notice_of_the_shim_is_tested_here(notices):
    assert {*notices} == {*USES}


@EACH_USE
def test_the_message(what, use):
    with pytest.warns(ZrunDeprecationWarning) as caught:
        use.do()
    (warning,) = caught
    assert str(warning.message).startswith(
        f"{what} is deprecated as of zrun-compat 0.1 and will be removed in zrun-compat {use.removed_in}. "
    )
    assert use.instead in str(warning.message)
    assert str(warning.message).endswith("(after `import zrun_tf as zrun`).") is (
        "zrun." in use.instead or "tf." in use.instead
    )
    # Check that everybody is shown it, not only the authors of the code that runs.
    assert issubclass(ZrunDeprecationWarning, (FutureWarning, ZrunWarning))
    assert not issubclass(ZrunDeprecationWarning, DeprecationWarning)


@EACH_USE
@deprecation.fail_if_not_removed
def test_no_old_name_is_past_its_removal(what, use):
    # Fails in the release that was to remove the name: move it to what is gone for good, then.
    use.do()


@EACH_USE
def test_a_name_past_its_removal_would_fail(what, use, monkeypatch):
    monkeypatch.setattr(_deprecate, "__version__", f"{use.removed_in}.0")
    with pytest.raises(AssertionError, match="should be removed"):
        deprecation.fail_if_not_removed(use.do)()


@pytest.mark.parametrize(
    ("version", "removed_in", "overdue"),
    [
        ("0.1.0", "0.3", False),
        ("0.2.9", "0.3", False),
        ("0.3.0", "0.3", True),
        ("0.3.dev1", "0.3", True),
        ("0.3rc1", "0.3", True),
        ("0.10.0", "0.3", True),
        ("0.10.0", "1.0", False),
        ("1.0.0", "1.0", True),
        ("1.0", "1.0.1", False),
    ],
)
def test_what_is_overdue(version, removed_in, overdue, monkeypatch):
    monkeypatch.setattr(_deprecate, "__version__", version)
    notice = Notice("run.old()", "Write `zrun.run.new()`", removed_in)
    assert notice.overdue is overdue
    assert ("unsupported" in notice.text) is overdue


def test_type_checkers_and_editors_see_it(decorated):
    # PEP 702: the sentence that a type checker shows is the one of the warning.
    assert {name for name in decorated if not name.endswith("= ...")} >= {"run.get_graph_mode()", "run.numeric_checks"}
    for what, function in decorated.items():
        assert re.match(r"Write `.*`", function.__deprecated__), what
        assert function.__deprecated__ in _deprecate.notice(function).text
        assert function.__doc__ or what.endswith("= ...")


def test_names_that_zrun_has_too_do_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run.set_mode(graph=False)
        run.set_mode(True, False)
        run.set_mode_default()
        run.clear_graph_cache()
        run.clear_graph_cache(release_memory=False)
        run.set_graph_cache_size(graphs=256)
        assert [run.mode, run.current_policy_graph(), run.current_policy_autograd()]
        assert [run.n_cpu, run.chunksize, run.chunking, run.MAX_CHUNK_SIZE, run.DEFAULT_MODE]
        run.assert_executing_eagerly()
        assert run(1) == 1


# -- where, and how often ---------------------------------------------------------------------------------------------


def old_names():
    run.get_graph_mode()
    with run.set_mode(graph=False):
        _ = run.experimental_is_eager
    run.numeric_checks = False
    with contextlib.ExitStack() as stack:
        stack.enter_context(run.set_mode(graph=True))
        stack.enter_context(run.aquire_cpu(1))
    RunManager.experimental_enable_eager(False)


def test_it_points_at_the_line_of_the_caller():
    with pytest.warns(ZrunDeprecationWarning) as caught:
        old_names()
    assert [warning.filename for warning in caught] == [__file__] * 7
    first = old_names.__code__.co_firstlineno
    assert [warning.lineno - first for warning in caught] == [1, 2, 3, 4, 6, 7, 8]


@pytest.mark.parametrize(
    ("action", "times"), [("default", 2), ("once", 1), ("module", 1), ("always", 6), ("ignore", 0)]
)
def test_once_per_place_unless_the_filters_say_otherwise(action, times):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter(action)
        for _ in range(3):
            # This makes Python forget where it has warned.
            with warnings.catch_warnings():
                pass
            run.get_autograd_mode()
            run.get_autograd_mode()
    # Python's own memory, which "once" and "module" rely on, is what it forgets.
    assert len(caught) >= times if action in {"once", "module"} else len(caught) == times


def test_different_names_on_one_line_are_different_places():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(2):
            assert [run.get_graph_mode(), run.get_autograd_mode()] == ["auto", True]
    assert len(caught) == 2


def test_the_filter_of_a_user_is_followed():
    def action(*filters):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("ignore")
            for arguments in filters:
                warnings.filterwarnings(*arguments[:2], **arguments[2])
            run.get_graph_mode()
        return len(caught)

    assert action() == 0
    assert action(("always", r"run\.get_graph_mode", {})) == 1
    assert action(("always", r"run\.set_graph_mode", {})) == 0
    assert action(("always", "", {"category": FutureWarning})) == 1
    assert action(("always", "", {"category": DeprecationWarning})) == 0
    assert action(("always", "", {"module": re.escape(__name__)})) == 1
    assert action(("always", "", {"module": "zrun_compat"})) == 0
    # Python's own first filters hold a plain string in place of a pattern.
    with warnings.catch_warnings(record=True) as caught:
        warnings.filters[:0] = [("always", None, FutureWarning, __name__, 0)]
        run.get_graph_mode()
        warnings.filters[:1] = [("ignore", None, FutureWarning, __name__, 0)]
        run.get_graph_mode()
        warnings.filters[:] = []
        run.get_graph_mode()
    assert len(caught) == 2


# -- ZRUN_DEPRECATIONS ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "mode"),
    [(None, "warn"), ("", "warn"), (" ", "warn"), ("warn", "warn"), ("ignore", "ignore"), (" ERROR ", "error")],
)
def test_what_the_variable_says(text, mode):
    assert _switch.read_switch({} if text is None else {"ZRUN_DEPRECATIONS": text}) == mode


@pytest.mark.parametrize("text", ["no", "errors", "0", "default"])
def test_another_value_is_an_error_when_the_package_is_imported(text):
    with pytest.raises(
        EnvironmentVariableError, match=f"ZRUN_DEPRECATIONS must be one of ignore, warn, error; got '{text}'"
    ):
        _switch.read_switch({"ZRUN_DEPRECATIONS": text})


@pytest.mark.parametrize(("text", "code"), [("nonsense", 1), ("error", 0)])
def test_the_variable_is_read_with_the_package(text, code, monkeypatch):
    monkeypatch.setenv("ZRUN_DEPRECATIONS", text)
    source = "import zrun_compat; print(zrun_compat._switch.MODE)"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == code
    assert ("EnvironmentVariableError: Environment variable ZRUN_DEPRECATIONS" in done.stderr) is (code == 1)


@EACH_USE
def test_ignore(what, use, monkeypatch):
    monkeypatch.setattr(_switch, "MODE", "ignore")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        use.do()


@EACH_USE
@pytest.mark.parametrize("how", ["variable", "filter"])
def test_error(what, use, how, monkeypatch, process_state):
    before = process_state()
    with warnings.catch_warnings(record=True) as caught:
        if how == "variable":
            # Whatever the filters say.
            warnings.simplefilter("ignore")
            monkeypatch.setattr(_switch, "MODE", "error")
        else:
            warnings.simplefilter("error")
        for _ in range(2):
            with pytest.raises(ZrunDeprecationWarning, match=re.escape(use.instead)):
                use.do()
    assert caught == []
    # Check that nothing was done.
    assert process_state() == before


# -- hasattr ----------------------------------------------------------------------------------------------------------

ATTRIBUTES = [
    (run, "experimental_is_eager"),
    (run, "numeric_checks"),
    (run, "check_numerics"),
    (run.chunking, "active"),
    (run.chunking, "max_n_points"),
]


@pytest.mark.parametrize(("owner", "name"), ATTRIBUTES)
@pytest.mark.parametrize("how", ["ignore", "warn", "error", "filter"])
def test_hasattr_tells_the_truth_and_never_raises(owner, name, how, monkeypatch):
    # This used to raise, for a name that was there.
    monkeypatch.setattr(_switch, "MODE", "warn" if how == "filter" else how)
    with warnings.catch_warnings():
        warnings.simplefilter("error" if how == "filter" else "ignore")
        assert hasattr(owner, name)
        assert getattr(owner, name) is not None
        assert dict(inspect.getmembers(owner))[name] is not None
        assert not hasattr(owner, "not_" + name)


@pytest.mark.parametrize("how", ["warn", "error", "filter"])
@pytest.mark.parametrize("name", zrun_compat.__all__)
def test_the_names_of_the_package_are_there(name, how, monkeypatch):
    monkeypatch.setattr(_switch, "MODE", "warn" if how == "filter" else how)
    assert hasattr(zrun_compat, name)


def test_the_names_of_the_package_are_loaded_when_asked_for(monkeypatch):
    for name in zrun_compat.__all__:
        there = getattr(zrun_compat, name)
        monkeypatch.delitem(vars(zrun_compat), name)
        assert getattr(zrun_compat, name) is there
    assert isinstance(zrun_compat.execution, types.ModuleType)
