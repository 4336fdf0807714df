"""Differences between keys in words, hints, and the notice of retrace storms."""

from __future__ import annotations

import gc
import threading

import pytest

from zrun_core import _watch
from zrun_core._explain import Explanation, differences, nearest
from zrun_core._owner import CacheOwner
from zrun_core._structure import KeyRow, flatten, rows
from zrun_core._watch import RetraceWatch


def dynamic(path, text):
    return KeyRow(path, text, False)


def static(path, text):
    return KeyRow(path, text, True)


DATA = dynamic("data.weights", "float64 (1000,)")
ORDER = static("self.order", "3")
UNCHANGED = static("self.second.order", "3")

SENTENCES = [
    # A shape: the shared dtype is not repeated.
    (DATA, dynamic("data.weights", "float64 (1001,)"), "data.weights: float64 (1000,) -> (1001,)", "pad data.weights"),
    (
        dynamic("x", "float64 (3, 4)"),
        dynamic("x", "float64 (3, 5)"),
        "x: float64 (3, 4) -> (3, 5)",
        "pad x to a fixed shape, or accept one trace per shape",
    ),
    (
        dynamic("x", "float64 (3,)"),
        dynamic("x", "float32 (3,)"),
        "x: float64 (3,) -> float32 (3,)",
        "convert x to one dtype before the call",
    ),
    (dynamic("x", "float64 (3,)"), dynamic("x", "float32 (4,)"), "x: float64 (3,) -> float32 (4,)", ""),
    (dynamic("x", "float"), dynamic("x", "float64 (3,)"), "x: float -> float64 (3,)", ""),
    (
        ORDER,
        static("self.order", "4"),
        "self.order: 3 -> 4, static",
        "pass self.order as a float or an array to make it an input",
    ),
    (static("edge", "2.5"), static("edge", "-1e-3"), "edge: 2.5 -> -1e-3, static", "pass edge as a float"),
    (
        static("name", "'a (b)'"),
        static("name", "'a (c)'"),
        "name: 'a (b)' -> 'a (c)', static",
        "each text given as name has a graph of its own; leave it out where the result does not depend on it",
    ),
    (static("name", "b'a'"), static("name", "b'b'"), "name: b'a' -> b'b', static", "each text given as name"),
    (static("name", "'a'"), static("name", "None"), "name: 'a' -> None, static", ""),
    (static("flag", "True"), static("flag", "False"), "flag: True -> False, static", ""),
    (
        static("self", "the object Model at 0x7f01"),
        static("self", "the object Model at 0x7f02"),
        "self: the object Model at 0x7f01 -> at 0x7f02, static",
        "each object given as self has graphs of its own; make its class a dataclass or a @struct class",
    ),
    (static("n", "3"), dynamic("n", "float"), "n: 3 (static) -> float (an input)", ""),
    (None, dynamic("mask", "bool (3,)"), "mask: added, bool (3,) (an input)", ""),
    (None, static("mask", "None"), "mask: added, None (static)", ""),
    (static("mask", "None"), None, "mask: missing, was None (static)", ""),
]


@pytest.mark.parametrize(("old", "new", "sentence", "hint"), SENTENCES)
def test_a_difference_is_a_sentence_with_a_hint(old, new, sentence, hint):
    (difference,) = differences((UNCHANGED, *filter(None, [old])), (UNCHANGED, *filter(None, [new])))
    assert str(difference) == sentence
    assert difference.hint.startswith(hint)
    assert bool(difference.hint) == bool(hint)


def test_rows_of_real_keys_are_understood():
    # Check against what the structure of real objects says, not only against rows made for the test.
    class Opaque:
        pass

    one, two = Opaque(), Opaque()
    old = rows(flatten({"n": 3, "x": 1.0, "o": one}).key, "data")
    new = rows(flatten({"n": 4, "x": 2.0, "o": two}).key, "data")
    changed = differences(old, new)
    assert [each.path for each in changed] == ["data['n']", "data['o']"]
    assert str(changed[0]) == "data['n']: 3 -> 4, static"
    assert [bool(each.hint) for each in changed] == [True, True]


def test_differences_come_in_the_order_of_the_new_key():
    old = (static("a", "1"), static("gone", "0"), static("b", "1"))
    new = (static("b", "2"), static("fresh", "0"), static("a", "2"))
    assert [each.path for each in differences(old, new)] == ["b", "fresh", "a", "gone"]
    assert differences(old, old) == ()


def test_the_nearest_key_has_the_fewest_differences():
    wanted = (DATA, ORDER, static("name", "'a'"))
    far = (dynamic("data.weights", "float64 (7,)"), static("self.order", "5"), static("name", "'a'"))
    near = (DATA, static("self.order", "5"), static("name", "'a'"))
    told = nearest(wanted, [far, near])
    assert (told.seen, told.nearest, told.reason) == (2, 1, "self.order: 5 -> 3, static")


def test_of_equally_near_keys_the_first_is_taken():
    wanted = (ORDER,)
    told = nearest(wanted, [(static("self.order", "4"),), (static("self.order", "5"),)])
    assert told.reason == "self.order: 4 -> 3, static"


@pytest.mark.parametrize(
    ("explanation", "reason"),
    [
        (nearest((ORDER,), []), "first call"),
        (nearest((ORDER,), [(ORDER,)]), "the keys differ in a part that has no row"),
        (Explanation(seen=3), "called before, but its keys have no description"),
        (Explanation(hit=True), "found"),
        (Explanation(dropped="max_entries=1", nearest=0, seen=1), "its graph was dropped: max_entries=1"),
        (
            nearest((DATA, ORDER), [(dynamic("data.weights", "float64 (2,)"), static("self.order", "4"))]),
            "data.weights: float64 (2,) -> (1000,); self.order: 4 -> 3, static",
        ),
    ],
)
def test_each_outcome_has_a_reason_in_one_line(explanation, reason):
    assert explanation.reason == reason


def test_explanations_print_with_cost_and_hints():
    told = nearest((static("a", "1"), static("b", "1")), [(static("a", "2"), static("b", "2"))])
    assert str(told).splitlines() == [
        "miss: a: 2 -> 1, static; b: 2 -> 1, static",
        "  pass a as a float or an array to make it an input",
        "  pass b as a float or an array to make it an input",
    ]
    assert str(Explanation(hit=True, seconds=0.1234)) == "hit\n  tracing it took 0.123 s"
    assert "  tracing the nearest graph took 2 s" in str(Explanation(seen=1, nearest=0, seconds=2.0))
    assert "  tracing it took 2 s" in str(Explanation(seen=1, nearest=0, dropped="cleared", seconds=2.0))


def test_a_hint_is_given_once():
    changed = differences((static("a", "1"),), (static("a", "2"),))
    assert len(Explanation(differences=(*changed, *changed)).hints) == 1


# -- RetraceWatch ----------------------------------------------------------------------------------------------------


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def sized(n, order=3):
    return (dynamic("data", f"float64 ({n},)"), static("order", str(order)))


def test_the_watch_is_quiet_up_to_its_limit_and_speaks_once():
    watch, owner = RetraceWatch(clock=Clock()), CacheOwner("Model.loss")
    assert [watch.note(owner, sized(n)) for n in range(5)] == [None] * 5
    assert watch.note(owner, sized(5)) == (
        "Model.loss was traced 6 times within 0.01 s; data changed 5 times, last data: float64 (4,) -> (5,). "
        "Next step: pad data to a fixed shape, or accept one trace per shape."
    )
    assert [watch.note(owner, sized(n)) for n in range(20)] == [None] * 20


def test_without_once_every_build_over_the_limit_is_told():
    # Check what a policy that refuses retraces needs; it does not use up the one warning.
    watch, owner = RetraceWatch(limit=2, clock=Clock()), CacheOwner("loss")
    texts = [watch.note(owner, sized(n), once=False) for n in range(5)]
    assert [bool(text) for text in texts] == [False, False, True, True, True]
    assert watch.note(owner, sized(9))
    assert watch.note(owner, sized(10)) is None


def test_builds_long_ago_do_not_count():
    clock = Clock()
    watch, owner = RetraceWatch(limit=2, seconds=10, clock=clock), CacheOwner("loss")
    for n in range(20):
        assert watch.note(owner, sized(n)) is None
        clock.now += 5
    assert watch.note(owner, sized(50)) is None
    clock.now += 4
    assert "3 times within 9 s" in watch.note(owner, sized(51))


def test_each_function_is_counted_for_itself():
    watch, one, two = RetraceWatch(limit=2, clock=Clock()), CacheOwner("loss"), CacheOwner("loss")
    for n in range(2):
        assert watch.note(one, sized(n)) is None
        assert watch.note(two, sized(n)) is None
    assert watch.note(one, sized(7))
    assert watch.note(two, sized(7))


def test_the_argument_that_changes_most_is_named():
    watch, owner = RetraceWatch(limit=3, clock=Clock()), CacheOwner("loss")
    for n, order in [(1, 1), (1, 2), (2, 3)]:
        watch.note(owner, sized(n, order))
    assert watch.note(owner, sized(2, 4)) == (
        "loss was traced 4 times within 0.01 s; order changed 3 times, last order: 3 -> 4, static. "
        "Next step: pass order as a float or an array to make it an input."
    )


def test_a_change_without_known_remedy_has_no_hint():
    watch, owner = RetraceWatch(limit=1, clock=Clock()), CacheOwner("loss")
    watch.note(owner, (static("flag", "True"),))
    assert watch.note(owner, (static("flag", "False"),)).endswith("last flag: True -> False, static.")


def test_where_nothing_changes_the_cache_is_named():
    # Check that the arguments are not blamed if graphs were dropped in between.
    watch, owner = RetraceWatch(limit=1, clock=Clock()), CacheOwner("loss")
    watch.note(owner, sized(1))
    text = watch.note(owner, sized(1))
    assert "each time for the same arguments: its graphs were dropped in between" in text
    assert "run.cache_info()" in text


def test_functions_are_held_weakly():
    watch, owner = RetraceWatch(), CacheOwner("loss")
    watch.note(owner, sized(1))
    del owner
    gc.collect()
    assert len(watch._histories) == 0


def test_threads_share_a_watch():
    watch, owner, texts = RetraceWatch(limit=100, clock=Clock()), CacheOwner("loss"), []

    def work():
        texts.extend(text for n in range(100) if (text := watch.note(owner, sized(n))) is not None)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(texts) == 1


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"limit": 0}, "limit must be a positive number of builds; got 0"),
        ({"seconds": 0}, "seconds must be a positive time; got 0"),
        ({"seconds": float("nan")}, "seconds must be a positive time; got nan"),
    ],
)
def test_wrong_limits_are_named(options, text):
    with pytest.raises(ValueError, match=text):
        RetraceWatch(**options)


def test_the_module_has_no_state_of_its_own():
    assert not [name for name, value in vars(_watch).items() if isinstance(value, RetraceWatch)]
