"""The embedded store, secrets in one encrypted file; and a cache in a file that processes share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.plugins import lazy_exports

if TYPE_CHECKING:
    from strongroom_file.cache import FileCacheStore
    from strongroom_file.provider import FileSecretProvider

__all__ = ["FileCacheStore", "FileSecretProvider"]

__getattr__, __dir__ = lazy_exports(__name__, {"FileCacheStore": "cache", "FileSecretProvider": "provider"})
