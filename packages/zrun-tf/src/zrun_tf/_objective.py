"""The bridge to minimisers: a loss as functions of a NumPy vector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from zrun_core._scope import current
from zrun_core.errors import IllegalInGraphError

from ._carried import Carried
from ._data import to_numpy
from ._differences import by_differences
from ._leaves import Rows
from ._losses import LossFunctions, functions_of
from ._noted import Evaluations
from ._parameters import Parameters
from .gradients._memory import StepMemory

if TYPE_CHECKING:
    from collections.abc import Callable

    from zrun_core._policy import Chunksize

    Vector = np.ndarray[Any, np.dtype[np.float64]]


class Objective:
    """A loss as functions of a vector: NumPy in, NumPy and Python floats out. Made by `objective`.

    Every method takes `x`, float64 of shape `(n,)`. The policy in force at the call decides whether a graph runs and
    whether derivatives are automatic; where the loss is not finite, numerical ones are NaN. Value, gradient and
    Jacobian found at one `x` are kept until another `x` comes, the policy changes, or something else that the loss
    reads takes another value: a variable, a field of its `self`. What is not seen is state of Python that it reads from
    elsewhere, and, where it runs eagerly, variables that are not trainable; `forget` is for these.

    Scope: safe to share between threads; calls on one loss that reads variables run one at a time.

    Attributes:
        names: the name of each parameter.
        x0: the start values, shape `(n,)`, read-only.
        evaluations: how often each method computed something, by name (a value that was kept is not counted).
    """

    # iminuit would take `hessian` unasked, and fails where that is not positive definite at the start.
    has_hessian = False

    def __init__(
        self, loss: Callable[..., Any], params: Parameters, data: dict[str, Any], functions: LossFunctions
    ) -> None:
        self._loss = loss
        self._params = params
        self._data = data
        self._functions = functions
        carried = Carried(loss, data, params.bound)
        # With its state, where that cannot change; else it is looked at anew at each call.
        self._fixed: tuple[Carried, tuple[Any, ...]] | None = (carried, carried.state()) if carried.fixed else None
        self._lock = params.lock
        self._kept: tuple[Any, dict[str, Any]] = (None, {})
        self._steps = StepMemory(params.names, functions.name)
        self.names = params.names
        self.x0 = params.start
        self.evaluations = Evaluations()

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
        if not tf.executing_eagerly():
            raise IllegalInGraphError(
                f"{asked[0]} of {self!r} was asked for while a graph is being built, but an objective gives NumPy, "
                f"which a graph has none of. Call the loss itself there, and zrun.gradient for its derivatives."
            )
        x = self._params.check(x)
        policy = current()
        with self._lock:
            carried, state = self._fixed or self._look()
            stamp = (x.tobytes(), policy, state, self._functions.other_state())
            if self._kept[0] != stamp:
                self._kept = (stamp, {})
            for what in asked:
                if what not in self._kept[1]:
                    found = self._compute(x, what, carried, autograd=policy.autograd)
                    # The first call of a loss finds out which other variables it reads.
                    self._kept = ((*stamp[:-1], self._functions.other_state()), {**self._kept[1], **found})
            results = [self._kept[1][what] for what in asked]
        return [result.copy() if isinstance(result, np.ndarray) else result for result in results]

    def _look(self) -> tuple[Carried, tuple[Any, ...]]:
        """Loss, data and parameters as they are now, and what tells whether they have changed."""
        carried = Carried(self._loss, self._data, self._params.bound)
        return carried, carried.state()

    def forget(self) -> None:
        """Drop the results that are kept, after a change that zrun cannot see.

        That is state of Python which the loss reads, and, for a loss that runs eagerly, a variable that is not
        trainable.
        """
        with self._lock:
            self._kept = (None, {})

    def _compute(self, x: Vector, what: str, carried: Carried, *, autograd: bool) -> dict[str, Any]:
        self.evaluations.note(self._functions.name, what, autograd=autograd)
        if what != "value" and not autograd:
            return self._numeric(x, what, carried)
        result = self._functions.run(what, carried, x)
        if what == "value":
            return {"value": to_numpy(result)}
        if what == "hessian":
            return {"hessian": result.numpy()}
        return {"value": to_numpy(result[0]), what: result[1].numpy()}

    def _numeric(self, x: Vector, what: str, carried: Carried) -> dict[str, Any]:
        def evaluate(points: Vector) -> Vector:
            self.evaluations["points"] += len(points)
            return self._functions.run("batch", carried, Rows(tf.constant(points))).numpy()  # type: ignore[no-any-return]

        return by_differences(what, self._functions.name, self._steps, evaluate, x, lambda: self.value(x))


def objective(loss: Callable[..., Any], params: Any, /, *, chunksize: Chunksize = None, **data: Any) -> Objective:
    """Make a loss ready for a minimiser.

    Args:
        loss: returns a scalar, or a vector of residuals for a least-squares fit.
        params: a list of variables that `loss()` reads; or a mapping name -> start value, and `loss(**params)` is
            called; or a vector of start values of shape `(n,)`, and `loss(x)` is called. Parameters reach the loss as
            float64 tensors (variables keep their dtype).
        chunksize: rows that the loss is given at once, or `"auto"`, and its results are added up. Every array in
            `data` is cut along its first axis; mapped files and batches may be given, as to `chunked_sum`. None: all.
        **data: further arguments of the loss, passed by name. Arrays and floats in them are inputs of the graph and
            are copied here; a list of numbers becomes a float64 vector.

    Returns:
        An object with `value`, `gradient`, `value_and_gradient`, `jacobian` and `hessian` of a float64 vector of shape
        `(n,)`. Variables hold what they held before each call.

    Raises:
        TypeError: `loss` cannot be called with these parameters and data, or `params` is of none of the three forms.
        ValueError: there are no parameters, or start values are not finite.

    Example:
        >>> import numpy as np, tensorflow as tf, zrun_tf as zrun
        >>> from scipy.optimize import minimize
        >>> def loss(mu, sigma, data):
        ...     return tf.reduce_sum(((data - mu) / sigma) ** 2 / 2 + tf.math.log(sigma))
        >>> obj = zrun.objective(loss, {"mu": 0.0, "sigma": 1.0}, data=np.array([1.0, 2.0, 4.0, 5.0]))
        >>> fit = minimize(obj.value_and_gradient, obj.x0, jac=True, hess=obj.hessian, method="trust-exact")
        >>> {name: round(value, 3) for name, value in obj.as_dict(fit.x).items()}
        {'mu': 3.0, 'sigma': 1.581}
    """
    if not callable(loss):
        raise TypeError(
            f"objective takes a function that returns the loss; got {loss!r} of type {type(loss).__name__}."
        )
    parameters = Parameters(params)
    parameters.bound.check_call(loss, data)
    return Objective(loss, parameters, (functions := functions_of(loss, chunksize)).inputs(data), functions)
