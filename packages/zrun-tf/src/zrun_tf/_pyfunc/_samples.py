"""A block of Python code at and around one point: the values that its numerical derivatives are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from zrun_tf._errors import GradientError
from zrun_tf.gradients._arrays import NumpyArrays
from zrun_tf.gradients._stencil import Ladder, Offsets, ladder, offsets, steps

from ._rows import count_rows, declared, groups, independent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from ._block import Block

    Array = NDArray[Any]
    Floats = NDArray[np.float64]

# Values around the point are kept for further derivatives at it up to this size, for one block.
KEPT_BYTES: Final = 64 * 1024**2
# So many evaluations for one input mean that something else was meant.
MOST_ELEMENTS: Final = 4096


class Direction(NamedTuple):
    """One thing to move: an element of a slot, or the elements of one column in all rows.

    Attributes:
        slot: the number of the slot.
        place: the flat place in the slot, or in each of its rows.
        by_row: whether it is a column.
    """

    slot: int
    place: int
    by_row: bool


class Ladders(NamedTuple):
    """The ladders of a direction, one for each row or just one.

    Attributes:
        x: the elements.
        plan: their ladders.
        low: the least value of each.
        high: the largest.
    """

    x: Floats
    plan: Ladder
    low: Floats
    high: Floats


class Measured(NamedTuple):
    """The results at the points of some levels.

    Attributes:
        at: the offsets, of shape `(levels, units)`.
        a: per result, values at the offsets `a`, of shape `(levels, *shape)`; NaN where not evaluated.
        b: values at the offsets `b`, likewise.
    """

    at: Offsets
    a: list[Floats]
    b: list[Floats]


class Samples:
    """Evaluates a block at a point and around it.

    Args:
        block: the block.
        slots: the point.
        function: what is evaluated: takes slots of the inputs, gives arrays of real numbers.
        by_row: what is known of which slots are mapped row by row.

    Attributes:
        base: the results at the point.
        evaluations: how often the function was called.
    """

    def __init__(
        self,
        block: Block,
        slots: Sequence[Array],
        function: Callable[[Sequence[Array]], list[Array]],
        by_row: Mapping[int, bool] | None = None,
    ) -> None:
        self.block = block
        self._slots = [np.array(slot) for slot in slots]
        self._function = function
        self.evaluations = 0
        self.base = self._evaluate(self._slots)
        self._by_row = dict(by_row or {})
        self._ladders: dict[Direction, Ladders] = {}
        self._kept: dict[tuple[Direction, str], Measured] = {}
        self._kept_bytes = 0

    def _evaluate(self, slots: Sequence[Array]) -> list[Array]:
        self.evaluations += 1
        return self._function(slots)

    def slot(self, number: int) -> Array:
        """A slot of the point."""
        return self._slots[number]

    # -- which directions there are ---------------------------------------------------------------------------------

    def directions(self, slot: int) -> list[Direction]:
        """The directions of a slot."""
        by_row = self.by_row(slot)
        array = self._slots[slot]
        count = int(np.prod(array.shape[1:], dtype=int)) if by_row else array.size
        if not by_row and count > MOST_ELEMENTS and self.block.options.rows is not False:
            name = self.block.inputs.slots[slot].name
            raise GradientError(
                f"{self.block.name}: a numerical derivative by {name}, of shape {array.shape}, needs some 12 "
                f"evaluations for each of its {count} elements, as the function does not map it row by row (or that "
                f"could not be shown). Pass jacobian=..., or rows=True if each row of the result depends on the same "
                f"row of {name} only; rows=False has it done nevertheless."
            )
        return [Direction(slot, place, by_row) for place in range(count)]

    def by_row(self, slot: int) -> bool:
        """Whether the block maps a slot row by row."""
        found = self._by_row.get(slot)
        if found is None:
            array, block = self._slots[slot], self.block
            name, count = block.inputs.slots[slot].name, count_rows(self.base)
            said = declared(block.options.rows, slot, name, block.name, array.shape, count)
            found = self._by_row[slot] = self._tested(slot) if said is None else said
        return found

    def _tested(self, slot: int) -> bool:
        array = self._slots[slot]
        columns = int(np.prod(array.shape[1:], dtype=int))
        ladders = [self.ladders(Direction(slot, place, by_row=True)) for place in range(columns)]

        def moved(group: NDArray[np.bool_]) -> list[Array]:
            # Well within the ladders, so that it is the neighbourhood that is tested.
            moves = [
                (Direction(slot, place, by_row=True), np.where(group, _sided(ladder) / 8.0, 0.0))
                for place, ladder in enumerate(ladders)
            ]
            return self.moved(moves)

        return independent(self.base, moved, groups(array.shape[0]))

    def ladders(self, direction: Direction) -> Ladders:
        """The ladders of a direction."""
        found = self._ladders.get(direction)
        if found is None:
            found = self._ladders[direction] = self._made(direction)
        return found

    def _made(self, direction: Direction) -> Ladders:
        options, slot = self.block.options, self.block.inputs.slots[direction.slot]
        array = self._slots[direction.slot]
        x = self._picked(direction, array)
        low, high = (
            self._picked(direction, np.broadcast_to(side, array.shape)) for side in _sides(options.bounds[slot.leaf])
        )
        given = options.scale[slot.leaf]
        if given is not None:
            scale = self._picked(direction, np.broadcast_to(np.asarray(given, np.float64), array.shape))
        elif direction.by_row:
            # A value near zero among others that are not has the scale of the others.
            scale = np.maximum(np.abs(x), np.median(np.abs(x)))
            scale = np.where(scale > 0.0, scale, np.nan)
        else:
            scale = np.full(x.size, np.nan)
        self._check(direction, x, low, high)
        resolution = np.full(x.size, np.finfo(array.dtype).eps)
        with np.errstate(all="ignore"):
            plan = ladder(NumpyArrays, x, low, high, scale, resolution)
        return Ladders(x, plan, low, high)

    def _picked(self, direction: Direction, array: Array) -> Floats:
        flat = array.reshape(array.shape[0], -1) if direction.by_row else array.reshape(1, -1)
        return flat[:, direction.place].astype(np.float64)

    def _check(self, direction: Direction, x: Floats, low: Floats, high: Floats) -> None:
        for wrong, rule in (
            (~np.isfinite(x), "a derivative needs finite inputs"),
            (~((low <= x) & (x <= high)), "that is outside its bounds"),
        ):
            if wrong.any():
                unit = int(np.argmax(wrong))
                raise GradientError(f"{self.block.name}: {self.named(direction, unit)} is {x[unit]}; {rule}.")

    def named(self, direction: Direction, unit: int = 0) -> str:
        """How messages call an element."""
        array, name = self._slots[direction.slot], self.block.inputs.slots[direction.slot].name
        flat = (
            unit * int(np.prod(array.shape[1:], dtype=int)) + direction.place if direction.by_row else direction.place
        )
        place = np.unravel_index(flat, array.shape) if array.ndim else ()
        return name + (f"[{', '.join(map(str, place))}]" if place else "")

    # -- values -----------------------------------------------------------------------------------------------------

    def moved(self, moves: Sequence[tuple[Direction, Floats]]) -> list[Array]:
        """The results with some elements moved by these offsets, one for each unit."""
        slots = list(self._slots)
        for number in {direction.slot for direction, _ in moves}:
            slots[number] = slots[number].copy()
        for direction, offset in moves:
            found = self.ladders(direction)
            array = slots[direction.slot]
            flat = array.reshape(array.shape[0], -1) if direction.by_row else array.reshape(1, -1)
            flat[:, direction.place] = np.where(
                offset != 0.0, np.clip(found.x + offset, found.low, found.high), found.x
            )
        return self._evaluate(slots)

    def offsets(self, direction: Direction, heights: Floats) -> Offsets:
        """Where the points of steps of shape `(levels, units)` come to lie."""
        found, dtype = self.ladders(direction), self._slots[direction.slot].dtype

        def rounded(points: Floats) -> Floats:
            return np.clip(points.astype(dtype).astype(np.float64), found.low, found.high)

        with np.errstate(all="ignore"):
            return Offsets(*offsets(NumpyArrays, found.x, found.plan, heights, rounded))

    def measured(self, direction: Direction, searched: str = "") -> Measured:
        """The results on the ladders, or on those levels that a search `"up"` or `"down"` adds."""
        kept = self._kept.get((direction, searched))
        if kept is not None:
            return kept
        heights = steps(NumpyArrays, self.ladders(direction).plan, searched)
        at = self.offsets(direction, heights)
        sides = [[np.full((len(heights), *base.shape), np.nan) for base in self.base] for _ in range(2)]
        for level in np.flatnonzero(at.wide.any(axis=1)):
            for offset, side in zip((at.a, at.b), sides, strict=True):
                move = np.where(at.wide[level], offset[level], 0.0)
                for values, result in zip(side, self.moved([(direction, move)]), strict=True):
                    values[level] = result
        found = Measured(at, *sides)
        size = sum(values.nbytes for side in sides for values in side)
        if self._kept_bytes + size <= KEPT_BYTES:
            self._kept_bytes += size
            self._kept[direction, searched] = found
        return found


def _sided(found: Ladders) -> Floats:
    """The largest step, to the side where there is room."""
    return np.where(found.plan.side < 0.0, -found.plan.top, found.plan.top)  # type: ignore[no-any-return]


def _sides(pair: Any) -> tuple[Any, Any]:
    if pair is None:
        return -np.inf, np.inf
    low, high = (np.asarray(-np.inf if side is None else side, np.float64) for side in _filled(pair))
    return low, high


def _filled(pair: Any) -> tuple[Any, Any]:
    low, high = pair
    return low, np.inf if high is None else high
