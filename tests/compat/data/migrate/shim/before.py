# Code that was moved to zrun_compat already.
from zrun_compat import run
from zrun_compat.execution import RunManager, eval_object
import zrun_compat
import zrun_compat.execution as execution

run.set_graph_mode(False)
zrun_compat.run.set_autograd_mode(False)
with run.using(graph=False), run.set_mode(autograd=False):
    print(run.policy, run.builds_graph("loss"))
print(eval_object(1), execution.eval_object(2), zrun_compat.execution.eval_object(3))
print(run.cache_info(), run.n_cpu)
run.experimental_clear_caches()
own = RunManager(n_cpu=2)


class Mine(RunManager):
    pass


try:
    run.hashing_data()
except zrun_compat.RemovedNameError:
    pass
