try:
    import zfit
except ImportError:
    raise SystemExit("zfit is missing") from None

zfit.run.set_graph_mode(False)
