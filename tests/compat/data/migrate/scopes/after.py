"""Names that are something else here, or may be."""
from zfit import run, z
import zrun_tf as zrun


def parameter(run):
    run.set_graph_mode(False)
    run.set_mode(graph=False)


def rebound():
    z = object()
    return z.function


def fine():
    [zrun.run.current_policy_graph() for _ in range(3)]
    return lambda: zrun.run.current_policy_autograd()


def comprehension(managers):
    return [run.get_graph_mode() for run in managers]


class Fit:
    run = run

    def set(self):
        self.run.set_graph_mode(False)
        return zrun.run.current_policy_graph()


def nonlocal_one():
    if fine():
        return zrun.run.current_policy_graph()

    def inner():
        return zrun.run.current_policy_autograd()

    return inner


kept = run
kept.set_autograd_mode(True)


def too_early():
    for number in range(2):
        if number:
            late.set_graph_mode(False)
        from zfit import run as late
        zrun.run.set_mode(graph=False)
