# Code that was moved to zrun_compat already.
from zrun_compat import run
import zrun_tf as zrun
import zrun_compat

zrun.run.set_mode(graph=False)
zrun.run.set_mode(autograd=False)
with zrun.run.using(graph=False), zrun.run.using(autograd=False):
    print(zrun.run.policy, zrun.run.builds_graph("loss"))
print(zrun.eval_object(1), zrun.eval_object(2), zrun.eval_object(3))
print(zrun.run.cache_info(), zrun.run.n_cpu)
zrun.run.clear_graph_cache()
own = zrun.RunManager(n_cpu=2)


class Mine(zrun.RunManager):
    pass


try:
    run.hashing_data()
except zrun_compat.RemovedNameError:
    pass
