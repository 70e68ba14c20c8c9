"""What the entry point `keyring` stands for."""

from __future__ import annotations

from collections.abc import Iterable

from strongroom import Plugin, hookimpl

from strongroom_keyring.config import KeyringConfig


@hookimpl
def strongroom_providers() -> Iterable[Plugin]:
    return [
        Plugin(
            name="keyring",
            summary="Secrets in the keyring of the desktop or operating system.",
            config=KeyringConfig,
            factory="strongroom_keyring.provider:KeyringSecretProvider",
        )
    ]
