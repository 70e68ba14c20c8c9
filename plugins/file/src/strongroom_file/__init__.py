"""Secrets in one encrypted file: strongroom's embedded store. And a cache in a file that processes share."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from strongroom_file.cache import FileCacheStore
    from strongroom_file.provider import FileSecretProvider

__all__ = ["FileCacheStore", "FileSecretProvider"]

_MODULES = {"FileCacheStore": "cache", "FileSecretProvider": "provider"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
