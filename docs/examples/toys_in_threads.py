"""A toy study on a pool of threads. Each toy leases the CPU it runs on, so that no more run at a time than there are.

The pool may have more threads than CPUs, and other code of the same process may lease CPUs too: whoever finds none
free waits for one. `run.bind` hands the policy of this thread to the workers.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf
from scipy.optimize import minimize

import zrun_tf as zrun

TOYS = 24
EVENTS = 2_000


def nll(mean, width, data):
    return tf.reduce_sum(0.5 * ((data - mean) / width) ** 2 + tf.math.log(width))


# Traced once; the toys run the same graph on other data.
loss = zrun.objective(nll, {"mean": 1.0, "width": 1.0}, data=np.zeros(EVENTS))


def fit_toy(seed):
    data = np.random.default_rng(seed).normal(3.0, 2.0, EVENTS)
    with zrun.run.acquire_cpu(max_cpu=1):
        toy = loss.with_data(data=data)
        return minimize(toy.value_and_gradient, toy.x0, jac=True, bounds=[(None, None), (0.1, None)]).x


with ThreadPoolExecutor(max_workers=8) as pool:
    fits = np.array(list(pool.map(zrun.run.bind(fit_toy), range(TOYS))))

mean, width = fits.mean(axis=0)
print(f"{TOYS} toys on {zrun.run.n_cpu} CPUs: mean = {mean:.3f}, width = {width:.3f}")
