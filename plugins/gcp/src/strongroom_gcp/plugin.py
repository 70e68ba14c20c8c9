"""What the entry point `gcp` stands for."""

from __future__ import annotations

from collections.abc import Iterable

from strongroom import Plugin, hookimpl

from strongroom_gcp.config import GCPConfig


@hookimpl
def strongroom_providers() -> Iterable[Plugin]:
    return [
        Plugin(
            name="gcp",
            summary="Secrets in Google Cloud Secret Manager.",
            config=GCPConfig,
            factory="strongroom_gcp.provider:GCPSecretProvider",
        )
    ]
