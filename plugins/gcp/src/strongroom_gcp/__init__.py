"""strongroom's gcp plugin: secrets in Google Cloud Secret Manager."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from strongroom_gcp.provider import GCPSecretProvider

__all__ = ["GCPSecretProvider"]


def __getattr__(name: str) -> Any:
    if name == "GCPSecretProvider":
        from strongroom_gcp.provider import GCPSecretProvider

        return GCPSecretProvider
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
