"""The run manager under each name that an import can give it."""
import zrun_tf as zrun
import zfit.z.numpy as znp
from zfit.util.execution import RunManager as Manager

zrun.run.set_mode(graph=False)
zrun.run.set_mode(graph=True)
zrun.run.set_mode(graph={"loss": True})
zrun.run.clear_graph_cache()


@zrun.function
def one(x):
    return znp.sqrt(x)


@zrun.function(kind="model")
def two(x):
    return zrun.eval_object(x), zrun.eval_object(x), zrun.eval_object(x)


def is_manager(thing: zrun.RunManager) -> "Manager":
    return isinstance(thing, zrun.RunManager)


three = zrun.function(one)
print(zrun.run(three(1.0)), zrun.run([1, 2]), zrun.run.DEFAULT_MODE)
