"""How a numerical derivative is to be taken, as arrays over all elements of all parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from zrun_tf._errors import GradientError

if TYPE_CHECKING:
    from ._params import Numbers, Problem


class NumericOptions(NamedTuple):
    """What a caller has said of the function and its parameters.

    Attributes:
        bounds: shape `(n, 2)`, NaN or infinite for none; None: no bounds.
        scale: shape `(n,)`, NaN where not known; None: none is known.
        fixed: shape `(n,)`, which elements are held fixed.
        noise: error of a function value; None: not known.
    """

    bounds: Numbers | None
    scale: Numbers | None
    fixed: np.ndarray[Any, np.dtype[np.bool_]]
    noise: float | None

    @property
    def free(self) -> np.ndarray[Any, np.dtype[np.intp]]:
        """The places of the elements that are not fixed."""
        return np.flatnonzero(~self.fixed)

    def of_free(self) -> dict[str, Any]:
        """The options of the NumPy engine, for the free elements."""
        free = self.free
        return {
            "bounds": None if self.bounds is None else self.bounds[free],
            "scale": None if self.scale is None else self.scale[free],
            "noise": self.noise,
        }

    def check(self, problem: Problem) -> None:
        """Refuse bounds and scales that no value of the parameters fits: in a graph, NaN would be all that is said.

        Args:
            problem: the function and its parameters, for messages.

        Raises:
            GradientError: a lower bound is not below its upper one, or a scale is not a positive number.
        """
        for place, (low, high) in enumerate([] if self.bounds is None else self.bounds):
            if low >= high:
                raise GradientError(
                    f"The bounds of {problem.element_names()[place]} must be a lower one below an upper one; got "
                    f"({low}, {high}). Hold a parameter with fixed=…."
                )
        for place, scale in enumerate([] if self.scale is None else self.scale):
            if scale <= 0.0 or np.isinf(scale):
                raise GradientError(
                    f"The scale of {problem.element_names()[place]} must be a positive number, or None where it is not "
                    f"known; got {scale}."
                )
