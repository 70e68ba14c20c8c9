"""Secrets in the memory of this process, for tests and examples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.plugins import lazy_exports

if TYPE_CHECKING:
    from strongroom_memory.provider import MemorySecretProvider

__all__ = ["MemorySecretProvider"]

__getattr__, __dir__ = lazy_exports(__name__, {"MemorySecretProvider": "provider"})
