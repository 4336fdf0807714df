"""Differences between Python versions, each with the version that ends it."""

from __future__ import annotations

import sys

__all__ = ["SAFE_PATH", "dataclass_transform"]

if sys.version_info >= (3, 11):  # pragma: no cover - taken on Python 3.11 and newer alone
    from typing import dataclass_transform
else:  # pragma: no cover - taken on Python 3.10 alone
    # Until Python 3.10 is dropped. Importing typing_extensions takes as long as the rest of this package.
    from typing_extensions import dataclass_transform

# Whether Python was told to put no folder of a program in front of `sys.path`, which cannot be told to 3.10.
# Until Python 3.10 is dropped.
SAFE_PATH: bool = getattr(sys.flags, "safe_path", False)
