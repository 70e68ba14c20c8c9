"""strongroom's azure plugin: secrets in Azure Key Vault."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.plugins import lazy_exports

if TYPE_CHECKING:
    from strongroom_azure.provider import AzureSecretProvider

__all__ = ["AzureSecretProvider"]

__getattr__, __dir__ = lazy_exports(__name__, {"AzureSecretProvider": "provider"})
