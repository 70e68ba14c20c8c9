"""Encryption keys and ciphers; `cryptography` is imported at the first derivation or encryption."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from strongroom.encryption.ciphers import (
        AESGCMEncryption,
        ChaCha20Encryption,
        Encryption,
        FernetEncryption,
    )
    from strongroom.encryption.keys import generate_key
    from strongroom.encryption.ring import KeyRing
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
    "KeyRing": "ring",
    "encoded": "tokens",
    "generate_key": "keys",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value  # the next access does not come here
    return value


def __dir__() -> list[str]:
    return __all__
