import zrun_tf as zr
from zfit import run
import zfit

run.set_graph_mode(False)
zr.run.set_mode(graph=zfit.run.get_graph_mode())
