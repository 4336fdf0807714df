"""Layout and comments stay as they are."""
import zfit   # fits

zfit . run . set_graph_mode ( False )   # spaced
zfit.run.set_graph_mode(
    # why
    graph=False,  # because

)
zfit.run.set_graph_mode(

)
zfit.run \
    .set_autograd_mode(\
    False)
(zfit
    # a comment
    .run.set_autograd_mode(False))
with zfit.run.set_graph_mode(False), \
     zfit.run.set_autograd_mode(False)  :  # both
	print ( zfit.run.get_graph_mode( ) )
if True: zfit.run.set_graph_mode(True); zfit.run.set_mode(); print("one line")
zfit.run.set_mode()  # stays

# above
zfit.run.set_mode()
zfit.run.set_graph_mode(zfit.run.get_graph_mode())
zfit.run(zfit.run(zfit.run.get_graph_mode()))
(zfit.run).set_graph_mode(True)
x = zfit.run.experimental_is_eager or 1
y: bool = zfit.run.experimental_is_eager
z = (zfit.run.experimental_is_eager)
# the end, without a new line
# the end