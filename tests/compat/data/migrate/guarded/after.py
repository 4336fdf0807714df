try:
    import zrun_tf as zrun
except ImportError:
    raise SystemExit("zfit is missing") from None

zrun.run.set_mode(graph=False)
