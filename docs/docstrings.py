"""Lets the documentation show `Example:` as what it is: Griffe knows the heading in the plural only."""

from __future__ import annotations

import re
from typing import Any

import griffe


class SingularExample(griffe.Extension):
    """Reads `Example:` as `Examples:`, so that the doctest below it is rendered as code."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the heading in the docstring of each object as it is loaded."""
        if obj.docstring:
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
