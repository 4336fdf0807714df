"""Steps remembered between calls: where a minimiser moves little, two points per parameter give the next gradient.

A central difference at the step `h` is off by `bend h²`, as good as exactly. The ladder of a first call measures the
bend of each derivative, and how noisy the function is. Later calls nearby take the step at which the noise equals a
tenth of the bend, and subtract the bend. They check that: for one parameter in turn they measure the bend anew with two
more points, and for all of them they compare the curvature with the one remembered. Where either has changed too much,
or the parameters have moved too far, the call starts from the ladder. A parameter for which noise and bend leave too
little accuracy gets four points at every call, at two steps, which are free of the bend.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ._nearby import at_steps, hessian_at
from ._numeric import NumericHessian, NumericJacobian, numeric_hessian, require_finite
from ._remembered import TRUST, Known, learn
from ._samples import Sampler
from ._search import derive_samples, search

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from ._extrapolate import Derivative

    Floats = NDArray[np.float64]
    Evaluate = Callable[[Floats], ArrayLike]

# By how much bends have changed where a parameter has moved as far as it may, and at least.
_CHANGE: Final = 0.25
_LEAST_CHANGE: Final = 0.005
# How many times the error that was planned for it a bend may turn out to be off.
_OFF: Final = 5.0


class StepMemory:
    """The numerical derivatives of one function, with steps remembered from one call to the next.

    Args:
        names: the names of the parameters, for messages.
        function: what to call the function in messages.

    Scope: belongs to one function; its caller sees to it that threads take turns.
    """

    def __init__(self, names: Sequence[str], function: str) -> None:
        self._names = names
        self._function = function
        self._known: Known | None = None
        self._turn = 0

    def copy(self) -> StepMemory:
        """A memory of its own that starts with what this one knows, for a function much like this one."""
        other = StepMemory(self._names, self._function)
        other._known, other._turn = self._known, self._turn
        return other

    def forget(self) -> None:
        """Start from the ladder at the next call."""
        self._known = None

    def jacobian(self, evaluate: Evaluate, x: ArrayLike) -> NumericJacobian:
        """First derivatives.

        The function is evaluated in one batch at `2 n + 3` points where steps are known, and at 2 more for each
        parameter that needs two steps for a relative error of 5e-9. Otherwise it is at `6 n + 1`, and at 2 more for
        each parameter for which these do not give an estimated relative error of 1.5e-8, which is 1e-10 to 1e-9 in
        truth; then at 4 more, and at 24 more, where there is still none.

        Args:
            evaluate: as for `numeric_jacobian`.
            x: the parameters, of shape `(n,)`.

        Raises:
            GradientError: as for `numeric_jacobian`.
        """
        sampler = self._sampler(evaluate, x)
        if self._near(sampler.x):
            found = self._recalled(sampler)
            if found is not None:
                return found
        first, _ = self._learnt(sampler)
        return _jacobian(sampler, first.value, first.error)

    def hessian(self, evaluate: Evaluate, x: ArrayLike) -> NumericHessian:
        """Second derivatives, and the first ones, from values of the function.

        The function is evaluated in one batch at `n (n + 1) + 3` points where steps are known, otherwise also at those
        of `jacobian` before. The scaled error is 1e-9 to 1e-6. Two of the points check the whole matrix along one
        direction; where that disagrees, the derivatives are those of `numeric_hessian`.

        Args:
            evaluate: as for `numeric_hessian`.
            x: the parameters, of shape `(n,)`.

        Raises:
            GradientError: as for `numeric_hessian`.
        """
        sampler = self._sampler(evaluate, x)
        fresh = not self._near(sampler.x)
        if fresh:
            self._learnt(sampler)
        known = self._known
        if known is not None and known.out_shape == ():
            found = hessian_at(sampler, known)
            if found is not None:
                return found
        more = numeric_hessian(evaluate, x, names=self._names, function=self._function)
        return more._replace(evaluations=more.evaluations + sampler.evaluations)

    def _sampler(self, evaluate: Evaluate, x: ArrayLike) -> Sampler:
        return Sampler(evaluate, x, None, None, None, self._names, self._function)

    def _near(self, x: Floats) -> bool:
        known = self._known
        return known is not None and bool(np.all(np.abs(x - known.x) <= known.reach))

    def _learnt(self, sampler: Sampler) -> tuple[Derivative, Derivative]:
        """First and second derivatives from the ladder, which is then remembered."""
        self._known = None
        (first,), groups = search(sampler, (1,), frugal=True)
        require_finite(sampler, first.value, groups)
        second = derive_samples(sampler, 2, groups)
        self._known = learn(sampler, groups, first, second)
        return first, second

    def _recalled(self, sampler: Sampler) -> NumericJacobian | None:
        """First derivatives from the steps that are known; None where these do not hold any more."""
        known = self._known
        assert known is not None
        single = np.flatnonzero(~known.double)
        self._turn += 1
        turn = single[[self._turn % single.size]] if single.size else single
        # The less the parameters have moved, the better the bends are known, and the wider the steps may be.
        trust = np.clip(_CHANGE * np.max(np.abs(sampler.x - known.x) / known.reach), _LEAST_CHANGE, TRUST)
        step = np.where(known.double | (known.bend == 0.0).any(axis=1), 1.0, np.cbrt(TRUST / trust)) * known.step
        again = np.append(np.flatnonzero(known.double), turn)
        found = at_steps(sampler, known, step, again)
        if found is None:
            return None
        slope, curvature, measured, unsure = found
        wide = step[:, None]
        left = np.where(known.double[:, None], known.rest, trust * np.abs(known.bend) * wide**2)
        error = left + 2.0 * known.noise / wide
        slack = known.noise * 10.0 / wide**2
        if not (np.abs(curvature - known.curvature) <= known.steady + slack).all():
            return None
        off = np.abs(measured - known.bend[again]) - 2.0 * unsure
        counts = ~known.double[again, None]
        if not ((off * wide[again] ** 2 <= _OFF * error[again]) | ~counts).all():
            return None
        # The bend that was measured anew is nearer to the truth, unless it is mostly noise.
        bend = known.bend.copy()
        bend[again] = np.where(counts & (unsure > 0.1 * np.abs(measured)), bend[again], measured)
        self._known = known._replace(bend=bend)
        return _jacobian(sampler, slope - bend * wide**2, error)


def _jacobian(sampler: Sampler, value: Floats, error: Floats) -> NumericJacobian:
    shape = (*sampler.out_shape, sampler.x.size)
    return NumericJacobian(
        jacobian=value.T.reshape(shape),
        error=error.T.reshape(shape),
        value=sampler.f0.reshape(sampler.out_shape),
        evaluations=sampler.evaluations,
    )
