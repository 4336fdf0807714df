"""Nothing of this is a matter of the codemod: other things called run, function, z."""
import subprocess

import tensorflow as tf
import zrun_tf as zrun

subprocess.run(["true"])
tf.function(lambda x: x)


class z:
    def function(self, wraps):
        return self


z().function(wraps="loss")
zrun.run.set_mode(graph="auto")
print(tf.executing_eagerly(), "zfit")
