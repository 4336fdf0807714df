"""Derivatives of a block of Python code from a Jacobian that the user wrote; second ones by differentiating that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from zrun_tf._errors import GradientError

from ._arguments import by_input
from ._block import unpacked
from ._ladders import find
from ._rows import count_rows
from ._samples import Samples

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from ._block import Block
    from ._numeric import Numeric
    from ._samples import Direction, Floats

    Array = NDArray[Any]


class Given(NamedTuple):
    """The user's derivatives by one input.

    Attributes:
        by_row: whether they are those of each row by the same row of the input.
        parts: for each result, of the shape of the result plus that of the input; by row, of `(rows, *rest of the
            result, *rest of the input)`.
    """

    by_row: bool
    parts: list[Floats]


class Exact:
    """Derivatives at a point.

    Args:
        block: the block.
        slots: the point.
        jacobian: the user's function.
        numeric: makes numerical derivatives, for inputs for which the user gives None.
    """

    def __init__(
        self, block: Block, slots: Sequence[Array], jacobian: Callable[..., Any], numeric: Callable[[], Numeric]
    ) -> None:
        self._block, self._function = block, jacobian
        self._slots = [np.array(slot) for slot in slots]
        self._numeric_maker = numeric
        self._made: Numeric | None = None
        self._shapes = [base.shape for base in block.differentiated(self._slots)]
        self._given = self._jacobian(self._slots)
        self._weights: list[bytes] = []
        self._samples: dict[tuple[int, int], Samples] = {}
        self._changes: dict[tuple[int, Direction], Floats] = {}

    def _numeric(self) -> Numeric:
        if self._made is None:
            self._made = self._numeric_maker()
        return self._made

    def pulled(self, slot: int, weights: Sequence[Array]) -> Array:
        """The derivative of the weighted sum of the results, in the shape of the slot."""
        given = self._given[slot]
        if given is None:
            return self._numeric().pulled(slot, weights)
        found = self._summed(slot, given, weights, by_row=False)
        return found.reshape(self._slots[slot].shape).astype(self._slots[slot].dtype)

    def pushed(self, slot: int, vector: Array) -> list[Array]:
        """The derivatives of the results along a vector of the shape of the slot."""
        given = self._given[slot]
        if given is None:
            return self._numeric().pushed(slot, vector)
        if not given.by_row:
            return [np.tensordot(part, vector, vector.ndim) for part in given.parts]
        flat = vector.reshape(len(vector), -1)
        return [
            np.einsum("roc,rc->ro", part.reshape(len(part), -1, flat.shape[1]), flat).reshape(shape)
            for part, shape in zip(given.parts, self._shapes, strict=True)
        ]

    def curved(self, slot: int, other: int, weights: Sequence[Array], vector: Array) -> Array:
        """The derivative, by another slot, of the weighted sum of the results differentiated along a vector."""
        if self._given[slot] is None:
            return self._numeric().curved(slot, other, weights, vector)
        self._forget_other(weights)
        like, by_row = self._slots[other], self._by_row(other)
        samples = self._sampled(slot, other, weights)
        along = vector.reshape(len(vector) if by_row and self._by_row(slot) else 1, -1)
        columns = []
        for direction in samples.directions(other):
            # Of shape (rows or 1, elements of the slot or of one of its rows), as the vector is.
            change = self._change(slot, direction, samples)
            columns.append(np.where(along != 0.0, change * along, 0.0).sum(axis=1))
        return np.stack(columns, axis=1).reshape(like.shape).astype(like.dtype) if columns else np.zeros_like(like)

    def _by_row(self, slot: int) -> bool:
        given = self._given[slot]
        return given.by_row if given is not None else self._numeric().by_row(slot)

    def _sampled(self, slot: int, other: int, weights: Sequence[Array]) -> Samples:
        """The Jacobian by one slot, with the results summed up, around the point along another."""
        found = self._samples.get((slot, other))
        if found is None:
            by_row = self._by_row(other)
            found = self._samples[slot, other] = Samples(
                self._block, self._slots, lambda slots: [self._sums(slot, slots, weights, by_row)], {other: by_row}
            )
        return found

    def _sums(self, slot: int, slots: Sequence[Array], weights: Sequence[Array], by_row: bool) -> Array:
        given = self._jacobian(slots)[slot]
        if given is None:
            raise GradientError(f"{self._block.name}: jacobian gave None for an input only at some points.")
        return self._summed(slot, given, weights, by_row=by_row)

    def _summed(self, slot: int, given: Given, weights: Sequence[Array], *, by_row: bool) -> Floats:
        """The Jacobian with the results summed up by weight.

        Of shape (rows, elements of a row) where the slot is mapped by row, or the results are kept apart by row;
        otherwise of shape (elements of the slot,).
        """
        size = max(self._slots[slot].size, 1)
        total: Any = 0.0
        for part, weight, shape in zip(given.parts, weights, self._shapes, strict=True):
            self._refuse_nan(slot, part, weight)
            rows = shape[0] if given.by_row or by_row else 1
            each = part.reshape(rows, -1, size // rows if given.by_row else size)
            scaled = np.asarray(weight, np.float64).reshape(rows, -1, 1)
            total = total + np.where(scaled != 0.0, each * scaled, 0.0).sum(axis=1)
        return total if given.by_row or by_row else total.reshape(-1)  # type: ignore[no-any-return]

    def _refuse_nan(self, slot: int, part: Floats, weight: Array) -> None:
        asked = np.asarray(weight != 0.0).reshape((*np.shape(weight), *[1] * (part.ndim - np.ndim(weight))))
        if not (np.isfinite(part) | ~asked).all():
            name = self._block.inputs.slots[slot].name
            raise GradientError(f"{self._block.name}: jacobian gave NaN or infinity for {name}, where it is asked for.")

    def _change(self, slot: int, direction: Direction, samples: Samples) -> Floats:
        """How the Jacobian, with the results summed up, changes along a direction."""
        found = self._changes.get((slot, direction))
        if found is None:
            units = len(samples.base[0]) if direction.by_row else 1

            def project(results: Sequence[Floats]) -> Floats:
                return results[0].reshape(len(results[0]), units, -1)

            f0 = project([samples.base[0][None]])[0]
            (derivative,) = find(samples, direction, (1,), f0, project, self._block.precision).derivatives
            found = derivative.value
            if not np.isfinite(found).all():
                raise GradientError(
                    f"{self._block.name}: the second derivative by {self._block.inputs.slots[slot].name} and "
                    f"{samples.named(direction)} is not available: jacobian is not finite around the point. Give "
                    f"bounds=... within which it is."
                )
            self._changes[slot, direction] = found
        return found

    def _forget_other(self, weights: Sequence[Array]) -> None:
        given = [np.asarray(weight).tobytes() for weight in weights]
        if given != self._weights:
            self._weights = given
            self._samples.clear()
            self._changes.clear()

    # -- what the user's function returned ---------------------------------------------------------------------------

    def _jacobian(self, slots: Sequence[Array]) -> list[Given | None]:
        block, inputs = self._block, self._block.inputs
        result = block.call(self._function, slots)
        entries = by_input(block.name, "what jacobian returned", result, inputs.structure)
        count = count_rows([np.empty(shape) for shape in self._shapes])
        return [
            None
            if entries[slot.leaf] is None or not slot.differentiable
            else self._checked(number, entries[slot.leaf], count)
            for number, slot in enumerate(inputs.slots)
        ]

    def _checked(self, slot: int, entry: Any, count: int | None) -> Given:
        block, own = self._block, self._slots[slot].shape
        rows = block.options.rows
        fits = count is not None and own[:1] == (count,)
        parts = unpacked(block.results, entry, f"{block.name}: for {block.inputs.slots[slot].name}, jacobian gave")
        arrays: list[Floats] = []
        kinds = set()
        shapes = iter(self._shapes)
        for part, leaf in zip(parts, block.results.leaves, strict=True):
            if not (leaf.dtype.is_complex or leaf.dtype.is_floating):
                continue
            array, shape = np.asarray(part), next(shapes)
            if leaf.dtype.is_complex:
                next(shapes)
            allowed = {"full": (*shape, *own)}
            if fits and rows is not False:
                allowed["by row"] = (*shape, *own[1:])
            if (rows is True and fits) or (isinstance(rows, tuple) and slot in rows):
                del allowed["full"]
            kind = next((kind for kind, wanted in allowed.items() if array.shape == wanted), None)
            if kind is None or array.dtype.kind not in ("fciub" if leaf.dtype.is_complex else "fiub"):
                raise GradientError(
                    f"{block.name}: for {leaf.name} and {block.inputs.slots[slot].name}, jacobian must give real "
                    f"numbers of shape {' or '.join(f'{wanted} ({kind})' for kind, wanted in allowed.items())}; got "
                    f"{array.dtype.name} of shape {array.shape}."
                )
            kinds.add(kind)
            arrays += [array.real, array.imag] if leaf.dtype.is_complex else [array]
        if len(kinds) > 1:
            raise GradientError(f"{block.name}: jacobian must give either all or no derivatives of an input by row.")
        return Given(kinds == {"by row"}, [np.asarray(array, np.float64) for array in arrays])
