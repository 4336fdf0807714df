"""A change of one object drops what read that object, and nothing else."""

from __future__ import annotations

import pytest

from zrun_core._cache import CacheOwner, GraphCache
from zrun_core._invalidates import invalidates, touch
from zrun_core._tracked import tracked


class Model:
    order = tracked(3)

    @invalidates
    def rebuild(self):
        self.grid = [0.0]


CHANGES = {
    "setting a tracked attribute": lambda model: setattr(model, "order", 4),
    "an @invalidates method": lambda model: model.rebuild(),
    "touch": touch,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_an_unrelated_function_is_not_traced_again(change):
    # This used to drop every graph of the process, so that the unrelated function was traced a second time.
    cache = GraphCache(max_entries=None, sizeof=lambda value: 1)
    changed, unrelated, same_class = Model(), CacheOwner("unrelated"), Model()
    reader, other_reader = CacheOwner("reader"), CacheOwner("reads another object of the class")

    def call_all():
        cache.get_or_build(reader, "key", lambda: changed.order)
        cache.get_or_build(other_reader, "key", lambda: same_class.order)
        cache.get_or_build(unrelated, "key", lambda: 1)

    call_all()
    change(changed)
    call_all()
    assert (reader.builds, other_reader.builds, unrelated.builds) == (2, 1, 1)


def test_the_other_graphs_of_the_same_function_stay():
    cache, owner = GraphCache(max_entries=None, sizeof=lambda value: 1), CacheOwner("Model.loss")
    models = [Model() for _ in range(5)]
    for _ in range(2):
        for model in models:
            cache.get_or_build(owner, id(model), lambda model=model: model.order, weak=[model])
    models[2].rebuild()
    assert [cache.get(owner, id(model)) is not None for model in models] == [True, True, False, True, True]
