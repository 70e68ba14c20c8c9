"""Secrets in a KeePass database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.plugins import lazy_exports

if TYPE_CHECKING:
    from strongroom_keepass.provider import KeePassSecretProvider

__all__ = ["KeePassSecretProvider"]

__getattr__, __dir__ = lazy_exports(__name__, {"KeePassSecretProvider": "provider"})
