"""What the module `zfit.util.execution` held: `RunManager` and `eval_object`.

Example:
    >>> import tensorflow as tf
    >>> from zrun_compat.execution import eval_object
    >>> eval_object({"mu": tf.constant([1.5]), "name": "signal"})
    {'mu': array([1.5], dtype=float32), 'name': 'signal'}
"""

from __future__ import annotations

from zrun_tf import eval_object

from ._run import RunManager

__all__ = ["RunManager", "eval_object"]
