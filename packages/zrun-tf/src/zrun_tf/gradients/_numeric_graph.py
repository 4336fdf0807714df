"""Numerical derivatives inside a graph: the formulas of the NumPy engine as TensorFlow operations.

A graph cannot raise for a value it finds while it runs: where the NumPy engine raises because a function is not finite,
the derivative and its error are NaN here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import tensorflow as tf

from ._extrapolate import Derivative
from ._points import FreePoints
from ._stencil import CROSS, FIRST, LEVELS, SEARCH, Ladder, Offsets, derive, derive_mixed, ladder, offsets, steps

if TYPE_CHECKING:
    from ._options import NumericOptions
    from ._params import Problem
    from ._points import GraphPoints


class TensorFlowArrays:
    """TensorFlow as `_extrapolate` and `_stencil` use it, under NumPy's names."""

    inf: Final = float("inf")
    nan: Final = float("nan")
    abs = staticmethod(tf.abs)
    any = staticmethod(tf.reduce_any)
    floor = staticmethod(tf.floor)
    isfinite = staticmethod(tf.math.is_finite)
    max = staticmethod(tf.reduce_max)
    maximum = staticmethod(tf.maximum)
    min = staticmethod(tf.reduce_min)
    minimum = staticmethod(tf.minimum)
    sort = staticmethod(tf.sort)
    stack = staticmethod(tf.stack)
    sum = staticmethod(tf.reduce_sum)
    zeros_like = staticmethod(tf.zeros_like)

    @staticmethod
    def concatenate(parts: list[tf.Tensor]) -> tf.Tensor:
        return tf.concat(parts, axis=0)

    @staticmethod
    def constant(value: Any) -> tf.Tensor:
        return tf.constant(value, tf.float64)

    @staticmethod
    def exp2(x: tf.Tensor) -> tf.Tensor:
        return tf.pow(tf.constant(2.0, tf.float64), x)

    @staticmethod
    def log2(x: tf.Tensor) -> tf.Tensor:
        return tf.math.log(x) / np.log(2.0)

    @staticmethod
    def max_from_end(levels: tf.Tensor) -> tf.Tensor:
        """Per level, the largest of this and all later ones, found in steps of doubling reach."""
        reach, count, rest = 1, levels.shape[0], [[0, 0]] * (levels.shape.rank - 1)
        while reach < count:
            levels = tf.maximum(levels, tf.pad(levels[reach:], [[0, reach], *rest], constant_values=-np.inf))
            reach *= 2
        return levels

    @staticmethod
    def sum_from_end(levels: tf.Tensor) -> tf.Tensor:
        """Per level, the sum of this and all later ones."""
        return tf.cumsum(levels, axis=0, reverse=True)

    @staticmethod
    def where(condition: Any, yes: Any, no: Any) -> tf.Tensor:
        # Python floats would become float32 where both are.
        like = [part.dtype for part in (yes, no) if isinstance(part, tf.Tensor)]
        dtype = like[0] if like else tf.float64
        return tf.where(condition, tf.convert_to_tensor(yes, dtype), tf.convert_to_tensor(no, dtype))


xp = TensorFlowArrays


class Measured(NamedTuple):
    """What is known after a round of evaluations, with `LEVELS + SEARCH` levels, and what the next one is to do.

    Attributes:
        done: how many rounds there were.
        at: offsets; `wide` where the function has been evaluated.
        fa: values at the offsets `a`, of shape `(levels, n, out)`.
        fb: values at the offsets `b`, likewise.
        found: derivatives of each order, of shape `(n, out)`.
        missed: which parameters need more steps, of shape `(n,)`.
        up: for which of these the steps are to be larger; the others get smaller ones.
    """

    done: tf.Tensor
    at: Offsets
    fa: tf.Tensor
    fb: tf.Tensor
    found: list[Derivative]
    missed: tf.Tensor
    up: tf.Tensor


class Stencil:
    """The numerical derivatives of one function at one point.

    Args:
        problem: the function and its parameters.
        points: evaluates it.
        options: how.
    """

    def __init__(self, problem: Problem, points: GraphPoints, options: NumericOptions) -> None:
        free, self._noise = options.free, options.noise
        size = len(free)
        limits = np.full((size, 2), np.nan) if options.bounds is None else options.bounds[free]
        self._low = np.where(np.isnan(limits[:, 0]), -np.inf, limits[:, 0])
        self._high = np.where(np.isnan(limits[:, 1]), np.inf, limits[:, 1])
        parts = [tf.reshape(tf.cast(source, tf.float64), [-1]) for source in problem.sources]
        whole = tf.stop_gradient(tf.concat(parts, axis=0))
        self._x = tf.gather(whole, free)
        self._points = FreePoints(points, whole, free)
        self._eye = np.eye(size, dtype=bool)
        self._single = np.repeat([dtype == tf.float32 for dtype in problem.dtypes], problem.sizes)[free]
        resolution = np.where(self._single, np.finfo(np.float32).eps, np.finfo(np.float64).eps)
        scale = np.full(size, np.nan) if options.scale is None else options.scale[free]
        self._plan: Ladder = ladder(xp, self._x, self._low, self._high, xp.constant(scale), xp.constant(resolution))
        self._steps = {searched: steps(xp, self._plan, searched) for searched in ("", "up", "down")}
        self._f0 = points.at(whole)

    def first(self) -> tuple[tf.Tensor, Derivative]:
        """The function at the point, of shape `(out,)`, and first derivatives of shape `(n, out)`."""
        return self._f0, self._search((1,)).found[0]

    def second(self, *, diagonal: bool) -> tuple[tf.Tensor, Derivative, tf.Tensor, tf.Tensor]:
        """The function at the point, its first derivatives, its Hessian and the error of that."""
        measured = self._search((1, 2))
        first, second = measured.found
        values, errors = [second.value[:, 0]], [second.error[:, 0]]
        size = self._eye.shape[0]
        order = np.diag(np.arange(size))
        pairs = np.triu_indices(size, 1)
        if diagonal:
            return self._f0, first, tf.linalg.diag(values[0]), tf.linalg.diag(errors[0])
        if pairs[0].size:
            mixed = self._mixed(measured, pairs)
            values.append(mixed.value)
            errors.append(mixed.error)
            order[pairs] = order[pairs[::-1]] = size + np.arange(pairs[0].size)
        hessian, error = (tf.gather(tf.concat(parts, axis=0), order) for parts in (values, errors))
        return self._f0, first, hessian, error

    def _search(self, orders: tuple[int, ...]) -> Measured:
        """Derivatives of these orders, in up to three rounds of evaluations: see `_search.search`.

        The rounds are a loop, so that function and formulas are in the graph once.
        """
        size, levels = self._eye.shape[0], LEVELS + SEARCH
        flat = tf.zeros([levels, size], tf.float64)
        values = tf.fill([levels, size, self._points.size], np.float64(np.nan))
        unknown = tf.fill([size, self._points.size], np.float64(np.inf))
        nothing = Derivative(unknown, unknown, unknown < 0.0, unknown < 0.0, unknown, unknown)
        start = Measured(
            done=tf.constant(0),
            at=Offsets(flat, flat, flat > 0.0),
            fa=values,
            fb=values,
            found=[nothing for _ in orders],
            missed=self._x == self._x,
            up=self._x != self._x,
        )
        (last,) = tf.while_loop(
            lambda state: (state.done < 3) & tf.reduce_any(state.missed),
            lambda state: [self._round(orders, state)],
            [start],
            parallel_iterations=1,
        )
        return last  # type: ignore[no-any-return]

    def _round(self, orders: tuple[int, ...], before: Measured) -> Measured:
        downward = tf.concat([self._steps[""], self._steps["down"]], axis=0)
        upward = tf.concat([self._steps["up"], self._steps[""]], axis=0)
        at = offsets(xp, self._x, self._plan, tf.where(before.up, upward, downward), self._rounded)
        place = np.arange(LEVELS + SEARCH)[:, None]
        first = np.isin(place, FIRST[max(orders)])
        base = tf.where(before.up, place >= SEARCH, place < LEVELS)
        due = tf.where(before.done == 0, first, tf.where(before.done == 1, base & ~first, ~base))
        wanted = at.wide & due & before.missed

        def shifted(old: tf.Tensor) -> tf.Tensor:
            # Earlier rounds left what they know where a search to smaller steps has it.
            up = before.up if old.shape.rank == 2 else before.up[:, None]
            return tf.where(up, tf.roll(old, SEARCH, axis=0), old)

        values = zip((before.fa, before.fb), self._values(at, wanted), strict=True)
        fa, fb = (tf.where(wanted[:, :, None], new, shifted(old)) for old, new in values)
        evaluated = shifted(tf.cast(before.at.wide, tf.float64)) > 0.0
        at = at._replace(wide=wanted | evaluated)
        spread = Offsets(*(offset[:, :, None] for offset in at))
        down = before.missed & ~before.up & (before.done == 2)
        side, eps = self._plan.side[:, None], self._points.eps
        whole = before.done == 1
        results = derive(
            xp,
            orders,
            self._f0,
            fa,
            fb,
            spread,
            side,
            eps=eps,
            searched_down=down[:, None],
            whole=whole,
            noise=self._noise,
        )
        found = [self._better(before, *pair) for pair in zip(before.found, results, strict=True)]
        missed = [tf.reduce_any(~result.good, axis=1) for result in found]
        unresolved = [tf.reduce_any(~result.good & ~result.rounding, axis=1) for result in found]
        after = Measured(
            done=before.done + 1,
            at=at,
            fa=fa,
            fb=fb,
            found=found,
            missed=tf.reduce_any(missed, axis=0),
            up=before.up,
        )
        larger = after.missed & ~tf.reduce_any(unresolved, axis=0)
        return after._replace(up=tf.where(before.done == 1, larger, before.up))

    @staticmethod
    def _better(before: Measured, old: Derivative, new: Derivative) -> Derivative:
        """Of the results of two rounds, the one that stands."""
        up = before.up[:, None]
        old = old._replace(last=tf.where(up, old.last + float(SEARCH), old.last))
        # One component may have asked for more steps on behalf of a parameter whose others were good: those stand.
        # Where rounding limited the derivative, it stands unless larger steps did better.
        better = before.missed[:, None] & ~old.good & (~up | ~old.rounding | ~(old.error <= new.error))
        return Derivative(*(tf.where(better, after, kept) for kept, after in zip(old, new, strict=True)))

    def _values(self, at: Offsets, wanted: tf.Tensor) -> list[tf.Tensor]:
        """The function at the offsets `a` and `b` where wanted, of shape `(levels, n, out)`."""
        size, points = self._eye.shape[0], []
        for offset in (at.a, at.b):
            moved = self._rounded(tf.where(wanted, self._x + offset, self._x))
            points.append(tf.where(self._eye, moved[:, :, None], self._x))
        active = tf.reshape(tf.stack([wanted, wanted]), [-1])
        values = self._points(tf.reshape(tf.stack(points), [-1, size]), active)
        return tf.unstack(tf.reshape(values, [2, -1, size, self._points.size]))  # type: ignore[no-any-return]

    def _levels(self, measured: Measured) -> tuple[Offsets, tf.Tensor, tf.Tensor]:
        """Offsets and values on the levels that mixed derivatives use, of shape `(CROSS, n)`."""
        last = measured.found[-1].last[:, 0]
        top = tf.maximum(last - float(CROSS - 1), 0.0)
        index = np.arange(LEVELS + SEARCH, dtype=np.float64)[:, None]

        def chosen(levels: tf.Tensor) -> tf.Tensor:
            taken = [tf.reduce_sum(tf.where(index == top + float(i), levels, 0.0), axis=0) for i in range(CROSS)]
            return tf.stack(taken)

        wide = chosen(tf.cast(measured.at.wide, tf.float64)) > 0.5
        at = Offsets(chosen(measured.at.a), chosen(measured.at.b), wide)
        return at, chosen(measured.fa[..., 0]), chosen(measured.fb[..., 0])

    def _mixed(self, measured: Measured, pairs: tuple[np.ndarray[Any, Any], ...]) -> Derivative:
        levels, edge_a, edge_b = self._levels(measured)
        one, other = (Offsets(*(tf.gather(part, index, axis=1) for part in levels)) for index in pairs)
        wide = one.wide & other.wide
        points = []
        for offset_one, offset_other in zip(one[:2], other[:2], strict=True):
            moves = self._eye[pairs[0]] * offset_one[:, :, None] + self._eye[pairs[1]] * offset_other[:, :, None]
            points.append(self._rounded(tf.where(wide[:, :, None], self._x + moves, self._x)))
        active = tf.reshape(tf.stack([wide, wide]), [-1])
        values = self._points(tf.reshape(tf.stack(points), [-1, self._eye.shape[0]]), active)
        corner_a, corner_b = tf.unstack(tf.reshape(values, [2, CROSS, pairs[0].size]))
        edges = tuple(tf.gather(edge, index, axis=1) for index in pairs for edge in (edge_a, edge_b))
        sides, noises = (
            [tf.gather(part, index) for index in pairs]
            for part in (tf.abs(self._plan.side), measured.found[-1].noise[:, 0])
        )
        return derive_mixed(
            xp,
            self._f0,
            (corner_a, corner_b),
            edges,
            (one, other),
            sides[0] + sides[1],
            eps=self._points.eps,
            noise=tf.maximum(*noises),
        )

    def _rounded(self, points: tf.Tensor) -> tf.Tensor:
        """The nearest parameters to these that the function can be given and that lie within the bounds."""
        nearest = tf.where(self._single, tf.cast(tf.cast(points, tf.float32), tf.float64), points)
        return tf.minimum(tf.maximum(nearest, self._low), self._high)
