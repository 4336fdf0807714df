"""Adds the dependency on the sibling package of the same version when the metadata is made."""

from __future__ import annotations

from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class SameVersionHook(MetadataHookInterface):
    """Pins the packages listed under `same-version` to the version being built, before `dependencies`.

    An sdist carries the finished list in its PKG-INFO, which hatchling prefers, so this runs in the checkout only.
    """

    def update(self, metadata: dict[str, Any]) -> None:
        """Fill in the dynamic field `dependencies`."""
        pinned = [f"{name}=={metadata['version']}" for name in self.config["same-version"]]
        metadata["dependencies"] = [*pinned, *self.config["dependencies"]]
