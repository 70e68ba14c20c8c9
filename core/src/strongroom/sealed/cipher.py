"""Names and bodies as the server gets them."""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable
from functools import lru_cache
from struct import Struct
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom.sealed.header import StoreKey, expand

__all__ = ["HEAD", "NAME_BYTES", "OVERHEAD", "ROW", "SealedName", "Sealer"]

HEAD, ROW = b"H", b"R"
"""The kinds of sealed bodies, bound to each."""
NAME_BYTES: Final = 16
_FOLDER_BYTES: Final = 8
_NONCE: Final = 12
OVERHEAD: Final = _NONCE + 16
_NUMBER = Struct(">Q")
_KNOWN_NAMES: Final = 8192


class SealedName(NamedTuple):
    """The name under which the server knows a key, and the cipher of what is stored there."""

    name: bytes
    cipher: AESGCM


class Sealer:
    """Makes the names of keys, and seals and opens bodies, each bound to store, kind, name and number.

    A name is a keyed hash of each folder of the key, 8 bytes each, and of the key, 16 bytes. So the server
    finds a key, and all keys of a folder, and knows no key. Each name has a cipher key of its own, so that
    random nonces suffice for 2**32 writes of each secret.
    """

    def __init__(self, opened: StoreKey) -> None:
        self._store = opened.store
        self._names = expand(opened.key, b"strongroom sealed 1 names")
        self._bodies = expand(opened.key, b"strongroom sealed 1 bodies")
        self.name: Callable[[str], SealedName] = lru_cache(_KNOWN_NAMES)(self._name)

    def _name(self, key: str) -> SealedName:
        name = self.folder(key) + hmac.digest(self._names, b"key\0" + key.encode(), "sha256")[:NAME_BYTES]
        return SealedName(name, self.cipher(name))

    def folder(self, prefix: str) -> bytes:
        """Return what the names of all keys in the folder of `prefix`, or of a key, begin with."""
        digests = b""
        at = prefix.find("/") + 1
        while at:
            text = b"folder\0" + prefix[:at].encode()
            digests += hmac.digest(self._names, text, "sha256")[:_FOLDER_BYTES]
            at = prefix.find("/", at) + 1
        return digests

    def cipher(self, name: bytes) -> AESGCM:
        """Return the cipher of what is stored under `name`."""
        return AESGCM(hmac.digest(self._bodies, name, "sha256"))

    def seal(self, kind: bytes, name: SealedName, number: int, data: bytes) -> bytes:
        """Return `data` sealed. A head is sealed with the number 0, since its own is inside."""
        nonce = os.urandom(_NONCE)
        return nonce + name.cipher.encrypt(nonce, data, self._bound(kind, name.name, number))

    def open(self, kind: bytes, name: SealedName, number: int, body: bytes) -> bytes | None:
        """Return what `seal` was given, or None where `body` is anything else."""
        try:
            return name.cipher.decrypt(body[:_NONCE], body[_NONCE:], self._bound(kind, name.name, number))
        except (InvalidTag, ValueError):
            return None

    def _bound(self, kind: bytes, name: bytes, number: int) -> bytes:
        """Return the associated data: fixed lengths first, so that no two bodies have the same."""
        return kind + self._store + _NUMBER.pack(number) + name
