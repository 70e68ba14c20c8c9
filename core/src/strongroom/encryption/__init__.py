"""Encryption keys and ciphers; `cryptography` is imported at the first derivation or encryption."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom._lazy import lazy_exports

if TYPE_CHECKING:
    from strongroom.encryption.ciphers import (
        AESGCMEncryption,
        ChaCha20Encryption,
        Encryption,
        FernetEncryption,
    )
    from strongroom.encryption.key_ring import KeyRing
    from strongroom.encryption.keys import generate_key
    from strongroom.encryption.tokens import encoded

__all__ = [
    "AESGCMEncryption",
    "ChaCha20Encryption",
    "Encryption",
    "FernetEncryption",
    "KeyRing",
    "encoded",
    "generate_key",
]

_HOMES = {
    "AESGCMEncryption": "ciphers",
    "ChaCha20Encryption": "ciphers",
    "Encryption": "ciphers",
    "FernetEncryption": "ciphers",
    "KeyRing": "key_ring",
    "encoded": "tokens",
    "generate_key": "keys",
}

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
