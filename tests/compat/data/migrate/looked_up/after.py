import importlib
from unittest.mock import patch

import pytest
import zfit
import zrun_tf as zrun

module = importlib.import_module("zfit.run")
other = pytest.importorskip("zfit")
if hasattr(zfit.run, "executing_eagerly"):
    getattr(other.run, "set_graph_mode")(False)
with patch("zfit.run.set_graph_mode"), patch.object(zfit.run, "mode"):
    pass
exec("from zfit import run; run.set_graph_mode(False)")
print("zfit.run.set_graph_mode(False)")  # zfit.run is only spoken of here
print(f"zfit.run {zrun.run.current_policy_graph()!r:>{10}}")
zfit.run.mode["graph"] = False
zfit.run.mode = {}
zrun.run.set_mode(*[False])
with zfit.run.set_mode(*[False]):
    pass
del zfit.run.numeric_checks
