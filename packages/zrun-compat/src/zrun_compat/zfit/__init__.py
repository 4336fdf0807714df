"""zfit itself on zrun.

`install()`, before or after `import zfit`, puts zrun under `zfit.run`, `z.function`, the cache of graphs with its
invalidation, and the numerical derivatives. No file of zfit is changed, and `uninstall()` restores what was.

Example:
    >>> import zrun_compat.zfit
    >>> zrun_compat.zfit.installed()
    False
"""

from __future__ import annotations

from ._install import ZfitNotSupportedError as ZfitNotSupportedError
from ._install import install as install
from ._install import installed as installed
from ._install import uninstall as uninstall

__all__ = ["ZfitNotSupportedError", "install", "installed", "uninstall"]
