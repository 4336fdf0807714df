"""Events, their listeners, and the log."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import warnings

import pytest

from zrun_core import _events, _logging
from zrun_core._events import EVENT_NAMES, Event, configure_logging, emit, listen, listening
from zrun_core.errors import ZrunWarning

BUILD = Event("build", "Model.loss", "loss", "first call", 0.25)
RETRACE = Event("build", "Model.loss", "loss", "x: 1 -> 2, static", 0.5, retrace=True)
HIT = Event("hit", "Model.loss", "loss")


@pytest.fixture(autouse=True)
def nothing_stays():
    """Each test leaves listeners and the logger as it found them."""
    logger = logging.getLogger("zrun")

    def state():
        return (
            _events._audience.listeners,
            _events._audience.wanted,
            logger.handlers[:],
            logger.level,
            logger.propagate,
        )

    before = state()
    yield
    assert state() == before


def test_events_reach_those_who_asked_for_them():
    everything, builds, two = [], [], []
    with listen(everything.append), listen(builds.append, "build"), listen(two.append, "hit", "evict"):
        emit(BUILD)
        emit(HIT)
    emit(BUILD)
    assert (everything, builds, two) == ([BUILD, HIT], [BUILD], [HIT])


def test_listening_is_known_by_event():
    assert not listening()
    with listen(print, "build"):
        assert (listening(), listening("build"), listening("hit")) == (True, True, False)
        with listen(print):
            assert all(listening(name) for name in EVENT_NAMES)
        assert not listening("hit")
    assert not listening()


def test_a_listener_does_nothing_until_it_is_entered():
    listener = listen(print)
    assert not listening()
    assert repr(listener).startswith("listen(print, 'build', 'chunks', 'eager'")


def test_a_listener_can_be_entered_again_and_hears_each_event_once():
    heard = []
    listener = listen(heard.append, "build")
    with listener:
        with listener:
            emit(BUILD)
        emit(BUILD)
    emit(BUILD)
    with listener:
        emit(BUILD)
    assert len(heard) == 3


def test_listeners_may_leave_in_any_order_and_once_too_often():
    first, second = [], []
    one, two = listen(first.append, "build"), listen(second.append, "build")
    one.__enter__()
    two.__enter__()
    one.__exit__(None, None, None)
    emit(BUILD)
    # As where an interrupted end of a block is ended again.
    one.__exit__(None, None, None)
    emit(BUILD)
    two.__exit__(None, None, None)
    assert (first, second) == ([], [BUILD] * 2)
    assert not listening()


def test_a_listener_leaves_also_on_error():
    with pytest.raises(ZeroDivisionError), listen(print):
        raise ZeroDivisionError
    assert not listening()


def test_events_of_other_threads_are_heard():
    heard = []
    with listen(heard.append):
        thread = threading.Thread(target=emit, args=(BUILD,))
        thread.start()
        thread.join()
    assert heard == [BUILD]


def test_a_failing_callback_disturbs_neither_the_computation_nor_the_others():
    heard = []

    def broken(event):
        raise KeyError("oops")

    with (
        listen(broken),
        listen(heard.append),
        pytest.warns(ZrunWarning, match=r"broken raised KeyError: 'oops'") as said,
    ):
        emit(BUILD)
    assert heard == [BUILD]
    assert "on the event 'build' of Model.loss. The computation went on" in str(said[0].message)


def test_a_callback_without_a_name_is_shown_as_it_is():
    class Broken:
        def __call__(self, event):
            raise ValueError

        def __repr__(self):
            return "<broken>"

    with listen(Broken()), pytest.warns(ZrunWarning, match="The listener <broken> raised ValueError"):
        emit(BUILD)


def test_an_interrupt_in_a_callback_passes_through():
    def stop(event):
        raise KeyboardInterrupt

    with listen(stop), pytest.raises(KeyboardInterrupt):
        emit(BUILD)


def test_a_callback_may_stop_listening():
    heard = []

    def once(event):
        heard.append(event)
        listener.__exit__(None, None, None)

    listener = listen(once)
    listener.__enter__()
    emit(BUILD)
    emit(BUILD)
    assert heard == [BUILD]


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((3,), TypeError, "listen takes a callable; got 3 of type int"),
        ((print, "biuld"), ValueError, "listen: there is no event 'biuld'. Did you mean 'build'\\?"),
        ((print, "zzz"), ValueError, "there is no event 'zzz'. The events are build, hit"),
        ((print, None), ValueError, "there is no event None"),
    ],
)
def test_wrong_arguments_are_named(arguments, error, text):
    with pytest.raises(error, match=text):
        listen(*arguments)


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (BUILD, "traced Model.loss (loss) in 0.25 s: first call"),
        (HIT, "ran from the cache Model.loss (loss)"),
        (Event("evict", "f", "tensor", "max_entries=1"), "evicted a graph of f (tensor): max_entries=1"),
        (Event("invalidate", "f", "tensor", "M.x changed"), "dropped a graph of f (tensor): M.x changed"),
        (Event("inline", "f", "tensor"), "inlined f (tensor)"),
        (Event("eager", "f", "tensor", "force_eager=True"), "ran eagerly f (tensor): force_eager=True"),
        (Event("gradient", "f", "hessian", "numerical"), "differentiated f (hessian): numerical"),
        (Event("chunks", "f", "loss", "3 chunks of 4 rows"), "went in chunks through f (loss): 3 chunks of 4 rows"),
    ],
)
def test_events_print_as_a_line(event, text):
    assert str(event) == text


def test_an_event_is_frozen():
    with pytest.raises(AttributeError):
        BUILD.seconds = 1.0


# -- logging ---------------------------------------------------------------------------------------------------------


def test_events_go_to_the_log_at_levels_that_make_sense(caplog):
    with caplog.at_level(logging.DEBUG, logger="zrun"):
        for event in (BUILD, RETRACE, HIT, Event("evict", "f", "tensor", "cleared"), Event("eager", "f", "tensor")):
            emit(event)
    assert [(record.levelname, record.zrun_event.name) for record in caplog.records] == [
        ("DEBUG", "build"),
        ("INFO", "build"),
        ("DEBUG", "hit"),
        ("INFO", "evict"),
        ("DEBUG", "eager"),
    ]
    assert caplog.records[1].getMessage() == "traced Model.loss (loss) in 0.5 s: x: 1 -> 2, static"


def test_a_log_without_level_gets_nothing(caplog):
    emit(RETRACE)
    assert caplog.records == []


@pytest.mark.parametrize(
    ("choice", "shown"),
    [
        ("retrace", ["retrace"]),
        ("build", ["build", "retrace"]),
        ("debug", ["build", "retrace", "eager"]),
        ("all", ["build", "retrace", "hit", "eager", "gradient", "chunks"]),
        ("off", []),
    ],
)
def test_each_choice_prints_its_events(choice, shown, capsys, caplog):
    events = {"build": BUILD, "retrace": RETRACE, "hit": HIT, "eager": Event("eager", "f", "tensor")}
    events |= {name: Event(name, "f", "loss") for name in ("gradient", "chunks")}
    configure_logging(choice)
    try:
        assert listening("hit") is (choice == "all")
        assert listening("eager") is (choice in ("debug", "all"))
        for event in events.values():
            emit(event)
        logging.getLogger("zrun").warning("not an event")
    finally:
        configure_logging("off")
    assert capsys.readouterr().err.splitlines() == [f"zrun: {events[name]}" for name in shown]
    # Check that the root logger does not print it all a second time.
    assert len(caplog.records) == (1 if choice == "off" else 0)


def test_off_restores_the_logger(capsys):
    logger = logging.getLogger("zrun")
    logger.setLevel(logging.ERROR)
    try:
        configure_logging("all")
        configure_logging("build")
        assert len(logger.handlers) == 1
        configure_logging("off")
        configure_logging("off")
        assert (logger.level, logger.propagate, logger.handlers) == (logging.ERROR, True, [])
        emit(RETRACE)
    finally:
        logger.setLevel(logging.NOTSET)
    assert capsys.readouterr().err == ""
    assert not listening()


def test_a_wrong_choice_is_named_and_changes_nothing():
    configure_logging("retrace")
    try:
        with pytest.raises(ValueError, match=r"choice must be one of off, retrace, build, debug, all; got 'verbose'"):
            configure_logging("verbose")
        assert len(logging.getLogger("zrun").handlers) == 1
    finally:
        configure_logging("off")


def test_listeners_come_before_the_warning_that_one_failed(caplog):
    def broken(event):
        raise KeyError("oops")

    with listen(broken), caplog.at_level(logging.DEBUG, logger="zrun"), warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ZrunWarning):
            emit(BUILD)
    assert len(caplog.records) == 1


def test_logging_is_imported_only_by_those_who_use_it():
    program = (
        "import sys; from zrun_core._events import Event, emit, listen\n"
        "heard = []\n"
        "with listen(heard.append): emit(Event('build', 'f', 'tensor'))\n"
        "assert len(heard) == 1\n"
        "assert 'logging' not in sys.modules, 'logging was imported'\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_the_log_knows_every_event():
    assert set(EVENT_NAMES) == _logging._SHOWN["all"]


class Closed:
    def write(self, text):
        raise BrokenPipeError


@pytest.mark.parametrize("stream", [None, Closed()], ids=["none", "closed"])
def test_a_log_that_cannot_be_printed_disturbs_nobody(stream, monkeypatch):
    # This used to end the computation that caused the event.
    heard = []
    configure_logging("all")
    try:
        with listen(heard.append):
            monkeypatch.setattr(sys, "stderr", stream)
            emit(BUILD)
            monkeypatch.undo()
    finally:
        configure_logging("off")
    assert heard == [BUILD]
