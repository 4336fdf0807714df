"""Numerical derivatives of a block of Python code: pulled back, pushed forward, and of second order.

What is pulled back is a weighted sum of the results, with the weights that the rest of the model has for them. So it is
this sum that is differentiated: one number for an input that all results depend on, one for each row of an input that
is mapped row by row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zrun_tf._errors import GradientError

from ._ladders import Found, find, find_mixed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ._samples import Direction, Floats, Samples

    Array = NDArray[Any]


class Sum:
    """The weighted sum of the results, over everything or within each row.

    Args:
        samples: of the block.
        weights: of each result.
        by_row: whether each row is summed up by itself.
    """

    def __init__(self, samples: Samples, weights: Sequence[Array], *, by_row: bool) -> None:
        self._base = samples.base
        self._weights = [np.asarray(weight, np.float64) for weight in weights]
        self._by_row = by_row
        _refuse_missing(samples, self._weights)
        # Only changes of the results are summed up, from something as large as the rounding error of the sum implies.
        squares = [self._summed((weight * _kept(weight, base)) ** 2) for weight, base in self._pairs()]
        self.at_point = np.sqrt(np.sum(squares, axis=0))[:, None]

    def _pairs(self) -> Any:
        return zip(self._weights, self._base, strict=True)

    def __call__(self, results: Sequence[Floats]) -> Floats:
        """The sums for results of shape `(levels, *shape)`, of shape `(levels, units, 1)`."""
        levels = []
        for level in range(len(results[0])):
            parts = [
                self._summed(weight * _kept(weight, result[level] - base))
                for (weight, base), result in zip(self._pairs(), results, strict=True)
            ]
            levels.append(self.at_point + np.sum(parts, axis=0)[:, None])
        return np.stack(levels)

    def _summed(self, values: Floats) -> Floats:
        return values.reshape(len(values) if self._by_row else 1, -1).sum(axis=1)  # type: ignore[no-any-return]


def _kept(weight: Floats, values: Floats) -> Floats:
    """Values, with zeros where the weight is zero: what nobody asks for may be NaN."""
    return np.where(weight != 0.0, values, 0.0)


def _along(part: Array, values: Floats) -> Floats:
    """Derivatives times how far it goes along each: one number, or one for each row."""
    along = part.reshape(-1, *[1] * (values.ndim - 1)) if part.size > 1 else part[0]
    return np.where(along != 0.0, along * values, 0.0)


def _refuse_missing(samples: Samples, weights: Sequence[Floats]) -> None:
    for weight, base, slot in zip(weights, samples.base, samples.block.results.differentiable, strict=True):
        missing = (weight != 0.0) & ~np.isfinite(base)
        if missing.any():
            place = tuple(int(part) for part in np.argwhere(missing)[0])
            raise GradientError(
                f"{samples.block.name}: {slot.name} is {base[place]} at {list(place)}, where a derivative is asked "
                f"for; there is none."
                if place
                else f"{samples.block.name}: {slot.name} is {base[()]}, and a derivative is asked for; there is none."
            )


class Numeric:
    """Derivatives at a point, from values of the function alone.

    Args:
        samples: the function at and around the point.
    """

    def __init__(self, samples: Samples) -> None:
        self._samples = samples
        self._columns: dict[Direction, list[Floats]] = {}
        self._weights: list[bytes] = []
        self._second: dict[tuple[Direction, bool], Found] = {}
        self._mixed: dict[tuple[Direction, Direction], Floats] = {}

    def pulled(self, slot: int, weights: Sequence[Array]) -> Array:
        """The derivative of the weighted sum of the results, in the shape of the slot."""
        samples = self._samples
        columns = []
        for direction in samples.directions(slot):
            total = Sum(samples, weights, by_row=direction.by_row)
            (found,) = find(samples, direction, (1,), total.at_point, total, samples.block.precision).derivatives
            columns.append(self._required(direction, found.value[:, 0]))
        return self._joined(slot, columns)

    def pushed(self, slot: int, vector: Array) -> list[Array]:
        """The derivatives of the results along a vector of the shape of the slot."""
        totals = [np.zeros_like(base) for base in self._samples.base]
        if not vector.any():
            return totals
        parts = vector.reshape(len(vector), -1) if self.by_row(slot) else vector.reshape(1, -1)
        for direction in self._samples.directions(slot):
            part = parts[:, direction.place]
            if part.any():
                column = self._column(direction)
                totals = [total + _along(part, values) for total, values in zip(totals, column, strict=True)]
        self._refuse_nan(slot, totals)
        return totals

    def curved(self, slot: int, other: int, weights: Sequence[Array], vector: Array) -> Array:
        """The derivative, by another slot, of the weighted sum of the results differentiated along a vector."""
        samples = self._samples
        self._forget_other(weights)
        parts = vector.reshape(len(vector), -1) if self.by_row(slot) else vector.reshape(1, -1)
        columns = []
        for two in samples.directions(other):
            total = np.zeros(len(samples.slot(other)) if two.by_row else 1)
            for one in samples.directions(slot):
                along = parts[:, one.place]
                if along.any():
                    change = np.where(along != 0.0, along * self._curvature(one, two, weights), 0.0)
                    total = total + (change if two.by_row or not one.by_row else change.sum(keepdims=True))
            columns.append(total)
        return self._joined(other, columns)

    def by_row(self, slot: int) -> bool:
        """Whether the block maps a slot row by row."""
        return self._samples.by_row(slot)

    def _joined(self, slot: int, columns: Sequence[Floats]) -> Array:
        like = self._samples.slot(slot)
        if not columns:
            return np.zeros_like(like)
        return np.stack(columns, axis=1).reshape(like.shape).astype(like.dtype)

    def _column(self, direction: Direction) -> list[Floats]:
        """The derivatives of all results by one direction, each in the shape of its result."""
        found = self._columns.get(direction)
        if found is None:
            samples = self._samples
            units = len(samples.base[0]) if direction.by_row else 1
            sizes = np.cumsum([base.size // max(units, 1) for base in samples.base])[:-1]

            def project(results: Sequence[Floats]) -> Floats:
                parts = [result.reshape(len(result), units, -1) for result in results]
                return np.concatenate(parts, axis=2).astype(np.float64)

            f0 = project([base[None] for base in samples.base])[0]
            (derivative,) = find(samples, direction, (1,), f0, project, samples.block.precision).derivatives
            parts = np.split(derivative.value, sizes, axis=1)
            found = [part.reshape(base.shape) for part, base in zip(parts, samples.base, strict=True)]
            self._columns[direction] = found
        return found

    def _forget_other(self, weights: Sequence[Array]) -> None:
        """Keep second derivatives for one set of weights: a Hessian asks for it once per parameter."""
        given = [np.asarray(weight).tobytes() for weight in weights]
        if given != self._weights:
            self._weights = given
            self._second.clear()
            self._mixed.clear()

    def _curvature(self, one: Direction, two: Direction, weights: Sequence[Array]) -> Floats:
        """A second derivative of the weighted sum, one number or one for each row."""
        key = (one, two) if one <= two else (two, one)
        found = self._mixed.get(key)
        if found is None:
            samples, precision = self._samples, self._samples.block.precision
            if one == two:
                found = self._unmixed(one, weights).derivatives[1].value[:, 0]
            else:
                total = Sum(samples, weights, by_row=one.by_row or two.by_row)
                known = (self._unmixed(key[0], weights), self._unmixed(key[1], weights))
                found = find_mixed(samples, key, known, total.at_point[:, 0], total, precision).value
            if not np.isfinite(found).all():
                raise GradientError(
                    f"{samples.block.name}: the second derivative by {samples.named(one)} and {samples.named(two)} is "
                    f"not available: the function is not finite near the point, at any step that was tried. Give "
                    f"bounds=... within which it is, or jacobian=..."
                )
            self._mixed[key] = found
        return found

    def _unmixed(self, direction: Direction, weights: Sequence[Array]) -> Found:
        found = self._second.get((direction, direction.by_row))
        if found is None:
            samples = self._samples
            total = Sum(samples, weights, by_row=direction.by_row)
            found = find(samples, direction, (1, 2), total.at_point, total, samples.block.precision)
            self._second[direction, direction.by_row] = found
        return found

    def _required(self, direction: Direction, values: Floats) -> Floats:
        if not np.isfinite(values).all():
            samples = self._samples
            unit = int(np.argmin(np.isfinite(values)))
            raise GradientError(
                f"{samples.block.name}: the derivative by {samples.named(direction, unit)} = "
                f"{samples.ladders(direction).x[unit]:g} is not available: the function is NaN or infinite around "
                f"there, or its bounds leave no room. Give bounds=... within which it is finite, or jacobian=..."
            )
        return values

    def _refuse_nan(self, slot: int, totals: Sequence[Array]) -> None:
        name = self._samples.block.inputs.slots[slot].name
        if not all(np.isfinite(total).all() for total in totals):
            raise GradientError(
                f"{self._samples.block.name}: the derivative by {name} is not available for all of the results: the "
                f"function is NaN or infinite at or around the point. Give bounds=... within which it is finite, or "
                f"jacobian=..."
            )
