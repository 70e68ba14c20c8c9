"""strongroom's vault plugin: secrets in HashiCorp Vault or OpenBao."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from strongroom_vault.provider import VaultSecretProvider

__all__ = ["VaultSecretProvider"]


def __getattr__(name: str) -> Any:
    if name == "VaultSecretProvider":
        from strongroom_vault.provider import VaultSecretProvider

        return VaultSecretProvider
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
