try:
    from zrun_compat import run
except ImportError:
    from zfit import run

try:
    import zfit
except ImportError:
    zfit = None

run.set_graph_mode(False)
if zfit is not None:
    zfit.run.set_graph_mode(False)
