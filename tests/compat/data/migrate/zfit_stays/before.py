"""A fit whose model is zfit's."""

import zfit
from zfit import z

zfit.run.set_graph_mode(False)
obs = zfit.Space("x", limits=(0, 1))


@z.function(wraps="loss")
def square(x):
    return z.square(x)
