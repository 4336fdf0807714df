from zfit import run
import tensorflow as tensor

if run.executing_eagerly():
    run.assert_executing_eagerly()


def trace(tf):
    return tf, run.executing_eagerly
