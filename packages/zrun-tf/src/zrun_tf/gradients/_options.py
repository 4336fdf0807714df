"""How a numerical derivative is to be taken, as arrays over all elements of all parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from ._params import Numbers


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
