"""Whether a gradient will be asked for: whoever can compute it with the value for little more then does."""

from __future__ import annotations

from contextvars import ContextVar

wanted: ContextVar[bool] = ContextVar("zrun_gradient_wanted", default=False)
"""True while a function is called whose gradient is asked for next. Scope: context."""
