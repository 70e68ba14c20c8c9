"""What the entry point `vault` stands for."""

from __future__ import annotations

from collections.abc import Iterable

from strongroom import Plugin, hookimpl

from strongroom_vault.config import LeaseConfig, TransitConfig, VaultConfig


@hookimpl
def strongroom_providers() -> Iterable[Plugin]:
    return [
        Plugin(
            name="vault",
            summary="Secrets in HashiCorp Vault or OpenBao, KV version 2 or 1.",
            config=VaultConfig,
            factory="strongroom_vault.provider:VaultSecretProvider",
        ),
        Plugin(
            name="vault.leases",
            summary="Credentials that Vault or OpenBao issues for a limited time: databases, certificates.",
            config=LeaseConfig,
            factory="strongroom_vault.leases:VaultLeaseProvider",
        ),
    ]


@hookimpl
def strongroom_encryption() -> Iterable[Plugin]:
    return [
        Plugin(
            name="vault.transit",
            summary="Encryption by the transit engine of Vault or OpenBao, which keeps the key.",
            config=TransitConfig,
            factory="strongroom_vault.transit:VaultTransitEncryption",
        )
    ]
