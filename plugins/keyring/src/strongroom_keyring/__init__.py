"""Secrets in the keyring of the desktop or operating system: `type: keyring`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.plugins import lazy_exports

if TYPE_CHECKING:
    from strongroom_keyring.provider import KeyringSecretProvider

__all__ = ["KeyringSecretProvider"]

__getattr__, __dir__ = lazy_exports(__name__, {"KeyringSecretProvider": "provider"})
