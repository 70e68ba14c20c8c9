"""Secrets as files in a folder: Kubernetes and Docker mounts, credentials of systemd."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.plugins import lazy_exports

if TYPE_CHECKING:
    from strongroom_directory.provider import DirectorySecretProvider

__all__ = ["DirectorySecretProvider"]

__getattr__, __dir__ = lazy_exports(__name__, {"DirectorySecretProvider": "provider"})
