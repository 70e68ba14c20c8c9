"""Secrets in a sops file, read and written by the program `sops`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.plugins import lazy_exports

if TYPE_CHECKING:
    from strongroom_sops.provider import SopsSecretProvider

__all__ = ["SopsSecretProvider"]

__getattr__, __dir__ = lazy_exports(__name__, {"SopsSecretProvider": "provider"})
