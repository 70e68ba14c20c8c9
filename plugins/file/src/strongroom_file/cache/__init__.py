"""A cache in a file that the processes of one machine share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.plugins import lazy_exports

if TYPE_CHECKING:
    from strongroom_file.cache.store import FileCacheStore

__all__ = ["FileCacheStore"]

__getattr__, __dir__ = lazy_exports(__name__, {"FileCacheStore": "store"})
