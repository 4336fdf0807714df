from zfit import run
import zrun_tf as zrun
from zrun_compat import run as run2
from zrun_compat import RunManager as RunManager
from zfit.util.execution import eval_object

__all__ = ["run", "fit"]

zrun.run.set_mode(graph=False)


def fit(manager):
    # type: (run2) -> None
    zrun.run.set_mode(graph=False)


@zrun.function
def loss(x): return zrun.RunManager
