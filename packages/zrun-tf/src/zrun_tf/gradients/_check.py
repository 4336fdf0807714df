"""Automatic derivatives compared with numerical ones, parameter by parameter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import tensorflow as tf

from zrun_core._scope import Using
from zrun_core.errors import IllegalInGraphError
from zrun_tf._errors import GradientError

from ._api import gradient, jacobian
from ._api_second import hessian as hessian_of
from ._check_report import GradientCheck, GradientRow
from ._params import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# The estimate is exceeded by the true error in a few cases of a hundred, and then by little.
_MARGIN: Final = 10.0
# Rounding errors that automatic derivatives may have, in units of the rounding error of their dtype.
_ROUNDINGS: Final = 64.0


def check_gradient(
    func: Callable[..., Any],
    params: Any = None,
    *,
    hessian: bool = False,
    rtol: float = 0.0,
    atol: float = 0.0,
    bounds: Any = None,
    scale: Any = None,
) -> GradientCheck:
    """Compare automatic with numerical derivatives.

    Args:
        func: as for `gradient`, of any shape of result; or an objective.
        params: as for `gradient`; for an objective the point, of shape `(n,)`. None: the start values of an objective.
        hessian: compare second derivatives too.
        rtol: a relative difference that is tolerated besides what the numerical error explains.
        atol: an absolute one.
        bounds: as for `gradient`; numerical derivatives never leave them.
        scale: as for `gradient`.

    Returns:
        What was found, with a row for each derivative: it prints as a table, shows as one in a notebook, is true if all
        agree, and names those that do not (`wrong`). `raise_if_wrong()` makes an error of them.

    Raises:
        GradientError: an argument is invalid, or there are no numerical derivatives here, for example because `func` is
            not finite around the parameters.
        IllegalInGraphError: a graph is being built.

    A derivative is wrong where automatic and numerical one differ by more than 10 times the estimated error of the
    numerical one plus 64 roundings, `atol` and `rtol` times its size. So the test is as sharp as the function allows:
    some 1e-9 of the derivative for a smooth function in float64, 1e-2 in float32 (do such tests in float64).
    A parameter that TensorFlow sees no connection to has the automatic derivative 0 here, which is wrong unless the
    numerical one is 0 too: the way to find NumPy code in a model.

    The evaluations are those of the numerical derivatives, and one for the automatic ones.

    Scope: runs `func` eagerly, or as it decides (a decorated function as a graph); the policy's `autograd` has no part
    in it. Variables are restored.

    Example:
        >>> import numpy as np, tensorflow as tf, zrun_tf as zrun
        >>> def loss(mu, tau):
        ...     return mu**2 * tau + tf.py_function(lambda t: np.sin(t), [tau], tf.float64)
        >>> check = zrun.check_gradient(loss, {"mu": tf.constant(1.0, tf.float64), "tau": tf.constant(2.0, tf.float64)})
        >>> check.ok, [row.name for row in check.wrong]
        (False, ["params['tau']"])
    """
    if not tf.executing_eagerly():
        raise IllegalInGraphError(
            "check_gradient compares numbers, and there are none while a graph is being built. Call it outside."
        )
    for name, value in (("rtol", rtol), ("atol", atol)):
        if type(value) not in (int, float) or not 0 <= value < np.inf:
            raise GradientError(f"{name} must be a number of at least 0; got {value!r}.")
    case = _case(func, params, bounds, scale)
    rows = list(_compared(case.names, case.jacobian(), rtol, atol))
    curved = list(_compared(case.pairs(), case.hessian(), rtol, atol)) if hessian else []
    return GradientCheck(case.name, tuple(rows), tuple(curved))


def assert_gradient(
    func: Callable[..., Any],
    params: Any = None,
    *,
    hessian: bool = False,
    rtol: float = 0.0,
    atol: float = 0.0,
    bounds: Any = None,
    scale: Any = None,
) -> None:
    """Raise if automatic and numerical derivatives disagree; for tests. See `check_gradient`.

    Args:
        func: as for `check_gradient`.
        params: as for `check_gradient`.
        hessian: as for `check_gradient`.
        rtol: as for `check_gradient`.
        atol: as for `check_gradient`.
        bounds: as for `check_gradient`.
        scale: as for `check_gradient`.

    Raises:
        GradientMismatchError: they disagree; an AssertionError whose message has a table of those that do.
        GradientError: as for `check_gradient`.

    Scope: as for `check_gradient`.

    Example:
        >>> import tensorflow as tf, zrun_tf as zrun
        >>> zrun.assert_gradient(lambda x: tf.reduce_sum(tf.sin(x)), tf.constant([1.0, 2.0], tf.float64), hessian=True)
    """
    options = {"rtol": rtol, "atol": atol, "bounds": bounds, "scale": scale}
    check_gradient(func, params, hessian=hessian, **options).raise_if_wrong()


class _Case:
    """What is compared: a function and its parameters.

    Attributes:
        name: of the function.
        names: of the elements of the parameters.
    """

    def __init__(self, func: Callable[..., Any], params: Any, options: dict[str, Any]) -> None:
        self._func, self._params, self._options = func, params, options
        problem = Problem("check_gradient", func, params)
        self.name = problem.name
        self.names = problem.element_names()
        self._sizes = problem.sizes
        self._problem = problem

    def jacobian(self) -> tuple[Floats, Floats, Floats]:
        """Automatic and numerical derivatives and the error of the latter, of shape `(*out, n)`."""
        found = jacobian(self._func, self._params, autograd=False, return_error=True, **self._options)
        numerical, error = (self._flat(part) for part in found)
        return self._flat(self._automatic(scalar=numerical.ndim == 1)), numerical, error

    def _automatic(self, *, scalar: bool) -> Any:
        # A gradient goes backwards once; some functions can be differentiated once only.
        return (gradient if scalar else jacobian)(self._func, self._params, autograd=True, unconnected="zero")

    def hessian(self) -> tuple[Floats, Floats, Floats]:
        """The same for second derivatives, of shape `(n (n + 1) / 2,)`."""
        automatic = np.asarray(self._automatic_hessian())
        found = hessian_of(self._func, self._params, autograd=False, return_error=True, **self._options)
        pairs = np.triu_indices(len(self.names))
        numerical, error = (np.asarray(part)[pairs] for part in found)
        # Both halves are compared with the numerical matrix, which is symmetric.
        upper, lower = automatic[pairs], automatic.T[pairs]
        worse = np.abs(lower - numerical) > np.abs(upper - numerical)
        return np.where(worse, lower, upper), numerical, error

    def _automatic_hessian(self) -> Any:
        return hessian_of(self._func, self._params, autograd=True, unconnected="zero")

    def pairs(self) -> list[str]:
        """The names of second derivatives."""
        one, other = np.triu_indices(len(self.names))
        return [f"{self.names[i]}, {self.names[j]}" for i, j in zip(one, other, strict=True)]

    def _flat(self, structure: Any) -> Floats:
        parts = self._leaves(structure)
        shapes = zip(parts, self._problem.shapes, strict=True)
        flat = [part.reshape(*part.shape[: part.ndim - len(shape)], -1) for part, shape in shapes]
        return np.concatenate(flat, axis=-1)

    def _leaves(self, structure: Any) -> list[Any]:
        return [np.asarray(part) for part in tf.nest.flatten(_listed(structure))]


class _ObjectiveCase(_Case):
    """An objective, at a point."""

    def __init__(self, objective: Any, x: Floats, options: dict[str, Any]) -> None:
        self._objective, self._x = objective, x
        super().__init__(self._value, x, options)
        self.name = repr(objective).strip("<>")
        self.names = list(objective.names)

    def _value(self, x: Floats) -> Any:
        return self._objective.value(x)

    def _automatic(self, *, scalar: bool) -> Any:
        with Using({"autograd": True}):
            return self._objective.gradient(self._x) if scalar else self._objective.jacobian(self._x)

    def _automatic_hessian(self) -> Any:
        with Using({"autograd": True}):
            return self._objective.hessian(self._x)


def _case(func: Any, params: Any, bounds: Any, scale: Any) -> _Case:
    from zrun_tf._objective import Objective

    options = {"bounds": bounds, "scale": scale}
    if isinstance(func, Objective):
        return _ObjectiveCase(func, np.asarray(func.x0 if params is None else params, np.float64), options)
    if params is None:
        raise GradientError(
            "check_gradient takes the parameters as its second argument; only an objective has its own."
        )
    return _Case(func, params, options)


def _listed(structure: Any) -> Any:
    """Mappings as lists, in their own order."""
    if isinstance(structure, dict):
        return [_listed(part) for part in structure.values()]
    return [_listed(part) for part in structure] if isinstance(structure, (list, tuple)) else structure


def _compared(
    names: Sequence[str], found: tuple[Floats, Floats, Floats], rtol: float, atol: float
) -> Iterator[GradientRow]:
    """A row for each derivative; of a function of several results, one for each of these."""
    automatic, numerical, error = found
    eps = np.finfo(automatic.dtype).eps
    for place in np.ndindex(automatic.shape):
        one, other, estimate = float(automatic[place]), float(numerical[place]), float(error[place])
        size = max(abs(one), abs(other))
        tolerance = _MARGIN * estimate + _ROUNDINGS * float(eps) * size + rtol * abs(other) + atol
        result = f"result[{', '.join(map(str, place[:-1]))}]" if place[:-1] else ""
        yield GradientRow(names[place[-1]], result, one, other, estimate, tolerance)
