"""TensorFlow's thread pools: one per process, sized once, before the first operation."""

from __future__ import annotations

import tensorflow as tf

from zrun_core.errors import RuntimeStartedError


def set_threads(intra: int | None, inter: int | None) -> None:
    """Set the threads within an operation and between operations; None leaves one alone.

    Raises:
        RuntimeStartedError: TensorFlow has started with other values.

    Scope: process.
    """
    config = tf.config.threading
    try:
        if intra is not None:
            config.set_intra_op_parallelism_threads(intra)
        if inter is not None:
            config.set_inter_op_parallelism_threads(inter)
    except RuntimeError as error:
        now = (config.get_intra_op_parallelism_threads(), config.get_inter_op_parallelism_threads())
        raise RuntimeStartedError(
            f"TensorFlow has already started, with (intra, inter) = {now} threads (0: its own choice), and cannot "
            f"change to {(intra, inter)}. Call run.set_n_cpu or run.set_cpus_explicit before the first TensorFlow "
            f"operation, or start the program with ZRUN_CPUS={max(intra or 1, inter or 1)}."
        ) from error
