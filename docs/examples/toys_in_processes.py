"""A toy study on a pool of processes, which together use the CPUs that this process leases and no more.

The processes are spawned, not forked: a forked copy of a process in which TensorFlow has started lacks its threads and
would wait for them for ever. What a spawned process is to run must be importable, so the pool is made below the
question for `__main__`.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import tensorflow as tf
from scipy.optimize import minimize

import zrun_tf as zrun

TOYS = 24
EVENTS = 2_000


def nll(mean, width, data):
    return tf.reduce_sum(0.5 * ((data - mean) / width) ** 2 + tf.math.log(width))


def start_worker(cpus):
    """Runs first in each worker, before TensorFlow has started there."""
    zrun.run.set_n_cpu(cpus)


def fit_toys(seeds):
    loss = zrun.objective(nll, {"mean": 1.0, "width": 1.0}, data=np.zeros(EVENTS))
    fits = []
    for seed in seeds:
        toy = loss.with_data(data=np.random.default_rng(seed).normal(3.0, 2.0, EVENTS))
        fits.append(minimize(toy.value_and_gradient, toy.x0, jac=True, bounds=[(None, None), (0.1, None)]).x)
    return fits


if __name__ == "__main__":
    with zrun.run.acquire_cpu() as cpus:
        workers = min(cpus, 4)
        batches = [range(first, TOYS, workers) for first in range(workers)]
        with ProcessPoolExecutor(
            workers,
            mp_context=get_context("spawn"),
            initializer=start_worker,
            initargs=(cpus // workers,),
        ) as pool:
            fits = np.concatenate(list(pool.map(fit_toys, batches)))
    mean, width = fits.mean(axis=0)
    print(f"{TOYS} toys in {workers} processes on {cpus} CPUs: mean = {mean:.3f}, width = {width:.3f}")
