"""Secrets in HashiCorp Vault or OpenBao, and its transit engine as a cipher."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from strongroom_vault.provider import VaultSecretProvider
    from strongroom_vault.transit import VaultTransitEncryption

__all__ = ["VaultSecretProvider", "VaultTransitEncryption"]

_MODULES = {"VaultSecretProvider": "provider", "VaultTransitEncryption": "transit"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
