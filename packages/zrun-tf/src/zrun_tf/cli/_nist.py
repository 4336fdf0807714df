"""The measured NIST problems that ship with zrun, with their models in TensorFlow operations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from ._strd import Dataset, parse

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._strd import Vector

    Model = Callable[..., Any]


@dataclass(frozen=True, eq=False)
class Problem(Dataset):
    """A data set with its model.

    Attributes:
        model: `model(x, b1, b2, ...)`, written with TensorFlow operations; returns a tensor of the shape of `y`.
        formula: the model as NIST writes it.
        title: what was measured, in a few words.
        x_label: the predictor, with its unit where NIST states one.
        y_label: the response, with its unit where NIST states one.
    """

    model: Model
    formula: str = ""
    title: str = ""
    x_label: str = "x"
    y_label: str = "y"


def make_problem(
    text: str, model: Model, *, response: Callable[[Vector], Vector] | None = None, **labels: str
) -> Problem:
    """Join the text of an StRD file to its model.

    Args:
        text: the whole content of a `.dat` file.
        model: `model(x, b1, b2, ...)` in TensorFlow operations.
        response: what the model describes as a function of the response, such as `np.log`; None: the response itself.
        **labels: `formula`, `title`, `x_label`, `y_label` of the problem.

    Returns:
        The problem.
    """
    fields: dict[str, Any] = {**vars(parse(text)), **labels}
    if response is not None:
        fields["y"] = response(fields["y"])
    return Problem(model=model, **fields)


def chwirut(x: Any, b1: Any, b2: Any, b3: Any) -> Any:
    """An attenuated echo over a straight line; also the model of Chwirut2."""
    return tf.exp(-b1 * x) / (b2 + b3 * x)


def cubic_over_cubic(x: Any, b1: Any, b2: Any, b3: Any, b4: Any, b5: Any, b6: Any, b7: Any) -> Any:
    """A ratio of two cubics, in Horner's form."""
    return (b1 + x * (b2 + x * (b3 + x * b4))) / (1 + x * (b5 + x * (b6 + x * b7)))


def quadratic_over_quadratic(x: Any, b1: Any, b2: Any, b3: Any, b4: Any, b5: Any) -> Any:
    """A ratio of two quadratics, in Horner's form."""
    return (b1 + x * (b2 + x * b3)) / (1 + x * (b4 + x * b5))


def eckerle(x: Any, b1: Any, b2: Any, b3: Any) -> Any:
    """A Gaussian line."""
    return (b1 / b2) * tf.exp(-0.5 * tf.square((x - b3) / b2))


def enso(x: Any, b1: Any, b2: Any, b3: Any, b4: Any, b5: Any, b6: Any, b7: Any, b8: Any, b9: Any) -> Any:
    """A year's cycle and two longer ones of unknown period."""

    def cycle(period: Any, cosine: Any, sine: Any) -> Any:
        phase = 2 * math.pi * x / period
        return cosine * tf.cos(phase) + sine * tf.sin(phase)

    return b1 + cycle(12.0, b2, b3) + cycle(b4, b5, b6) + cycle(b7, b8, b9)


def roszman(x: Any, b1: Any, b2: Any, b3: Any, b4: Any) -> Any:
    """A straight line and the phase of a resonance."""
    return b1 - b2 * x - tf.atan(b3 / (x - b4)) / math.pi


def rat43(x: Any, b1: Any, b2: Any, b3: Any, b4: Any) -> Any:
    """Richards' generalised logistic growth."""
    return b1 / (1 + tf.exp(b2 - b3 * x)) ** (1 / b4)


_SHIPPED: dict[str, dict[str, Any]] = {
    "Chwirut1": {
        "model": chwirut,
        "formula": "exp(-b1*x) / (b2 + b3*x)",
        "title": "ultrasonic calibration",
        "x_label": "metal distance",
        "y_label": "ultrasonic response",
    },
    "ENSO": {
        "model": enso,
        "formula": "b1 + a yearly cycle + two cycles of periods b4 and b7",
        "title": "El Niño in the air pressure",
        "x_label": "time (months)",
        "y_label": "Easter Island less Darwin",
    },
    "Hahn1": {
        "model": cubic_over_cubic,
        "formula": "(b1 + b2*x + b3*x**2 + b4*x**3) / (1 + b5*x + b6*x**2 + b7*x**3)",
        "title": "thermal expansion of copper",
        "x_label": "temperature (K)",
        "y_label": "coefficient of expansion",
    },
    "Kirby2": {
        "model": quadratic_over_quadratic,
        "formula": "(b1 + b2*x + b3*x**2) / (1 + b4*x + b5*x**2)",
        "title": "electron microscope line width",
    },
    "Thurber": {
        "model": cubic_over_cubic,
        "formula": "(b1 + b2*x + b3*x**2 + b4*x**3) / (1 + b5*x + b6*x**2 + b7*x**3)",
        "title": "electron mobility in a semiconductor",
        "x_label": "log(density)",
        "y_label": "electron mobility",
    },
    "Roszman1": {
        "model": roszman,
        "formula": "b1 - b2*x - arctan(b3 / (x - b4)) / pi",
        "title": "quantum defects of atoms",
        "x_label": "energy of the excited state",
        "y_label": "quantum defect",
    },
    "Eckerle4": {
        "model": eckerle,
        "formula": "(b1/b2) * exp(-0.5 * ((x - b3)/b2)**2)",
        "title": "circular interference transmittance",
        "x_label": "wavelength",
        "y_label": "transmittance",
    },
    "Rat43": {
        "model": rat43,
        "formula": "b1 / (1 + exp(b2 - b3*x))**(1/b4)",
        "title": "growth of onions",
        "x_label": "growing time",
        "y_label": "dry weight",
    },
}
SHIPPED = tuple(_SHIPPED)


@cache
def load(name: str) -> Problem:
    """Load one of the problems that ship with zrun.

    Args:
        name: one of `SHIPPED`.

    Returns:
        The problem; the same object each time.
    """
    text = (files("zrun_tf.cli") / "data" / f"{name}.dat").read_text(encoding="ascii")
    return make_problem(text, **_SHIPPED[name])
