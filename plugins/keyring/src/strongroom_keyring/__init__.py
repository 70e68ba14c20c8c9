"""Secrets in the keyring of the desktop or operating system: `type: keyring`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from strongroom_keyring.provider import KeyringSecretProvider

__all__ = ["KeyringSecretProvider"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from strongroom_keyring.provider import KeyringSecretProvider

        return KeyringSecretProvider
    message = f"module 'strongroom_keyring' has no attribute {name!r}"
    raise AttributeError(message)
