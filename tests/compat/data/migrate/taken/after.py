import zrun_tf
import tensorflow

zrun = 3
zrun_tf.run.set_mode(graph=False)


def tf(x):
    import tensorflow
    return tensorflow.executing_eagerly()
