"""The policy as a value, its validation, and the kinds of function it speaks of."""

from __future__ import annotations

import copy
import itertools
import pickle
from collections import ChainMap
from dataclasses import FrozenInstanceError, fields
from threading import Thread

import pytest

from zrun_core._kinds import KINDS, Kinds, find_kind
from zrun_core._policy import DEFAULT_MODE, FrozenMapping, Policy, checked_parts
from zrun_core.errors import PolicyError, UnknownKindError

CHANGES = [
    {"graph": True},
    {"graph": False},
    {"graph": {"model": True, "loss": False}},
    {"graph": {"model.*": True}},
    {"graph": {}},
    {"autograd": False},
    {"jit": True},
    {"jit": {"loss": True}},
    {"check_numerics": True},
    {"chunksize": 1000},
    {"chunksize": "auto"},
    {"retrace": "allow"},
    {"retrace": "error"},
]

INVALID = [
    ("graph", "nonsense", "graph must be True, False, 'auto' or a dict of kind -> bool"),
    ("graph", None, "graph must be"),
    ("graph", 1, "graph must be .* got 1"),
    ("graph", 0.0, "graph must be"),
    ("graph", [("loss", True)], "graph must be"),
    ("graph", {"loss": 1}, r"graph\['loss'\] must be True or False; got 1"),
    ("graph", {"loss": "auto"}, r"graph\['loss'\] must be True or False"),
    ("graph", {1: True}, "named by a string; got 1"),
    ("graph", {"los": True}, r"unknown kind of function 'los'. Did you mean 'loss'\?"),
    ("graph", {"model..*": True}, r"unknown kind of function 'model..\*'"),
    ("graph", {"modle.*": True}, r"unknown kind of function 'modle.\*'. Did you mean 'model'\?"),
    ("graph", {"model.": True}, "unknown kind of function 'model.'"),
    ("graph", {"": True}, "unknown kind of function ''"),
    ("autograd", 0, "autograd must be True or False; got 0 of type int"),
    ("autograd", "no", "autograd must be True or False"),
    ("jit", "auto", "jit must be True, False or a dict"),
    ("jit", {"modl": True}, "Did you mean 'model'"),
    ("check_numerics", None, "check_numerics must be True or False; got None"),
    ("chunksize", 0, "chunksize must be a positive number of rows, 'auto', or None"),
    ("chunksize", -1, "chunksize must be"),
    ("chunksize", True, "chunksize must be .* got True"),
    ("chunksize", 1.5, "chunksize must be"),
    ("chunksize", "all", "chunksize must be"),
    ("retrace", "never", "retrace must be one of 'allow', 'warn', 'error'; got 'never'"),
    ("retrace", None, "retrace must be"),
    ("retrace", ["warn"], "retrace must be"),
]


def test_the_default_policy():
    assert Policy() == Policy("auto", True, False, False, None, "warn")
    assert dict(DEFAULT_MODE) == {"graph": "auto", "autograd": True}


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_changed_returns_a_new_policy_and_leaves_the_old_one(changes):
    before = Policy(autograd=True)
    after = before.changed(**changes)
    assert before == Policy()
    assert after != before
    assert after == Policy(**changes)
    assert hash(after) == hash(Policy(**changes))
    (name,) = changes
    unchanged = [field.name for field in fields(Policy) if field.name != name]
    assert [getattr(after, part) for part in unchanged] == [getattr(before, part) for part in unchanged]


@pytest.mark.parametrize(("part", "value", "message"), INVALID, ids=str)
@pytest.mark.parametrize(
    "make", [lambda **c: Policy(**c), lambda **c: Policy().changed(**c), lambda **c: checked_parts(c)]
)
def test_an_invalid_part_is_refused_with_its_name_and_value(make, part, value, message):
    with pytest.raises(PolicyError, match=message) as raised:
        make(**{part: value})
    assert isinstance(raised.value, ValueError)


def test_an_unknown_part_is_refused():
    with pytest.raises(TypeError, match="no part 'grpah'; its parts are graph, autograd"):
        Policy().changed(grpah=True)
    with pytest.raises(TypeError, match="grpah"):
        Policy(grpah=True)


def test_a_policy_cannot_be_changed():
    policy = Policy(graph={"model": True})
    with pytest.raises(FrozenInstanceError):
        policy.graph = False
    with pytest.raises(TypeError):
        policy.graph["model"] = False
    with pytest.raises(TypeError):
        policy.mode["graph"] = False
    with pytest.raises(TypeError):
        policy.mode["graph"]["model"] = False
    assert policy == Policy(graph={"model": True})


def test_the_mapping_that_was_given_can_change_without_the_policy():
    given = {"model": True}
    policy = Policy(graph=given)
    given["loss"] = False
    assert policy.graph == {"model": True}
    assert repr(policy.graph) == "{'model': True}"


def test_any_mapping_will_do():
    assert Policy(graph=ChainMap({"model": True}, {"loss": False})) == Policy(graph={"model": True, "loss": False})


def test_policies_are_equal_whatever_the_order_of_kinds():
    one, other = Policy(graph={"model": True, "loss": False}), Policy(graph={"loss": False, "model": True})
    assert one == other
    assert hash(one) == hash(other)
    assert one != Policy(graph={"model": True})
    assert Policy(graph=True) != Policy(graph={"model": True})


@pytest.mark.parametrize("changes", CHANGES, ids=str)
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))])
def test_a_policy_can_be_copied_and_pickled(changes, copied):
    policy = Policy(**changes)
    assert copied(policy) == policy


def test_a_mapping_that_is_frozen_already_is_taken_as_it_is():
    frozen = Policy(graph={"model": True}).graph
    assert isinstance(frozen, FrozenMapping)
    assert len(frozen) == 1
    assert Policy(jit=frozen).jit is frozen


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        ("auto", {"loss": True, "sample": True, "tensor": True, "model": False, "model.pdf": False, "loss.nll": True}),
        (True, {"loss": True, "model": True, "model.pdf": True}),
        (False, {"loss": False, "sample": False, "tensor": False, "model": False}),
        ({"model": True}, {"model": True, "model.pdf": True, "loss": True, "sample": True}),
        ({"loss": False}, {"loss": False, "loss.nll": False, "model": False, "tensor": True}),
        ({"model.*": True}, {"model": False, "model.pdf": True, "model.pdf.fast": True, "loss": True}),
        ({"*": False}, {"loss": False, "sample": False, "tensor": False, "model": False, "model.pdf": False}),
        ({"*": True, "model": False}, {"loss": True, "model": False, "model.pdf": False}),
        ({"model": False, "model.*": True}, {"model": False, "model.pdf": True}),
        ({"model.pdf": False, "model.*": True}, {"model.pdf": False, "model.pdf.fast": False, "model.norm": True}),
        ({"m*d*l*": True, "model": False}, {"model": False, "model.pdf": False}),
        ({"*e*": False}, {"model": False, "sample": False, "tensor": False, "loss": True}),
    ],
    ids=str,
)
def test_which_kinds_build_a_graph(graph, expected):
    assert {kind: Policy(graph=graph).builds_graph(kind) for kind in expected} == expected


@pytest.mark.parametrize(
    ("jit", "expected"),
    [
        (True, {"loss": True, "model.pdf": True}),
        (False, {"loss": False, "model.pdf": False}),
        ({"loss": True}, {"loss": True, "loss.nll": True, "model": False}),
        ({"*": True, "model": False}, {"loss": True, "model": False, "model.pdf": False}),
    ],
    ids=str,
)
def test_which_kinds_are_compiled(jit, expected):
    assert {kind: Policy(jit=jit).compiles(kind) for kind in expected} == expected


@pytest.mark.parametrize("ask", [Policy().builds_graph, Policy().compiles, Policy(graph=True).builds_graph])
def test_asking_for_an_unknown_kind_raises_with_the_nearest_known_name(ask):
    with pytest.raises(UnknownKindError, match=r"unknown kind of function 'modle'. Did you mean 'model'\?") as raised:
        ask("modle")
    assert "run.define_kind('modle', graph=True)" in str(raised.value)
    with pytest.raises(PolicyError, match="named by a string; got 3"):
        ask(3)


@pytest.mark.parametrize("name", ["9lives", "model..pdf", ".model", "a b", "", "model*"])
def test_an_unknown_kind_that_could_not_be_defined_is_not_said_to_be_definable(name):
    with pytest.raises(UnknownKindError) as raised:
        Kinds().check(name, "here")
    assert f"define_kind({name!r}" not in str(raised.value)


def test_a_kind_is_looked_up_without_regard_to_the_order_of_the_mapping():
    said = {"*": True, "model": False, "model.*": True, "model.pdf": False, "mo*": True, "*del.pdf": True}
    kinds = ("model", "model.pdf", "model.norm", "model.pdf.fast", "loss", "moment")
    answers = {tuple(find_kind(dict(order), kind) for kind in kinds) for order in itertools.permutations(said.items())}
    assert answers == {(False, False, True, False, True, True)}


def test_what_no_name_fits_is_left_open():
    assert find_kind({"loss": True}, "model") is None
    assert find_kind({}, "model") is None
    assert find_kind({"model.*": True}, "model") is None


def test_a_kind_can_be_defined():
    kinds = Kinds()
    generation = kinds.generation
    kinds.define("profile", graph=False)
    assert kinds.names() == ("loss", "model", "profile", "sample", "tensor")
    assert kinds.auto("profile") is False
    assert kinds.auto("profile.fast") is False
    assert kinds.check("profile.fast", "here") == "profile.fast"
    assert kinds.generation > generation


def test_a_kind_below_another_may_differ_from_it():
    kinds = Kinds()
    kinds.define("model.pdf", graph=True)
    assert [kinds.auto(kind) for kind in ("model", "model.norm", "model.pdf", "model.pdf.fast")] == [
        False,
        False,
        True,
        True,
    ]


def test_defining_a_kind_again_needs_the_same_meaning():
    kinds = Kinds()
    kinds.define("profile", graph=False)
    kinds.define("profile", graph=False)
    with pytest.raises(PolicyError, match=r"already defined with graph=False; got graph=True.*run.set_mode") as raised:
        kinds.define("profile")
    assert "{'profile': True}" in str(raised.value)
    assert kinds.auto("profile") is False


@pytest.mark.parametrize("name", ["", "a-b", "a..b", ".a", "a.", "1a", "a*", None, 3])
def test_the_name_of_a_kind_is_checked(name):
    kinds = Kinds()
    with pytest.raises(PolicyError, match="name must be an identifier or several joined by dots"):
        kinds.define(name)
    assert kinds.names() == Kinds().names()


def test_the_meaning_of_a_kind_is_checked():
    with pytest.raises(PolicyError, match="graph must be True or False; got 1 for kind 'profile'"):
        Kinds().define("profile", graph=1)


def test_auto_of_an_unknown_kind_raises():
    with pytest.raises(UnknownKindError, match="auto: unknown kind of function 'profle'"):
        Kinds().auto("profle")


@pytest.mark.parametrize("pattern", ["*", "model.*", "model.p*", "lo*", "*s", "mod*l", "loss"])
def test_patterns_that_fit_something(pattern):
    Kinds().check_pattern(pattern, "here")


@pytest.mark.parametrize("pattern", ["profile.*", "x*", "*x", "model_.*", "los"])
def test_patterns_that_fit_nothing_are_refused(pattern):
    with pytest.raises(UnknownKindError, match="here: unknown kind of function"):
        Kinds().check_pattern(pattern, "here")


def test_kinds_can_be_listed_while_others_are_defined():
    kinds = Kinds()
    workers = [
        Thread(target=lambda n=n: [kinds.define(f"kind_{n}_{i}") for i in range(200)], name=str(n)) for n in range(4)
    ]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        assert "loss" in kinds.names()
    for worker in workers:
        worker.join()
    assert len(kinds.names()) == 4 + 4 * 200
    assert kinds.generation == 4 * 200


def test_the_kinds_of_the_process_have_the_four_of_the_contract():
    assert {"loss", "sample", "tensor", "model"} <= set(KINDS.names())
