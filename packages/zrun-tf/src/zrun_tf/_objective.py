"""The bridge to minimisers: a loss as functions of a NumPy vector."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import tensorflow as tf

from zrun_core._reads import announced
from zrun_core._scope import current
from zrun_core.errors import IllegalInGraphError

from ._carried import Carried
from ._convex import made_positive
from ._differences import by_differences
from ._dispatch import direct, numpy_of
from ._leaves import Rows
from ._noted import note_gradient
from .gradients._memory import StepMemory

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._losses import LossFunctions
    from ._parameters import Parameters

    Vector = np.ndarray[Any, np.dtype[np.float64]]

_FLOAT64: Final = np.dtype(np.float64)


class Objective:
    """A loss as functions of a vector: NumPy in, NumPy and Python floats out. Made by `objective`.

    Every method takes `x`, float64 of shape `(n,)`. The policy in force at the call decides whether a graph runs and
    whether derivatives are automatic; where the loss is not finite, numerical ones are NaN. Value, gradient and
    Jacobian found at one `x` are kept until another `x` comes, the policy changes, or something else that the loss
    reads takes another value: a variable, a field of its `self`, a tracked attribute. What is not seen is other state
    of Python that it reads from elsewhere, and, where it runs eagerly, variables that are not trainable; `forget` is
    for these.

    Scope: safe to share between threads; calls on one loss that reads variables run one at a time.

    Attributes:
        names: the name of each parameter.
        x0: the start values, shape `(n,)`, read-only.
        evaluations: how often each method computed something, by name (a value that was kept is not counted).
    """

    # iminuit would take `hessian` unasked, and fails where that is not positive definite; it can be given
    # `convex_hessian`.
    has_hessian = False

    def __init__(
        self, loss: Callable[..., Any], params: Parameters, data: dict[str, Any], functions: LossFunctions
    ) -> None:
        self._loss = loss
        self._params = params
        self._data = data
        self._functions = functions
        self._carried = Carried(loss, data, params.bound)
        self._lock = params.lock
        self._kept: tuple[Any, dict[str, Any]] = (None, {})
        self._steps = StepMemory(params.names, functions.name)
        self.names = params.names
        self.x0 = params.start
        self.evaluations: Counter[str] = Counter()

    @property
    def _parameters(self) -> dict[str, None]:
        # iminuit looks here for the names of the parameters.
        return dict.fromkeys(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"<objective of {self._functions.name} with parameters {', '.join(self.names)}>"

    def __call__(self, x: Any) -> Any:
        """The value at `x`; see `value`."""
        return self.value(x)

    def value(self, x: Any) -> Any:
        """The loss at `x`.

        Args:
            x: the parameters, shape `(n,)`.

        Returns:
            A Python float; for a loss that returns residuals, a float64 array of shape `(m,)`.

        Raises:
            ValueError: `x` has another shape.
        """
        return self._at(x, "value")[0]

    def gradient(self, x: Any) -> Vector:
        """The gradient of the loss at `x`.

        Args:
            x: the parameters, shape `(n,)`.

        Returns:
            float64 of shape `(n,)`.

        Raises:
            GradientError: the loss returns residuals (use `jacobian`), or does not depend on a parameter.
            ValueError: `x` has another shape.
        """
        return self._at(x, "gradient")[0]  # type: ignore[no-any-return]

    def value_and_gradient(self, x: Any) -> tuple[float, Vector]:
        """Value and gradient of the loss at `x`, computed together.

        Args:
            x: the parameters, shape `(n,)`.

        Returns:
            A Python float, and float64 of shape `(n,)`.

        Raises:
            GradientError: as for `gradient`.
            ValueError: `x` has another shape.
        """
        gradient, value = self._at(x, "gradient", "value")
        return value, gradient

    def jacobian(self, x: Any) -> Vector:
        """The derivatives of residuals at `x`.

        Args:
            x: the parameters, shape `(n,)`.

        Returns:
            float64 of shape `(m, n)`.

        Raises:
            GradientError: the loss returns a single number (use `gradient`).
            ValueError: `x` has another shape.
        """
        return self._at(x, "jacobian")[0]  # type: ignore[no-any-return]

    def hessian(self, x: Any) -> Vector:
        """The second derivatives of the loss at `x`.

        Args:
            x: the parameters, shape `(n,)`.

        Returns:
            float64 of shape `(n, n)`, symmetric.

        Raises:
            GradientError: the loss returns residuals.
            ValueError: `x` has another shape.
        """
        return self._at(x, "hessian")[0]  # type: ignore[no-any-return]

    def convex_hessian(self, x: Any) -> Vector:
        """The Hessian for minimisers that need a positive definite one, such as iminuit's `hessian=`.

        Where the loss is convex around `x`, as at a minimum, it is the Hessian. Elsewhere the sign of negative
        eigenvalues is turned and those next to zero are raised (Dauphin et al. 2014, arXiv:1406.2572), of the matrix
        scaled to a diagonal of ones.

        Not for a fit with fixed parameters: iminuit 2.33 then takes elements of the matrix for those of other
        parameters, and gives wrong errors, whatever computes the matrix.

        Args:
            x: the parameters, shape `(n,)`.

        Returns:
            float64 of shape `(n, n)`, symmetric and positive definite; as the Hessian is where that is not finite.

        Raises:
            GradientError: the loss returns residuals.
            ValueError: `x` has another shape.
        """
        return made_positive(self.hessian(x))

    def with_data(self, **data: Any) -> Objective:
        """The same loss on other data; data of the same structure run the same graphs.

        Args:
            **data: what to replace, by the names given to `objective`; the rest stays.

        Returns:
            A new objective.

        Raises:
            TypeError: the loss was not given data of this name.
        """
        unknown = [name for name in data if name not in self._data]
        if unknown or not data:
            raise TypeError(
                f"with_data takes the data given to objective by name ({', '.join(self._data) or 'none'}); "
                f"got {', '.join(map(repr, unknown)) or 'nothing'}."
            )
        other = Objective(self._loss, self._params, {**self._data, **self._functions.inputs(data)}, self._functions)
        other._steps = self._steps.copy()
        return other

    def as_dict(self, x: Any) -> dict[str, Any]:
        """The vector as a mapping from names to floats, or arrays for parameters that are arrays.

        Args:
            x: the parameters, shape `(n,)`.

        Returns:
            One entry for each parameter as it was given to `objective`.
        """
        return self._params.by_name(self._params.check(x))

    def assign(self, x: Any) -> None:
        """Set the variables that were given as parameters, for example to the result of a fit.

        Args:
            x: the parameters, shape `(n,)`.

        Raises:
            TypeError: the parameters are not variables.
            ValueError: `x` has another shape.

        Scope: process (the variables change for everybody).
        """
        if not self._params.bound.variables:
            raise TypeError("assign sets parameters that are variables; this objective was given start values instead.")
        parts = self._params.bound.layout.split(tf.constant(self._params.check(x)))
        self._params.bound.assign(parts)

    def _at(self, x: Any, *asked: str) -> list[Any]:
        """Results at `x`, kept or computed; what the first computes may serve the others."""
        # One long function, because what runs between two executions of a graph costs several times its length.
        private = direct.symbols
        if not (tf.executing_eagerly() if private is None else private.state_of(private.context()).is_eager):
            raise IllegalInGraphError(
                f"{asked[0]} of {self!r} was asked for while a graph is being built, but an objective gives NumPy, "
                f"which a graph has none of. Call the loss itself there, and zrun.gradient for its derivatives."
            )
        if type(x) is not np.ndarray or x.dtype is not _FLOAT64 or x.shape != self.x0.shape:
            x = self._params.check(x)
        policy, functions = current(), self._functions
        with self._lock:
            if not self._carried.is_current():
                # Loss, data and parameters as they are now.
                self._carried = Carried(self._loss, self._data, self._params.bound)
            state = self._carried.state()
            stamp = (x.tobytes(), policy, announced.version, state, functions.other_state())
            if self._kept[0] != stamp:
                self._kept = (stamp, {})
            for what in asked:
                if what not in self._kept[1]:
                    found = self._compute(x, what, autograd=policy.autograd)
                    # The first call of a loss finds out which other variables it reads.
                    self._kept = ((*stamp[:-1], functions.other_state()), {**self._kept[1], **found})
            results = [self._kept[1][what] for what in asked]
        return [result if type(result) is float else result.copy() for result in results]

    def forget(self) -> None:
        """Drop the results that are kept, after a change that zrun cannot see.

        That is state of Python which the loss reads, and, for a loss that runs eagerly, a variable that is not
        trainable.
        """
        with self._lock:
            self._kept = (None, {})

    def _compute(self, x: Vector, what: str, *, autograd: bool) -> dict[str, Any]:
        self.evaluations[what] += 1
        if what == "value":
            return {what: _number_or_vector(self._functions.run(what, self._carried, x))}
        note_gradient(self._functions.name, what, autograd=autograd)
        if not autograd:
            return self._numeric(x, what, self._carried)
        result = self._functions.run(what, self._carried, x)
        if what == "hessian":
            return {what: numpy_of(result)}
        return {"value": _number_or_vector(result[0]), what: numpy_of(result[1])}

    def _numeric(self, x: Vector, what: str, carried: Carried) -> dict[str, Any]:
        def evaluate(points: Vector) -> Vector:
            self.evaluations["points"] += len(points)
            return self._functions.run("batch", carried, Rows(tf.constant(points))).numpy()  # type: ignore[no-any-return]

        return by_differences(what, self._functions.name, self._steps, evaluate, x, lambda: self.value(x))


def _number_or_vector(value: tf.Tensor) -> Any:
    """A scalar as a Python float, residuals as a float64 array."""
    array = numpy_of(value)
    return float(array) if not array.shape else np.asarray(array, np.float64)
