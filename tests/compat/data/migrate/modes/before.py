"""The mode, set for good and for a block, in the spellings of both generations."""

from zfit import run

run.set_mode(graph=False)
run.set_mode(True, False)
run.set_mode(graph={"loss": True, 'model': False})
run.set_mode()
run.set_mode_default()
run.set_graph_mode()
run.set_graph_mode(None)
run.set_graph_mode(graph = "auto")
run.set_graph_mode(False, set_backend=True)
run.set_autograd_mode()
run.set_autograd_mode(False)

with run.set_mode(graph=False):
    print(run.mode["graph"], run.current_policy_graph())
with run.set_mode(True, autograd=False), run.set_mode_default():
    pass
with run.set_graph_mode(False, set_backend=True):
    print(run.get_graph_mode())
with run.set_graph_mode(set_backend=False, graph=False):
    with run.set_autograd_mode(autograd=None):
        print(run.get_autograd_mode(), run.current_policy_autograd())
with (run.set_graph_mode(not True)):
    pass

run.experimental_enable_eager()
run.experimental_enable_eager(True)
run.experimental_enable_eager(eager=False)
run.experimental_enable_eager(run.mode["graph"])
eager = run.experimental_is_eager
if not run.experimental_is_eager and eager:
    print(run.experimental_is_eager)


def settings():
    """A block may be all that there is."""
    run.set_mode()


def reset(mode, **parts):
    run.set_graph_mode(mode)
    run.set_mode(**parts)
    with run.set_mode(**parts):
        return {"graph": run.get_graph_mode}
