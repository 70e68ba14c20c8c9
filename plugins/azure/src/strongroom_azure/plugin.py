"""What the entry point `azure` stands for."""

from __future__ import annotations

from collections.abc import Iterable

from strongroom import Plugin, hookimpl

from strongroom_azure.config import AzureConfig


@hookimpl
def strongroom_providers() -> Iterable[Plugin]:
    return [
        Plugin(
            name="azure",
            summary="Secrets in Azure Key Vault.",
            config=AzureConfig,
            factory="strongroom_azure.provider:AzureSecretProvider",
        )
    ]
