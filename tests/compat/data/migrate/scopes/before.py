"""Names that are something else here, or may be."""
from zfit import run, z


def parameter(run):
    run.set_graph_mode(False)
    run.set_mode(graph=False)


def rebound():
    z = object()
    return z.function


def fine():
    [run.get_graph_mode() for _ in range(3)]
    return lambda: run.get_autograd_mode()


def comprehension(managers):
    return [run.get_graph_mode() for run in managers]


class Fit:
    run = run

    def set(self):
        self.run.set_graph_mode(False)
        return run.get_graph_mode()


def nonlocal_one():
    if fine():
        return run.get_graph_mode()

    def inner():
        return run.get_autograd_mode()

    return inner


kept = run
kept.set_autograd_mode(True)


def too_early():
    for number in range(2):
        if number:
            late.set_graph_mode(False)
        from zfit import run as late
        late.set_graph_mode(False)
