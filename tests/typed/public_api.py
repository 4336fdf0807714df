"""What type checkers see of the public names; read by mypy and pyright, never run.

A line with `type: ignore` is wrong on purpose: both checkers complain where such a comment is not needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import assert_type

import zrun_core
import zrun_tf as zrun
from zrun_core import Policy

if TYPE_CHECKING:
    from collections.abc import Callable


@zrun.function
def bare(x: float, *, scale: int = 1) -> str:
    return f"{x * scale}"


@zrun.function(kind="loss", static=("n",))
def with_options(x: list[float], n: int) -> tuple[float, int]:
    return x[0], n


class Model:
    @zrun.function
    def value(self, x: float) -> float:
        return x


@zrun_core.run.function
def of_core(x: bytes) -> bytes:
    return x


@zrun.run.using(graph=False)
def within(x: int) -> float:
    return x / 2


def callback(function: Callable[[float], str]) -> str:
    return function(1.0)


assert_type(bare(1.0), str)
assert_type(bare(1.0, scale=2), str)
assert_type(with_options([1.0], n=2), tuple[float, int])
assert_type(of_core(b""), bytes)
assert_type(Model().value(1.0), float)
assert_type(within(1), float)
assert_type(zrun.run.bind(bare)(1.0), str)
assert_type(callback(bare), str)
assert_type(zrun.run.policy, Policy)
assert_type(zrun.run.builds_graph("loss"), bool)

bare("no number")  # type: ignore[arg-type]
bare(1.0, 2)  # type: ignore[call-arg]
bare(1.0, scale="large")  # type: ignore[arg-type]
with_options([1.0])  # type: ignore[call-arg]
Model().value()  # type: ignore[call-arg]
zrun.function(bare, knd="loss")  # type: ignore[call-overload]
zrun.run.set_mode(graph="sometimes")  # type: ignore[arg-type]

with zrun.run.using(graph=True, autograd=False) as policy:
    assert_type(policy, Policy)
with zrun.run.acquire_cpu(max_cpu=2) as cpus:
    assert_type(cpus.numbers, tuple[int, ...])
