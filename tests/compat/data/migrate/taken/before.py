import zfit

zrun = 3
zfit.run.set_graph_mode(False)


def tf(x):
    import tensorflow
    return zfit.run.executing_eagerly()
