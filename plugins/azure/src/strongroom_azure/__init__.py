"""strongroom's azure plugin: secrets in Azure Key Vault."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from strongroom_azure.provider import AzureSecretProvider

__all__ = ["AzureSecretProvider"]


def __getattr__(name: str) -> Any:
    if name == "AzureSecretProvider":
        from strongroom_azure.provider import AzureSecretProvider

        return AzureSecretProvider
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
