"""A pytest plugin for zfit's own tests: puts zrun under zfit if asked, and writes down how each test ended.

Loaded with `-p zfit_outcomes`; what to do is in the environment, see `zfit_suite`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

if os.environ["ZRUN_DOWNSTREAM_MODE"] == "zrun":
    import zrun_compat.zfit

    zrun_compat.zfit.install()

_outcomes: dict[str, dict[str, object]] = {}


def pytest_runtest_setup(item):
    import zfit

    # zfit's tests draw other numbers in each run; both runs are to draw the same.
    zfit.settings.set_seed(519)


def pytest_runtest_logreport(report):
    known = _outcomes.setdefault(report.nodeid, {"outcome": "passed", "seconds": 0.0, "why": ""})
    known["seconds"] = round(known["seconds"] + report.duration, 3)
    outcome = report.outcome if not hasattr(report, "wasxfail") else f"x{report.outcome}"
    if report.when == "call" or outcome != "passed":
        if known["outcome"] == "passed" or report.when == "call":
            known["outcome"] = outcome if report.when == "call" or outcome != "failed" else "error"
        if outcome == "failed":
            known["why"] = str(report.longrepr)[-2000:]


def pytest_sessionfinish(session):
    import zfit

    mode = os.environ["ZRUN_DOWNSTREAM_MODE"]
    is_zrun = zfit.run._set_graph_mode.__func__.__module__.startswith("zrun_compat")
    assert is_zrun is (mode == "zrun"), f"zfit runs {'on zrun' if is_zrun else 'as released'} in mode {mode}"
    Path(os.environ["ZRUN_DOWNSTREAM_OUT"]).write_text(json.dumps(_outcomes))
