"""Calls on several devices and under distribution strategies, each by every path; prints one JSON object.

A program of its own, because logical devices can only be made before TensorFlow starts.
"""

from __future__ import annotations

import json
from contextlib import nullcontext

import numpy as np
import tensorflow as tf

import zrun_tf as zrun
from zrun_core.testing import count_traces
from zrun_tf._dispatch import hidden

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

X = tf.constant(3.0)


def values(strategy, result):
    return [float(r) for r in strategy.experimental_local_results(result)]


def mirrored():
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def device_scopes(decorate):
    f, devices = decorate(lambda x: x * 2), []
    for device in ("CPU:1", "CPU:0", "CPU:1"):
        with tf.device(device):
            devices += [f(x).device[-5:] for x in (X, tf.constant(1.5, tf.float64), np.ones(2))]
    return devices


def several_devices_in_one_graph(decorate):
    @decorate
    def f(x):
        with tf.device("CPU:1"):
            y = x * 2
        with tf.device("CPU:0"):
            z = y + 1
        with tf.device("CPU:1"):
            return z * y

    return [float(f(x)) for x in (X, X, X + 1)]


def variables_in_and_out_of_the_scope(decorate):
    strategy = mirrored()
    with strategy.scope():
        v = tf.Variable(2.0)
    f, found = decorate(lambda x: v * x), []
    for _ in range(2):
        found.append(float(f(X)))
        with strategy.scope():
            found.append(float(f(X)))
        found.append(values(strategy, strategy.run(f, (X,))))
    v.assign(5.0)
    return [*found, float(f(X)), values(strategy, strategy.run(f, (X,)))]


def what_a_graph_knows_of_its_strategy(decorate):
    strategy, found = mirrored(), []
    replicas = decorate(lambda x: x * tf.cast(tf.distribute.get_strategy().num_replicas_in_sync, tf.float32))
    across = decorate(lambda x: x if tf.distribute.in_cross_replica_context() else -x)
    for _ in range(2):
        # In the scope first: what is traced there must not be found outside.
        with strategy.scope():
            found += [float(replicas(X)), float(across(X))]
        found += [float(replicas(X)), float(across(X))]
        found.append(values(strategy, strategy.run(lambda: across(X))))
    return found


def each_replica_knows_its_number(decorate):
    strategy = mirrored()

    @decorate
    def f(x):
        return x * tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group + 1, tf.float32)

    found = [values(strategy, strategy.run(lambda: f(X))) for _ in range(2)]
    return [*found, values(strategy, tf.function(lambda: strategy.run(f, (X,)))())]


def each_replica_has_its_gradient(decorate):
    # A graph traced in the first replica reads the variable of the first; the second would get None, silently.
    strategy = mirrored()
    with strategy.scope():
        v = tf.Variable(2.0)
    f = decorate(lambda x: v * x)

    def slope():
        with tf.GradientTape() as tape:
            y = f(X) ** 2
        return tape.gradient(y, v)

    return [values(strategy, strategy.run(slope)) for _ in range(2)]


def a_step_of_training(decorate):
    strategy = mirrored()
    with strategy.scope():
        v = tf.Variable(1.0, aggregation=tf.VariableAggregation.SUM)
    f = decorate(lambda x: v * x)

    def step(x):
        with tf.GradientTape() as tape:
            y = f(x)
        v.assign_sub(0.125 * tape.gradient(y, v))

    for _ in range(2):
        strategy.run(step, (tf.constant(1.0),))
    return [float(each) for each in v.values]


def a_distributed_variable_as_an_argument(decorate):
    strategy = mirrored()
    with strategy.scope():
        v = tf.Variable(2.0)
        f = decorate(lambda v, x: v * x)
        return [float(f(v, X)), float(f(v, X))]


def distributed_data(decorate):
    strategy = mirrored()
    f = decorate(lambda x: tf.reduce_sum(x) * 2)
    data = tf.data.Dataset.from_tensor_slices(tf.range(8.0)).batch(4)
    return [values(strategy, strategy.run(f, (x,))) for x in strategy.experimental_distribute_dataset(data)]


def merging_inside_a_graph_is_refused(decorate):
    strategy = mirrored()
    f = decorate(lambda x: tf.distribute.get_replica_context().all_reduce("sum", x))
    try:
        strategy.run(lambda: f(X))
    except RuntimeError as error:
        return "merge_call" in str(error)
    return "not refused"


def one_device(decorate):
    strategy = tf.distribute.OneDeviceStrategy("CPU:1")
    with strategy.scope():
        v = tf.Variable(2.0)
    f, found = decorate(lambda x: v * x), []
    for _ in range(2):
        with strategy.scope():
            found.append([float(f(X)), f(X).device[-5:]])
        found.append([float(f(X)), f(X).device[-5:]])
        found.append([float(strategy.run(f, (X,))), strategy.run(f, (X,)).device[-5:]])
    return found


def an_objective_in_a_scope(decorate):
    strategy = mirrored()
    loss = decorate(lambda m: (m - tf.cast(tf.distribute.get_strategy().num_replicas_in_sync, tf.float64)) ** 2)
    if isinstance(loss, type(zrun.function(lambda: 0))):
        objective = zrun.objective(loss, {"m": 3.0})
        value = objective.value
    else:

        def value(x):
            return loss(tf.constant(x[0], tf.float64))

    found = []
    for m in (3.0, 4.0):
        with strategy.scope():
            found.append(float(value([m])))
        found.append(float(value([m + 0.5])))
    return found


def traces_under_a_strategy(decorate):
    strategy, f = mirrored(), decorate(lambda x: x + 1)
    if isinstance(f, type(tf.function(lambda: 0))):
        return 4
    with count_traces() as traces:
        for _ in range(3):
            f(X)
            with strategy.scope():
                f(X)
            strategy.run(lambda: f(X))
    # Outside, in the scope, and for each of two replicas.
    return traces.total


CASES = [
    device_scopes,
    several_devices_in_one_graph,
    variables_in_and_out_of_the_scope,
    what_a_graph_knows_of_its_strategy,
    each_replica_knows_its_number,
    each_replica_has_its_gradient,
    a_step_of_training,
    a_distributed_variable_as_an_argument,
    distributed_data,
    merging_inside_a_graph_is_refused,
    one_device,
    an_objective_in_a_scope,
    traces_under_a_strategy,
]


def outcome(case, decorate):
    try:
        return case(decorate)
    except Exception as error:  # noqa: BLE001 - whatever it is, the comparison shows it
        return f"{type(error).__name__}: {error}"


def by_every_path(case):
    results = {"tf.function": outcome(case, tf.function)}
    for path in ("direct", "public"):
        with hidden() if path == "public" else nullcontext():
            results[path] = outcome(case, zrun.function)
    return results


if __name__ == "__main__":
    print(json.dumps({case.__name__: by_every_path(case) for case in CASES}))
