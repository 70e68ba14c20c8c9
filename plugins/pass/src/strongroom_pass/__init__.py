"""Secrets in a password store of pass or gopass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.plugins import lazy_exports

if TYPE_CHECKING:
    from strongroom_pass.provider import PassSecretProvider

__all__ = ["PassSecretProvider"]

__getattr__, __dir__ = lazy_exports(__name__, {"PassSecretProvider": "provider"})
