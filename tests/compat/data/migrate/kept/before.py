import contextlib

from zfit import run

change = run.set_graph_mode(False)
with change:
    pass
with run.set_graph_mode(False) as mode:
    print(mode)
changes = [run.set_mode(graph=False), run.set_autograd_mode(False)]
with run.set_mode():
    pass
run.set_mode(None, autograd=None)
run.set_graph_mode(False, set_backend=False)
run.set_graph_mode({"zfit_tensor": False})
run.set_graph_mode(False, True, 3)
run._set_graph_mode(False)
run.experimental_disable_param_update(True)
run.set_data_hashing(False)
with contextlib.ExitStack() as stack:
    stack.enter_context(run.set_graph_mode(False))
    value = stack.enter_context(run.set_autograd_mode(False))


@run.set_graph_mode(False)
def decorated():
    with run.set_graph_mode(False):
        run.set_mode_default()
        run.set_graph_mode(True)


async def tasks():
    async with run.set_graph_mode(False):
        await run.set_graph_mode(True)


def generator():
    yield run.set_graph_mode(False)


print(run.set_autograd_mode)
