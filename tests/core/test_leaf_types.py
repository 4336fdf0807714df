"""Types that a backend makes inputs."""

from __future__ import annotations

import pytest

from zrun_core import flatten, register_leaf
from zrun_core._structure import rows


class Vector:
    def __init__(self, *numbers):
        self.numbers = numbers


class Longer(Vector):
    pass


register_leaf(Vector, lambda vector: len(vector.numbers))


def test_objects_are_leaves_and_their_description_is_the_key():
    one, other, longer = Vector(1, 2), Vector(3, 4), Vector(1, 2, 3)
    assert flatten(one).leaves == [one]
    assert flatten(one).key == flatten(other).key != flatten(longer).key
    assert flatten(one).rebuild([other]) is other
    assert [row.text for row in rows(flatten(one).key)] == ["Vector 2"]


def test_subclasses_follow():
    longer = Longer(1)
    assert flatten([longer]).leaves == [longer]


@pytest.mark.parametrize(
    ("cls", "spec", "match"), [("Vector", len, "takes a type"), (Vector, None, "takes a function")]
)
def test_what_is_no_type_or_function_is_refused(cls, spec, match):
    with pytest.raises(TypeError, match=match):
        register_leaf(cls, spec)
