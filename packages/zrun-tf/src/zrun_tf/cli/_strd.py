"""The file format of NIST's Statistical Reference Datasets (StRD) of nonlinear regression, without any model.

A file holds data, two starting points, and parameters with their standard deviations certified to eleven digits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vector = NDArray[np.float64]

CERTIFIED_DIGITS = 11.0

_PARAMETER = re.compile(r"^\s*(b\d+)\s*=\s*(\S+)\s+(\S+)\s+(\S+)\s+(\S+)\s*$")
_SUM_OF_SQUARES = re.compile(r"^Residual Sum of Squares:\s*(\S+)", re.MULTILINE)
_OBSERVATIONS = re.compile(r"^Number of Observations:\s*(\d+)", re.MULTILINE)
_LEVEL = re.compile(r"^\s*(Lower|Average|Higher) Level of Difficulty", re.MULTILINE)
_ORIGIN = re.compile(r"^\s*(Observed|Generated) Data", re.MULTILINE)


@dataclass(frozen=True, eq=False)
class Dataset:
    """What one StRD file says, without the model.

    Attributes:
        name: NIST's name of the data set.
        parameters: names of the `n` parameters, `("b1", "b2", ...)`.
        x: the predictor, shape `(m,)`, or `(m, k)` where there are `k > 1` predictors.
        y: the response, shape `(m,)`.
        starts: NIST's two starting points, shape `(2, n)`; start 1 is far from the solution, start 2 is near.
        certified: the certified parameters, shape `(n,)`.
        certified_errors: the certified standard deviations of the parameters, shape `(n,)`.
        certified_rss: the certified residual sum of squares.
        level: NIST's level of difficulty: `"lower"`, `"average"` or `"higher"`.
        observed: True for measured data, False for data that were generated.
    """

    name: str
    parameters: tuple[str, ...]
    x: Vector
    y: Vector
    starts: Vector
    certified: Vector
    certified_errors: Vector
    certified_rss: float
    level: str
    observed: bool


def parse(text: str) -> Dataset:
    """Read the text of an StRD file of nonlinear regression.

    Args:
        text: the whole content of a `.dat` file.

    Returns:
        The data set.

    Raises:
        ValueError: the text has no name, no parameters or no data, or the numbers it states about itself do not
            agree with what it holds.
    """
    name = re.search(r"^Dataset Name:\s*(\S+)", text, re.MULTILINE)
    level, origin = _LEVEL.search(text), _ORIGIN.search(text)
    rss, observations = _SUM_OF_SQUARES.search(text), _OBSERVATIONS.search(text)
    rows = [match.groups() for line in text.splitlines() if (match := _PARAMETER.match(line))]
    # "Data:" begins two blocks, the description of the columns and, last in the file, the columns themselves.
    _, found, block = text.rpartition("\nData:")
    if not (name and level and origin and rss and observations and rows and found):
        msg = "the text must be an StRD file of nonlinear regression; its header is incomplete. Compare Chwirut1.dat."
        raise ValueError(msg)
    names, *columns = zip(*rows, strict=True)
    start_1, start_2, certified, errors = (np.array(column, dtype=np.float64) for column in columns)
    data = np.array([line.split() for line in block.splitlines()[1:] if line.strip()], dtype=np.float64)
    # The stated degrees of freedom are not compared: NIST's Rat43.dat says 9 where its own standard deviation uses 11.
    if len(data) != int(observations.group(1)):
        msg = (
            f"{name.group(1)}: the file states {observations.group(1)} observations but holds {len(data)} rows. "
            "It is damaged; copy it again."
        )
        raise ValueError(msg)
    return Dataset(
        name=name.group(1),
        parameters=tuple(names),
        x=data[:, 1] if data.shape[1] == 2 else data[:, 1:],
        y=data[:, 0],
        starts=np.stack([start_1, start_2]),
        certified=certified,
        certified_errors=errors,
        certified_rss=float(rss.group(1)),
        level=level.group(1).lower(),
        observed=origin.group(1) == "Observed",
    )


def agreeing_digits(values: Vector, certified: Vector) -> Vector:
    """Return how many digits of each value agree with the certified one.

    Args:
        values: fitted values.
        certified: certified values of the same shape, none of them zero.

    Returns:
        `-log10(|value - certified| / |certified|)`, between 0 and the eleven digits that NIST certifies. A value that
        is not finite has 0.

    >>> import numpy as np
    >>> agreeing_digits(np.array([1.0001, 2.0, np.nan]), np.array([1.0, 2.0, 3.0])).round(2)
    array([ 4., 11.,  0.])
    """
    certified = np.asarray(certified, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        digits = -np.log10(np.abs(values - certified) / np.abs(certified))
    clipped: Vector = np.nan_to_num(np.clip(digits, 0.0, CERTIFIED_DIGITS), nan=0.0)
    return clipped
