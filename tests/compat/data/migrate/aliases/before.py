"""The run manager under each name that an import can give it."""
import zfit
import zfit as zf
import zfit.z as zz
import zfit.z.numpy as znp
from zfit import run as manager, z
from zfit.settings import run as settings_run
from zfit.util import execution
from zfit.util.execution import RunManager as Manager, eval_object
import zfit.util.execution

zfit.run.set_graph_mode(False)
zf.run.set_graph_mode(True)
manager.set_graph_mode({"loss": True})
settings_run.clear_graph_cache()


@zz.function
def one(x):
    return znp.sqrt(x)


@zfit.z.function(wraps="model")
def two(x):
    return eval_object(x), execution.eval_object(x), zfit.util.execution.eval_object(x)


def is_manager(thing: Manager) -> "Manager":
    return isinstance(thing, execution.RunManager)


three = z.function(one)
print(manager(three(1.0)), zf.run([1, 2]), manager.DEFAULT_MODE)
