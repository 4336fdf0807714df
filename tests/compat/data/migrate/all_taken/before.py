import zfit

zrun = zrun_tf = 3
zfit.run.set_graph_mode(False)
