"""Secrets in HashiCorp Vault or OpenBao, and its transit engine as a cipher."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.plugins import lazy_exports

if TYPE_CHECKING:
    from strongroom_vault.leases import VaultLeaseProvider
    from strongroom_vault.provider import VaultSecretProvider
    from strongroom_vault.transit import VaultTransitEncryption

__all__ = ["VaultLeaseProvider", "VaultSecretProvider", "VaultTransitEncryption"]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "VaultLeaseProvider": "leases",
        "VaultSecretProvider": "provider",
        "VaultTransitEncryption": "transit",
    },
)
