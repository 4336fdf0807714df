"""Layout and comments stay as they are."""
import zfit   # fits
import zrun_tf as zrun

zrun.run.set_mode ( graph=False )   # spaced
zrun.run.set_mode(
    # why
    graph=False,  # because

)
zfit.run.set_graph_mode(

)
zrun.run.set_mode(\
    autograd=False)
(zfit
    # a comment
    .run.set_autograd_mode(False))
with zrun.run.using(graph=False), \
     zrun.run.using(autograd=False)  :  # both
	print ( zrun.run.current_policy_graph( ) )
if True: zrun.run.set_mode(graph=True); print("one line")
# stays

# above
zrun.run.set_mode(graph=zrun.run.current_policy_graph())
zrun.run(zrun.run(zrun.run.current_policy_graph()))
(zfit.run).set_graph_mode(True)
x = (zrun.run.current_policy_graph() is False) or 1
y: bool = zrun.run.current_policy_graph() is False
z = (zfit.run.experimental_is_eager)
# the end, without a new line
# the end