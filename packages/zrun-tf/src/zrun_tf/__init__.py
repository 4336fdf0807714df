"""zrun-tf: how TensorFlow code runs, decided in one place.

Example:
    >>> import tensorflow as tf
    >>> import zrun_tf as zrun
    >>> @zrun.function(kind="loss")
    ... def loss(mu, data):
    ...     return tf.reduce_sum((data - mu) ** 2)
    >>> obj = zrun.objective(loss, {"mu": 0.0}, data=[1.0, 2.0, 3.0])
    >>> obj.value_and_gradient([2.0])
    (2.0, array([0.]))

Importing this package imports neither TensorFlow nor NumPy; the first use of one of its names does.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zrun_core import Policy as Policy
    from zrun_core import Static as Static
    from zrun_core import errors as errors
    from zrun_core import invalidates as invalidates
    from zrun_core import register as register
    from zrun_core import static as static
    from zrun_core import struct as struct
    from zrun_core import testing as testing
    from zrun_core import tracked as tracked
    from zrun_core._version import __version__ as __version__
    from zrun_core.errors import DoNotTrace as DoNotTrace

    from ._bridge import objective as objective
    from ._chunked import chunked_map as chunked_map
    from ._chunked import chunked_sum as chunked_sum
    from ._errors import GradientError as GradientError
    from ._errors import GradientMismatchError as GradientMismatchError
    from ._errors import PythonFunctionError as PythonFunctionError
    from ._errors import UnconnectedGradientError as UnconnectedGradientError
    from ._evaluate import eval_object as eval_object
    from ._objective import Objective as Objective
    from ._pyfunc import numpy_function as numpy_function
    from ._pyfunc import py_function as py_function
    from ._run import RunManager as RunManager
    from ._run import function as function
    from ._run import run as run
    from .gradients import GradientCheck as GradientCheck
    from .gradients import assert_gradient as assert_gradient
    from .gradients import check_gradient as check_gradient
    from .gradients import gradient as gradient
    from .gradients import hessian as hessian
    from .gradients import hessian_vector_product as hessian_vector_product
    from .gradients import jacobian as jacobian
    from .gradients import value_and_gradient as value_and_gradient
    from .gradients import value_gradient_hessian as value_gradient_hessian

_CORE = "zrun_core"
_HOME = {
    "DoNotTrace": "zrun_core.errors",
    "GradientCheck": "zrun_tf.gradients",
    "GradientError": "zrun_tf._errors",
    "GradientMismatchError": "zrun_tf._errors",
    "Objective": "zrun_tf._objective",
    "Policy": _CORE,
    "PythonFunctionError": "zrun_tf._errors",
    "RunManager": "zrun_tf._run",
    "Static": _CORE,
    "UnconnectedGradientError": "zrun_tf._errors",
    "__version__": "zrun_core._version",
    "assert_gradient": "zrun_tf.gradients",
    "check_gradient": "zrun_tf.gradients",
    "chunked_map": "zrun_tf._chunked",
    "chunked_sum": "zrun_tf._chunked",
    "errors": _CORE,
    "eval_object": "zrun_tf._evaluate",
    "function": "zrun_tf._run",
    "gradient": "zrun_tf.gradients",
    "hessian": "zrun_tf.gradients",
    "hessian_vector_product": "zrun_tf.gradients",
    "invalidates": _CORE,
    "jacobian": "zrun_tf.gradients",
    "numpy_function": "zrun_tf._pyfunc",
    "objective": "zrun_tf._bridge",
    "py_function": "zrun_tf._pyfunc",
    "register": _CORE,
    "run": "zrun_tf._run",
    "static": _CORE,
    "struct": _CORE,
    "testing": _CORE,
    "tracked": _CORE,
    "value_and_gradient": "zrun_tf.gradients",
    "value_gradient_hessian": "zrun_tf.gradients",
}

__all__ = [
    "DoNotTrace",
    "GradientCheck",
    "GradientError",
    "GradientMismatchError",
    "Objective",
    "Policy",
    "PythonFunctionError",
    "RunManager",
    "Static",
    "UnconnectedGradientError",
    "__version__",
    "assert_gradient",
    "check_gradient",
    "chunked_map",
    "chunked_sum",
    "errors",
    "eval_object",
    "function",
    "gradient",
    "hessian",
    "hessian_vector_product",
    "invalidates",
    "jacobian",
    "numpy_function",
    "objective",
    "py_function",
    "register",
    "run",
    "static",
    "struct",
    "testing",
    "tracked",
    "value_and_gradient",
    "value_gradient_hessian",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if "tensorflow" in sys.modules or home.startswith(_CORE):
        module = import_module(home)
    else:
        from ._early import few_blas_threads

        with few_blas_threads():
            module = import_module(home)
    value = globals()[name] = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
