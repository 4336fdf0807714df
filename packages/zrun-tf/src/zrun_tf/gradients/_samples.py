"""The function values that the NumPy engine collects: what is asked for, checked and counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from zrun_tf._errors import GradientError

from ._arrays import NumpyArrays
from ._stencil import LEVELS, Offsets, ladder, offsets, steps

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.intp]
    Evaluate = Callable[[Floats], ArrayLike]


class Samples(NamedTuple):
    """Function values for the ladders of some parameters.

    Attributes:
        which: which parameters, of shape `(m,)`.
        at: the offsets of the points, of shape `(levels, m)`.
        fa: values at the offsets `a`, of shape `(levels, m, out)`; NaN where not evaluated.
        fb: values at the offsets `b`, likewise.
    """

    which: Integers
    at: Offsets
    fa: Floats
    fb: Floats

    def only(self, chosen: NDArray[np.bool_]) -> Samples:
        """The samples of a part of these parameters."""
        at = Offsets(*(part[:, chosen] for part in self.at))
        return Samples(self.which[chosen], at, self.fa[:, chosen], self.fb[:, chosen])

    def above(self, below: Samples) -> Samples:
        """These levels and, under them, those of `below` for the same parameters."""
        at = Offsets(*(np.concatenate(pair) for pair in zip(self.at, below.at, strict=True)))
        return Samples(self.which, at, np.concatenate([self.fa, below.fa]), np.concatenate([self.fb, below.fb]))


class Sampler:
    """A function and the point to differentiate it at, checked; see `numeric_jacobian` for the arguments.

    Attributes:
        function: what to call the function in error messages.
        x: the parameters.
        names: their names.
        plan: their ladders.
        f0: the function at `x`, of shape `(out,)`, after `first`.
        out_shape: the shape that the function returns for one point.
        eps: relative rounding error of the function's values.
        evaluations: how many points have been evaluated.
        noise: error of a function value; None: not known.
    """

    def __init__(
        self,
        evaluate: Evaluate,
        x: ArrayLike,
        bounds: ArrayLike | None,
        scale: ArrayLike | None,
        single: ArrayLike | None,
        names: Sequence[str] | None,
        function: str,
        noise: float | None = None,
    ) -> None:
        self.noise = noise
        self.function = function
        given = np.asarray(x)
        self.x = np.asarray(given, np.float64)
        if self.x.ndim != 1:
            raise GradientError(f"x must be a vector of parameters, of shape (n,); got shape {self.x.shape}.")
        size = self.x.size
        self.names = list(names) if names is not None else [f"x[{i}]" for i in range(size)]
        if not np.isfinite(self.x).all():
            worst = int(np.argmin(np.isfinite(self.x)))
            raise GradientError(f"{self.names[worst]} is {self.x[worst]}; a derivative needs finite parameters.")
        self._single = np.full(size, given.dtype == np.float32) if single is None else np.asarray(single, bool)
        self._low, self._high = self._checked_bounds(bounds)
        resolution = np.where(self._single, np.finfo(np.float32).eps, np.finfo(np.float64).eps)
        with np.errstate(all="ignore"):
            self.plan = ladder(NumpyArrays, self.x, self._low, self._high, self._checked_scale(scale), resolution)
        self._evaluate = evaluate
        self.evaluations = 0
        self.eps = float(np.finfo(np.float64).eps)
        self.out_shape: tuple[int, ...] = ()
        self.f0 = np.empty(0)

    def _checked_bounds(self, bounds: ArrayLike | None) -> tuple[Floats, Floats]:
        size = self.x.size
        if bounds is None:
            return np.full(size, -np.inf), np.full(size, np.inf)
        limits = np.asarray(bounds, np.float64)
        if limits.shape != (size, 2):
            raise GradientError(
                f"bounds must hold a lower and an upper bound for each of the {size} parameters, in an array of shape "
                f"({size}, 2); got shape {limits.shape}."
            )
        low = np.where(np.isnan(limits[:, 0]), -np.inf, limits[:, 0])
        high = np.where(np.isnan(limits[:, 1]), np.inf, limits[:, 1])
        for name, value, least, most in zip(self.names, self.x, low, high, strict=True):
            if not least < most:
                raise GradientError(
                    f"The bounds of {name} must be a lower one below an upper one; got ({least}, {most}). Leave a "
                    f"parameter that is held fixed out of the derivative."
                )
            if not least <= value <= most:
                raise GradientError(f"{name} = {value} is outside its bounds ({least}, {most}).")
        return low, high

    def _checked_scale(self, scale: ArrayLike | None) -> Floats:
        size = self.x.size
        if scale is None:
            return np.full(size, np.nan)
        scales = np.asarray(scale, np.float64)
        if scales.shape != (size,) or not (np.isnan(scales) | (scales > 0)).all() or np.isinf(scales).any():
            raise GradientError(
                f"scale must hold a positive number (or NaN: not known) for each of the {size} parameters; got "
                f"{scale!r}."
            )
        return scales

    def rounded(self, points: Floats) -> Floats:
        """The nearest parameters to these that the function can be given and that lie within the bounds."""
        # All are rounded, also those that float64 holds and float32 does not.
        with np.errstate(over="ignore"):
            nearest = np.where(self._single, points.astype(np.float32).astype(np.float64), points)
        return np.clip(nearest, self._low, self._high)

    def values(self, points: Floats) -> Floats:
        """The function at points of shape `(k, n)`, as an array of shape `(k, out)`."""
        if not len(points):
            return np.empty((0, self.f0.size))
        self.evaluations += len(points)
        values = np.asarray(self._evaluate(points))
        if values.ndim == 0 or values.shape[0] != len(points):
            raise GradientError(
                f"evaluate must return one value per point: {len(points)} points gave shape {values.shape}."
            )
        if values.dtype.kind != "f":
            raise GradientError(
                f"A derivative needs real values, float32 or float64; {self.function} returned {values.dtype}."
            )
        self.eps = float(np.finfo(np.promote_types(values.dtype, np.float32)).eps)
        self.out_shape = values.shape[1:]
        return values.reshape(len(points), -1).astype(np.float64)

    def first(self, levels: range) -> Samples:
        """Evaluate the function at the parameters, and on these levels of the ladder of each."""
        due = np.zeros((LEVELS, self.x.size), bool)
        due[levels] = True
        at, points = self._places("", np.full(self.x.size, fill_value=True), due)
        values = self.values(np.concatenate([self.x[None, :], points]))
        self.f0 = values[0]
        if not np.isfinite(self.f0).all():
            point = ", ".join(f"{name} = {value:g}" for name, value in zip(self.names, self.x, strict=True))
            raise GradientError(
                f"No derivative: {self.function} returned {self.f0[~np.isfinite(self.f0)][0]} at the parameters "
                f"themselves, {point}."
            )
        return _sorted(np.arange(self.x.size), at, values[1:])

    def more(self, known: Samples, due: NDArray[np.bool_]) -> Samples:
        """Evaluate further levels of ladders.

        Args:
            known: the samples there are.
            due: which levels, of shape `(LEVELS, n)`.

        Returns:
            The samples of the parameters that have further levels.
        """
        chosen = np.asarray(due.any(axis=0), bool)
        known = known.only(chosen[known.which])
        at, points = self._places("", chosen, due)
        new = _sorted(known.which, at, self.values(points))
        fa, fb = (np.where(at.wide[:, :, None], *pair) for pair in ((new.fa, known.fa), (new.fb, known.fb)))
        return Samples(known.which, at._replace(wide=at.wide | known.at.wide), fa, fb)

    def search(self, base: Samples, up: NDArray[np.bool_], down: NDArray[np.bool_]) -> tuple[Samples, Samples]:
        """Evaluate more steps: larger ones for the parameters in `up`, smaller ones for those in `down`."""
        at_up, points_up = self._places("up", up)
        at_down, points_down = self._places("down", down)
        values = self.values(np.concatenate([points_up, points_down]))
        larger = _sorted(np.flatnonzero(up), at_up, values[: len(points_up)])
        smaller = _sorted(np.flatnonzero(down), at_down, values[len(points_up) :])
        return larger.above(base.only(up[base.which])), base.only(down[base.which]).above(smaller)

    def _places(
        self, searched: str, chosen: NDArray[np.bool_], levels: NDArray[np.bool_] | None = None
    ) -> tuple[Offsets, Floats]:
        """The offsets of the chosen parameters, and the points: by offset `a` or `b`, level and parameter."""
        with np.errstate(all="ignore"):
            heights = steps(NumpyArrays, self.plan, searched)
            every = offsets(NumpyArrays, self.x, self.plan, heights, self.rounded)
        at = Offsets(*(part[:, chosen] for part in every))
        if levels is not None:
            at = at._replace(wide=at.wide & levels[:, chosen])
        index = np.flatnonzero(chosen)
        level, column = np.nonzero(at.wide)
        points = np.repeat(self.x[None, :], 2 * len(level), axis=0)
        moves = np.concatenate([at.a[level, column], at.b[level, column]])
        points[np.arange(len(points)), np.tile(index[column], 2)] += moves
        return at, self.rounded(points)


def _sorted(index: Integers, at: Offsets, values: Floats) -> Samples:
    """Values in the order of `Sampler._places` as samples."""
    fa = np.full((*at.wide.shape, values.shape[1]), np.nan)
    fb = fa.copy()
    fa[at.wide], fb[at.wide] = np.split(values, 2)
    return Samples(index, at, fa, fb)
