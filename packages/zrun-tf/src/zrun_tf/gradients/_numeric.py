"""Numerical derivatives of a function that is evaluated for many points at once; NumPy only.

`evaluate(points)` takes a float64 array of shape `(k, n)`, one point per row, and returns an array of shape
`(k, *out)`. Nothing is known of it but its values: it may run a graph, a loop over Python calls, or another program.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from zrun_tf._errors import GradientError

from ._arrays import NumpyArrays
from ._samples import Sampler, Samples
from ._search import search
from ._stencil import CROSS, Offsets, derive_mixed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from ._extrapolate import Derivative

    Floats = NDArray[np.float64]
    Evaluate = Callable[[Floats], ArrayLike]


class NumericJacobian(NamedTuple):
    """First derivatives and what else is known of them.

    Attributes:
        jacobian: shape `(*out, n)`.
        error: estimate of the absolute error of each, of the same shape.
        value: the function at the parameters, of shape `(*out,)`.
        evaluations: number of points at which the function was evaluated.
    """

    jacobian: Floats
    error: Floats
    value: Floats
    evaluations: int


class NumericHessian(NamedTuple):
    """Second derivatives and what else is known of them.

    Attributes:
        hessian: shape `(n, n)`, symmetric.
        error: estimate of the absolute error of each, of the same shape.
        value: the function at the parameters.
        gradient: shape `(n,)`, from the same evaluations.
        gradient_error: estimate of its absolute error.
        evaluations: number of points at which the function was evaluated.
    """

    hessian: Floats
    error: Floats
    value: float
    gradient: Floats
    gradient_error: Floats
    evaluations: int


def numeric_jacobian(
    evaluate: Evaluate,
    x: ArrayLike,
    *,
    bounds: ArrayLike | None = None,
    scale: ArrayLike | None = None,
    single: ArrayLike | None = None,
    names: Sequence[str] | None = None,
    function: str = "the function",
    noise: float | None = None,
) -> NumericJacobian:
    """First derivatives by adaptive differences with Richardson extrapolation.

    The function is evaluated in one batch of `1 + 6 n` points. Where that does not give a derivative to a relative
    accuracy of about 4e-10 (float64), a second batch adds 6 points for each parameter concerned; where there is no
    accuracy of 1e-8 then, a third one adds up to 24, at smaller steps or at larger ones. A smooth function has relative
    errors of 1e-14 to 1e-10 then. Functions that vary on scales
    from 1e-15 to 1e10 times that of the parameter are found; the scale of a parameter is its absolute value, or 1 where
    that is below 1e-14.

    Args:
        evaluate: the function; see the module.
        x: the parameters, of shape `(n,)`.
        bounds: shape `(n, 2)`, lower and upper bound of each parameter; infinite or NaN for none. The function is never
            evaluated outside. None: no bounds.
        scale: shape `(n,)`, on what scale the function varies with each parameter; NaN: not known. None: none is known.
        single: shape `(n,)`, which parameters the function can only be given in float32. None: all if `x` is
            float32, otherwise none.
        names: names of the parameters for error messages. None: `x[0]`, ….
        function: what to call the function in error messages.
        noise: error of a function value, where it is larger than rounding. None: estimated from the values.

    Raises:
        GradientError: the parameters, bounds or scales are invalid, the function is not finite at `x`, or it is not
            finite at any step for one of the parameters.

    Example:
        >>> import numpy as np
        >>> found = numeric_jacobian(lambda points: np.sin(points[:, 0]) * points[:, 1], [0.0, 2.0])
        >>> [round(float(derivative), 9) for derivative in found.jacobian], found.evaluations
        ([2.0, 0.0], 13)
    """
    sampler = Sampler(evaluate, x, bounds, scale, single, names, function, noise)
    (found,), groups = search(sampler, (1,))
    require_finite(sampler, found.value, groups)
    shape = (*sampler.out_shape, sampler.x.size)
    return NumericJacobian(
        jacobian=found.value.T.reshape(shape),
        error=found.error.T.reshape(shape),
        value=sampler.f0.reshape(sampler.out_shape),
        evaluations=sampler.evaluations,
    )


def numeric_hessian(
    evaluate: Evaluate,
    x: ArrayLike,
    *,
    bounds: ArrayLike | None = None,
    scale: ArrayLike | None = None,
    single: ArrayLike | None = None,
    names: Sequence[str] | None = None,
    function: str = "the function",
    noise: float | None = None,
    diagonal: bool = False,
) -> NumericHessian:
    """Second derivatives, and the first ones on the way, from values of the function alone.

    The function is evaluated in two batches: `1 + 6 n` points for the derivatives with respect to one parameter, and
    6 points for each of the `n (n - 1) / 2` pairs. Where the first batch is not enough, others come between them, as
    for `numeric_jacobian`, with up to 30 points for each parameter concerned. A smooth function has relative
    errors of 1e-12 to 1e-8 then; about 1e-6 beside a bound.

    Args:
        evaluate: the function; see the module. It must return one number per point.
        x: the parameters, of shape `(n,)`.
        bounds: as for `numeric_jacobian`.
        scale: as for `numeric_jacobian`.
        single: as for `numeric_jacobian`.
        names: as for `numeric_jacobian`.
        function: as for `numeric_jacobian`.
        noise: as for `numeric_jacobian`.
        diagonal: leave the mixed derivatives out, and 0 in their places.

    Raises:
        GradientError: as for `numeric_jacobian`, or the function returns more than one number per point.

    Example:
        >>> import numpy as np
        >>> found = numeric_hessian(lambda points: np.sin(points[:, 0]) * points[:, 1], [0.0, 2.0])
        >>> np.round(found.hessian, 6).tolist(), found.evaluations
        ([[0.0, 1.0], [1.0, 0.0]], 25)
    """
    sampler = Sampler(evaluate, x, bounds, scale, single, names, function, noise)
    (first, second), groups = search(sampler, (1, 2))
    if sampler.out_shape:
        raise GradientError(
            f"A Hessian needs one number per point; {sampler.function} returned shape {sampler.out_shape}. Reduce it "
            f"to one, or ask for the Jacobian."
        )
    require_finite(sampler, first.value + second.value, groups)
    hessian, error = np.diag(second.value[:, 0]), np.diag(second.error[:, 0])
    pairs = np.triu_indices(sampler.x.size, 1)
    if pairs[0].size and not diagonal:
        mixed = _mixed(sampler, groups, second, pairs)
        for one, other in (pairs, pairs[::-1]):
            hessian[one, other], error[one, other] = mixed.value, mixed.error
    return NumericHessian(
        hessian=hessian,
        error=error,
        value=float(sampler.f0[0]),
        gradient=first.value[:, 0],
        gradient_error=first.error[:, 0],
        evaluations=sampler.evaluations,
    )


def _mixed(
    sampler: Sampler, groups: list[Samples], second: Derivative, pairs: tuple[NDArray[np.intp], NDArray[np.intp]]
) -> Derivative:
    """Mixed second derivatives of these pairs, on the levels that gave the unmixed ones."""
    size = sampler.x.size
    a, b, fa, fb = (np.full((CROSS, size), np.nan) for _ in range(4))
    wide = np.zeros((CROSS, size), bool)
    for group in groups:
        top = np.clip(second.last[group.which, 0] - (CROSS - 1), 0, len(group.at.wide) - CROSS)
        level = top.astype(int) + np.arange(CROSS)[:, None]
        columns = np.arange(group.which.size)
        for target, source in zip((a, b, wide, fa, fb), (*group.at, group.fa[..., 0], group.fb[..., 0]), strict=True):
            target[:, group.which] = source[level, columns]
    one, other = pairs
    corners = []
    for offset in (a, b):
        points = np.tile(sampler.x, (CROSS, one.size, 1))
        for index in pairs:
            moved = np.where(wide[:, index], offset[:, index], 0.0)
            points[:, np.arange(one.size), index] += moved
        corners.append(points)
    values = sampler.values(sampler.rounded(np.concatenate(corners).reshape(-1, size)))
    corner = values.reshape(2, CROSS, one.size)
    edges = (fa[:, one], fb[:, one], fa[:, other], fb[:, other])
    sides = np.abs(sampler.plan.side)
    noise = np.maximum(second.noise[one, 0], second.noise[other, 0])
    with np.errstate(all="ignore"):
        mixed = derive_mixed(
            NumpyArrays,
            sampler.f0,
            (corner[0], corner[1]),
            edges,
            (Offsets(a[:, one], b[:, one], wide[:, one]), Offsets(a[:, other], b[:, other], wide[:, other])),
            sides[one] + sides[other],
            eps=sampler.eps,
            noise=noise,
        )
    if not np.isfinite(mixed.value).all():
        pair = int(np.argmin(np.isfinite(mixed.value)))
        names = [sampler.names[index[pair]] for index in pairs]
        raise GradientError(
            f"The second derivative with respect to {names[0]} and {names[1]} is not available: {sampler.function} is "
            f"not finite where both have moved, at any step that was tried. Give bounds=…, or a smaller scale=…."
        )
    return mixed


def require_finite(sampler: Sampler, values: Floats, groups: list[Samples]) -> None:
    """Refuse a derivative that no step gave."""
    missing = ~np.isfinite(values).all(axis=1)
    if not missing.any():
        return
    worst = int(np.argmax(missing))
    name, value = sampler.names[worst], sampler.x[worst]
    group = next(group for group in groups if worst in group.which)
    tried = np.abs(group.at.a[:, group.which == worst])[group.at.wide[:, group.which == worst]]
    if not tried.size:
        raise GradientError(
            f"The derivative with respect to {name} is not available: its bounds or its scale leave no step between "
            f"the spacing of numbers near {name} = {value:g} and the room there is. Widen bounds=…, or give a larger "
            f"scale=…."
        )
    raise GradientError(
        f"The derivative with respect to {name} is not available: {sampler.function} is NaN or infinite near "
        f"{name} = {value:g}, at every step tried, from {tried.min():.1e} to {tried.max():.1e}. Give bounds=… within "
        f"which it is finite, or a scale=… on which it varies."
    )
