"""The base of providers that encrypt names and values before a shared server gets them.

`SealedSecretProvider` has every capability; a plugin brings a `SealedBackend`, a handful of calls that move
opaque bytes to and from its server. docs/explanation/sealed-stores.md has the format and what it proves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.plugins import lazy_exports

if TYPE_CHECKING:
    from strongroom.sealed.backend import Change, Found, SealedBackend, SealedLock, StoreGoneError
    from strongroom.sealed.key_source import StoreKeySource
    from strongroom.sealed.provider import SealedSecretProvider

__all__ = [
    "Change",
    "Found",
    "SealedBackend",
    "SealedLock",
    "SealedSecretProvider",
    "StoreGoneError",
    "StoreKeySource",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Change": "backend",
        "Found": "backend",
        "SealedBackend": "backend",
        "SealedLock": "backend",
        "SealedSecretProvider": "provider",
        "StoreGoneError": "backend",
        "StoreKeySource": "key_source",
    },
)
