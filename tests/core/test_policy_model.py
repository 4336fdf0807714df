"""Random programs that change the policy, run against a model that says in a few lines what must be seen."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zrun_core import run
from zrun_core._scope import current, default
from zrun_core.errors import PolicyError, PolicyShadowedError


class UserError(Exception):
    """Raised by a program, to leave its blocks."""


@dataclass(frozen=True)
class Model:
    """A policy in the model: what is in force, and whether a block hides the default."""

    parts: dict
    shadowed: bool = False

    def under(self, changes):
        given = {name: value for name, value in changes.items() if value is not None or name == "chunksize"}
        return replace(self, parts={**self.parts, **given}, shadowed=True)


START = {"graph": "auto", "autograd": True, "chunksize": None, "retrace": "warn"}


class World:
    """The model of the process: its default."""

    def __init__(self):
        self.default = dict(START)

    def outside(self):
        return Model(dict(self.default))


def check(expected):
    seen = current()
    assert {name: getattr(seen, name) for name in START} == expected.parts


def here(world, model):
    """What a context sees that is in the given block, or in none."""
    return model if model.shadowed else world.outside()


async def execute(program, world, model, blocks):
    """Run a program in this context, in which `model` says what is in force."""
    for step, argument, body in program:
        model = here(world, model)
        check(model)
        if step == "using":
            with run.using(**argument):
                await execute(body, world, model.under(argument), blocks)
        elif step == "shared":
            # One of a few blocks that the whole program shares.
            changes, block = blocks[argument]
            with block:
                await execute(body, world, model.under(changes), blocks)
        elif step == "decorated":
            await run.using(**argument)(execute)(body, world, model.under(argument), blocks)
        elif step == "bound":
            bound = run.bind(execute)
            with run.using(graph=True):
                await bound(body, world, replace(model, shadowed=True), blocks)
        elif step == "catch":
            with contextlib.suppress(UserError):
                await execute(body, world, model, blocks)
        elif step == "raise":
            raise UserError
        elif step == "set_mode":
            if model.shadowed:
                with pytest.raises(PolicyShadowedError):
                    run.set_mode(**argument)
            else:
                run.set_mode(**argument)
                world.default.update(argument)
        elif step == "invalid":
            with pytest.raises(PolicyError):
                run.set_mode(**argument)
            with pytest.raises(PolicyError):
                run.using(**argument)
        elif step == "thread":
            with ThreadPoolExecutor(1) as pool:
                pool.submit(run_program, body, world, world.outside(), blocks).result()
        elif step == "task":
            await asyncio.create_task(execute(body, world, model, blocks))
        elif step == "together":
            # Tasks take turns; programs that set the default would race, which the model does not describe.
            await asyncio.gather(*(execute(part, world, model, blocks) for part in body))
        else:
            await asyncio.sleep(0)
        check(here(world, model))
    check(here(world, model))


def run_program(program, world, model, blocks):
    with contextlib.suppress(UserError):
        asyncio.run(execute(program, world, model, blocks))


GRAPHS = st.sampled_from([True, False, "auto", {"model": True}, {"loss": False, "model.*": True}])
PARTS = st.fixed_dictionaries(
    {},
    optional={
        "graph": GRAPHS | st.none(),
        "autograd": st.booleans() | st.none(),
        "chunksize": st.sampled_from([None, 10, "auto"]),
        "retrace": st.sampled_from(["allow", "warn", "error", None]),
    },
)
MODES = st.fixed_dictionaries({"graph": GRAPHS}, optional={"autograd": st.booleans()})
INVALID = st.sampled_from([{"graph": "nonsense"}, {"autograd": 1}, {"graph": {"los": True}, "autograd": False}])


def steps(programs, *, global_steps):
    """One step of a program; `programs` are what it may contain."""
    nothing = st.just([])
    choices = [
        st.tuples(st.just("using"), PARTS, programs),
        st.tuples(st.just("shared"), st.integers(0, 2), programs),
        st.tuples(st.just("decorated"), PARTS, programs),
        st.tuples(st.just("bound"), st.none(), programs),
        st.tuples(st.just("catch"), st.none(), programs),
        st.tuples(st.just("task"), st.none(), programs),
        st.tuples(st.just("invalid"), INVALID, nothing),
        st.tuples(st.just("sleep"), st.none(), nothing),
    ]
    if global_steps:
        choices += [
            st.tuples(st.just("set_mode"), MODES, nothing),
            st.tuples(st.just("thread"), st.none(), programs),
            st.tuples(st.just("raise"), st.none(), nothing),
            st.tuples(st.just("together"), st.none(), st.lists(LOCAL_PROGRAMS, min_size=2, max_size=3)),
        ]
    return st.one_of(choices)


LOCAL_PROGRAMS = st.recursive(
    st.just([]), lambda programs: st.lists(steps(programs, global_steps=False), max_size=3), max_leaves=6
)
PROGRAMS = st.recursive(
    st.just([]), lambda programs: st.lists(steps(programs, global_steps=True), max_size=4), max_leaves=20
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(PROGRAMS, st.tuples(PARTS, PARTS, PARTS))
def test_programs_see_what_the_model_says(program, shared):
    before = default(), current()
    world = World()
    blocks = [(changes, run.using(**changes)) for changes in shared]
    try:
        run_program(program, world, world.outside(), blocks)
        assert {name: getattr(default(), name) for name in START} == world.default
    finally:
        run.set_mode_default()
    assert (default(), current()) == before


def test_the_model_starts_where_the_process_does():
    check(World().outside())
