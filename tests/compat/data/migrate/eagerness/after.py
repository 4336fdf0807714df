import zrun_tf as zrun
import tensorflow as tensor

if tensor.executing_eagerly():
    zrun.run.assert_executing_eagerly()


def trace(tf):
    return tf, tensor.executing_eagerly
