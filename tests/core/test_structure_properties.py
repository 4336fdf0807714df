"""Random trees of objects: they come back as they were, and their keys are equal exactly where their structures are.

What a structure is, `describe` says again in its own way: it walks the finished object and shares no code with the
package.
"""

from __future__ import annotations

import enum
import pickle
import random
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from types import MappingProxyType, SimpleNamespace

from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from zrun_core import Static, flatten, static, struct

Named = namedtuple("Named", "first second")


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Level(enum.IntEnum):
    NONE = 0
    ONE = 1


@dataclass
class Plain:
    first: object
    second: object = None


@dataclass(frozen=True, slots=True)
class Frozen:
    first: object


@struct
class Marked:
    first: object
    cut: object = static(default=None)


class Tagged(list):
    """A list with an attribute."""

    tag = None


def function(*args, **kwargs):
    return args, kwargs


# -- random objects: first as data, then built ----------------------------------------------------------------------

FLOATS = st.floats() | st.complex_numbers()
STATICS = (
    st.integers(-2, 2)
    | st.booleans()
    | st.none()
    | st.sampled_from(["", "a", b"", b"a", Colour.RED, Colour.BLUE, Level.NONE, Level.ONE])
)
HASHABLE = st.recursive(STATICS | FLOATS, lambda parts: st.lists(parts, max_size=2).map(tuple), max_leaves=3)


def unmarked(parts):
    items = st.lists(parts, max_size=3)
    names = st.dictionaries(st.sampled_from("abc"), parts, max_size=3)
    mixed = st.lists(st.tuples(HASHABLE, parts), max_size=3)
    return st.one_of(
        st.tuples(st.sampled_from(["list", "tuple", "deque", "bounded", "tagged"]), items),
        st.tuples(st.sampled_from(["dict", "ordered", "namespace", "proxy", "default"]), names),
        st.tuples(st.sampled_from(["pairs", "ordered pairs"]), mixed),
        st.tuples(st.sampled_from(["named", "plain", "partial"]), st.tuples(parts, parts)),
        st.tuples(st.just("frozen"), parts),
        st.tuples(st.just("marked"), st.tuples(parts, HASHABLE)),
        st.tuples(st.sampled_from(["set", "frozenset"]), st.lists(HASHABLE, max_size=3)),
    )


def trees(parts):
    return unmarked(parts) | st.tuples(st.just("static"), HASHABLE)


def changeable(parts):
    return st.one_of(
        st.tuples(st.sampled_from(["list", "tuple", "deque"]), st.lists(parts, min_size=1, max_size=3)),
        st.tuples(st.sampled_from(["named", "plain"]), st.tuples(parts, parts)),
        st.tuples(
            st.sampled_from(["dict", "ordered", "namespace", "proxy", "default"]),
            st.dictionaries(st.sampled_from("abc"), parts, min_size=1),
        ),
        st.tuples(st.just("frozen"), parts),
    )


LEAVES = st.tuples(st.just("value"), STATICS | FLOATS) | st.tuples(st.just("again"), st.integers(0, 5))
TREES = st.recursive(LEAVES, trees, max_leaves=15)
UNMARKED = st.recursive(LEAVES, unmarked, max_leaves=15)
CHANGEABLE = st.recursive(st.tuples(st.just("value"), STATICS | FLOATS), changeable, max_leaves=15)
SMALL = st.recursive(
    st.tuples(st.just("value"), st.sampled_from([0.5, 1.5, 1, True, None])) | st.tuples(st.just("again"), st.just(0)),
    trees,
    max_leaves=3,
)

ATOMS = {"value": lambda value: value, "static": Static, "set": set, "frozenset": frozenset}
SEQUENCES = {
    "list": list,
    "tuple": tuple,
    "deque": deque,
    "bounded": lambda parts: deque(parts, maxlen=5),
    "named": lambda parts: Named(*parts),
    "plain": lambda parts: Plain(*parts),
    "partial": lambda parts: partial(function, parts[0], key=parts[1]),
}
MAPPINGS = {
    "dict": dict,
    "ordered": OrderedDict,
    "pairs": dict,
    "ordered pairs": OrderedDict,
    "namespace": lambda parts: SimpleNamespace(**dict(parts)),
    "proxy": lambda parts: MappingProxyType(dict(parts)),
    "default": lambda parts: defaultdict(list, parts),
}
IMMUTABLE = ("value", "static", "frozenset", "tuple", "named", "partial")


def build(tree, made):
    """Make the object that a tree describes; `made` has the objects so far that can be shared."""
    kind, content = tree
    if kind == "again":
        return made[content % len(made)] if made else None
    if kind in ATOMS:
        obj = ATOMS[kind](content)
    elif kind in SEQUENCES:
        obj = SEQUENCES[kind]([build(part, made) for part in content])
    elif kind == "tagged":
        obj = Tagged(build(part, made) for part in content[:-1])
        if content:
            obj.tag = build(content[-1], made)
    elif kind in MAPPINGS:
        items = content.items() if isinstance(content, dict) else content
        obj = MAPPINGS[kind]([(name, build(part, made)) for name, part in items])
    elif kind == "frozen":
        obj = Frozen(build(content, made))
    else:
        obj = Marked(build(content[0], made), content[1])
    if kind not in IMMUTABLE:
        made.append(obj)
    return obj


# -- what a structure is, said independently ------------------------------------------------------------------------


def exact(value):
    """A value such that -0.0 differs from 0.0, and nan is equal to nan."""
    if isinstance(value, complex):
        return "complex", exact(value.real), exact(value.imag)
    return ("float", value.hex()) if isinstance(value, float) else value


def describe(obj, seen, *, by_value=False):
    """The structure of an object; with `by_value`, floats are told apart."""

    def parts(items, static=by_value):
        return [describe(item, seen, by_value=static) for item in items]

    kind = type(obj)
    if kind is Static:
        return describe(obj.value, seen, by_value=True)
    if kind in (float, complex):
        return (kind, exact(obj)) if by_value else (kind, "input")
    if isinstance(obj, enum.Enum):
        return kind, obj.name
    if obj is None or kind in (int, bool, str, bytes):
        return kind, obj
    if obj is function:
        return "identity", id(obj)
    if isinstance(obj, frozenset):
        return kind, sorted(repr(describe(item, {}, by_value=True)) for item in obj)
    if isinstance(obj, tuple):
        return kind, parts(obj)
    if kind is partial:
        return kind, parts([obj.func, *obj.args]), list(obj.keywords), parts(obj.keywords.values())
    # From here on, objects have an identity.
    if id(obj) in seen:
        return "again", seen[id(obj)][0]
    seen[id(obj)] = (len(seen), obj)
    if isinstance(obj, set):
        return kind, sorted(repr(describe(item, {}, by_value=True)) for item in obj)
    if is_dataclass(obj):
        return kind, [
            describe(getattr(obj, f.name), seen, by_value=by_value or "zrun_static" in f.metadata) for f in fields(obj)
        ]
    if kind is SimpleNamespace:
        items = sorted(vars(obj).items())
        return kind, [name for name, _ in items], parts(value for _, value in items)
    if isinstance(obj, (dict, MappingProxyType)):
        names = [describe(name, {}, by_value=True) for name in obj]
        return kind, getattr(obj, "default_factory", None), names, parts(obj.values())
    attributes = sorted(vars(obj).items()) if hasattr(obj, "__dict__") else []
    content = kind, getattr(obj, "maxlen", None), parts(obj)
    return content, [name for name, _ in attributes], parts(value for _, value in attributes)


def structure(obj):
    return repr(describe(obj, {}))


def exactly(obj):
    return repr(describe(obj, {}, by_value=True))


def everything_in(key):
    for part in key:
        if isinstance(part, (tuple, frozenset)):
            yield from everything_in(part)
        else:
            yield part


# -- the properties -------------------------------------------------------------------------------------------------


@settings(max_examples=120)
@given(TREES)
def test_an_object_comes_back_as_it_was(tree):
    obj = build(tree, [])
    flat = flatten(obj)
    made = flat.rebuild(flat.leaves)
    event(f"kind of root: {tree[0]}")
    # What is marked as static comes back without the mark, so it is compared as what it holds.
    assert exactly(made) == exactly(obj)
    again = flatten(obj, static=True)
    assert again.leaves == []
    assert exactly(again.rebuild([])) == exactly(obj)


@settings(max_examples=120)
@given(UNMARKED, st.randoms())
def test_new_leaves_take_the_places_of_the_old_and_leave_the_key(tree, rng):
    obj = build(tree, [])
    flat = flatten(obj)
    leaves = [type(leaf)(rng.uniform(-1, 1)) for leaf in flat.leaves]
    made = flat.rebuild(leaves)
    assert flatten(made).leaves == leaves
    assert flatten(made).key == flat.key


@settings(max_examples=120)
@given(TREES)
def test_no_input_is_in_the_key(tree):
    flat = flatten(build(tree, []))
    hash(flat.key)
    assert not [part for part in everything_in(flat.key) if isinstance(part, (float, complex))]
    found = Counter(map(id, flat.leaves))
    assert not [part for part in everything_in(flat.key) if id(part) in found]


@settings(max_examples=250)
@given(SMALL, SMALL)
@example(("frozenset", [(), (float("nan"),)]), ("frozenset", [(), (float("nan"),), (float("nan"),)]))
def test_keys_are_equal_exactly_where_structures_are(tree, other):
    one, two = build(tree, []), build(other, [])
    same = structure(one) == structure(two)
    event(f"same: {same}")
    assert (flatten(one).key == flatten(two).key) == same
    assert (flatten(one, static=True).key == flatten(two, static=True).key) == (exactly(one) == exactly(two))


@settings(max_examples=120)
@given(TREES)
def test_building_the_same_tree_again_gives_the_same_key(tree):
    one, two = build(tree, []), build(tree, [])
    assert flatten(one).key == flatten(two).key
    assert hash(flatten(one).key) == hash(flatten(two).key)
    assert [exact(leaf) for leaf in flatten(one).leaves] == [exact(leaf) for leaf in flatten(two).leaves]


def change_one(tree, rng):
    """The tree with one value replaced, a float by a float and anything else by something else; whether it was one."""
    kind, content = tree
    if kind == "value":
        if type(content) in (float, complex):
            return (kind, type(content)(rng.uniform(2, 3))), True
        return (kind, ("changed", content)), False
    if kind == "frozen":
        part, is_input = change_one(content, rng)
        return (kind, part), is_input
    where = rng.choice(sorted(content) if isinstance(content, dict) else range(len(content)))
    part, is_input = change_one(content[where], rng)
    changed = dict(content) if isinstance(content, dict) else list(content)
    changed[where] = part
    return (kind, changed), is_input


@settings(max_examples=150)
@given(CHANGEABLE, st.integers(0, 1000))
def test_one_other_value_changes_the_key_where_it_is_static(tree, seed):
    changed, is_input = change_one(tree, random.Random(seed))
    event(f"input: {is_input}")
    assert (flatten(build(tree, [])).key == flatten(build(changed, [])).key) == is_input


@settings(max_examples=50)
@given(TREES)
def test_flattening_changes_nothing(tree):
    obj = build(tree, [])
    before = exactly(obj)
    flatten(obj)
    flatten(obj, static=True)
    assert exactly(obj) == before


@settings(max_examples=50)
@given(st.recursive(STATICS | FLOATS, lambda parts: st.lists(parts) | st.tuples(parts, parts), max_leaves=10))
def test_what_was_pickled_has_the_same_key(obj):
    arrived = pickle.loads(pickle.dumps(obj))
    assert flatten(arrived).key == flatten(obj).key


def test_a_set_of_several_nan_is_rebuilt_with_all_of_them():
    one, two = {float("nan")}, {float("nan"), float("nan")}
    made = [flatten(each).rebuild([]) for each in (one, two, frozenset(two))]
    assert [(type(each), len(each)) for each in made] == [(set, 1), (set, 2), (frozenset, 2)]
    assert flatten(one).key != flatten(two).key == flatten({float("nan"), float("nan")}).key
