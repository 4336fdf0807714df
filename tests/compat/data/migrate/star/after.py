from zfit import *
from zrun_compat.execution import *
from zfit.core.data import *

run.set_graph_mode(False)
run.set_mode_default()
eval_object(1)
