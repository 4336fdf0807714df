"""The mode, set for good and for a block, in the spellings of both generations."""

import zrun_tf as zrun

zrun.run.set_mode(graph=False)
zrun.run.set_mode(True, False)
zrun.run.set_mode(graph={"loss": True, 'model': False})
zrun.run.set_mode_default()
zrun.run.set_mode(graph="auto")
zrun.run.set_mode(graph="auto")
zrun.run.set_mode(graph = "auto")
zrun.run.set_mode(graph=False)
zrun.run.set_mode(autograd=True)
zrun.run.set_mode(autograd=False)

with zrun.run.using(graph=False):
    print(zrun.run.mode["graph"], zrun.run.current_policy_graph())
with zrun.run.using(graph=True, autograd=False), zrun.run.using(graph="auto", autograd=True):
    pass
with zrun.run.using(graph=False, tensorflow=True):
    print(zrun.run.current_policy_graph())
with zrun.run.using(graph=False):
    with zrun.run.using(autograd=True):
        print(zrun.run.current_policy_autograd(), zrun.run.current_policy_autograd())
with (zrun.run.using(graph=not True)):
    pass

zrun.run.set_mode(graph=True)
zrun.run.set_mode(graph=False)
zrun.run.set_mode(graph=True)
zrun.run.set_mode(graph=not zrun.run.mode["graph"])
eager = zrun.run.current_policy_graph() is False
if not (zrun.run.current_policy_graph() is False) and eager:
    print(zrun.run.current_policy_graph() is False)


def settings():
    """A block may be all that there is."""


def reset(mode, **parts):
    zrun.run.set_mode(graph=mode)
    zrun.run.set_mode(**parts)
    with zrun.run.using(**parts):
        return {"graph": zrun.run.current_policy_graph}
