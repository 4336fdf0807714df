"""The decorated function, with what TensorFlow needs on top of zrun-core's."""

from __future__ import annotations

from typing import ParamSpec, TypeVar

from zrun_core._function import Function as CoreFunction

from ._autograph import DO_NOT_CONVERT, converted

P = ParamSpec("P")
R = TypeVar("R")


class Function(CoreFunction[P, R]):
    """A decorated function. AutoGraph leaves its machinery alone and converts its body only."""

    autograph_info__ = DO_NOT_CONVERT

    def _run_inline(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return converted(self._body)(*args, **kwargs)  # type: ignore[no-any-return]
