"""A fit whose model is zfit's."""

import zfit
import zrun_tf as zrun
from zfit import z

zrun.run.set_mode(graph=False)
obs = zfit.Space("x", limits=(0, 1))


@zrun.function(kind="loss")
def square(x):
    return z.square(x)
