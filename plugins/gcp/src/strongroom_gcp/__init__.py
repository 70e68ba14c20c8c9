"""strongroom's gcp plugin: secrets in Google Cloud Secret Manager."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.plugins import lazy_exports

if TYPE_CHECKING:
    from strongroom_gcp.provider import GCPSecretProvider

__all__ = ["GCPSecretProvider"]

__getattr__, __dir__ = lazy_exports(__name__, {"GCPSecretProvider": "provider"})
