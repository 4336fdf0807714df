from zfit import run, z
from zrun_compat import run as run2
from zrun_compat import RunManager as RunManager
from zfit.util.execution import eval_object

__all__ = ["run", "fit"]

run.set_graph_mode(False)


def fit(manager):
    # type: (run2) -> None
    run2.set_graph_mode(False)


@z.function
def loss(x): return RunManager
