"""The header of a sealed store: its identity, and its key, wrapped under the user's key."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterable
from struct import Struct
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom.encryption.keys import (
    ARGON2_DEFAULT,
    KEY_BYTES,
    SALT_BYTES,
    Argon2Parameters,
    KeyMaterial,
    check_parameters,
    derive_key,
)
from strongroom.errors import ConfigurationError

__all__ = ["StoreKey", "header_id", "new_header", "open_header", "wrap"]

_FORMAT: Final = 1
_FIELDS = Struct(">B16s16sBIII")
_RAW, _ARGON2ID = 0, 1
_NONCE: Final = 12
_LENGTH: Final = _FIELDS.size + _NONCE + KEY_BYTES + 16


class StoreKey(NamedTuple):
    """A store's identity and its own key, which only hosts with the user's key ever see."""

    store: bytes
    key: bytes

    def __repr__(self) -> str:
        return f"<StoreKey of {self.store.hex()}>"


def header_id(body: bytes) -> str:
    """Return the id of the key that wraps a header, 16 hexadecimal digits."""
    return hashlib.sha256(b"strongroom sealed 1 key id\0" + body).hexdigest()[:16]


def new_header(material: KeyMaterial) -> bytes:
    """Return the header of a new store."""
    return wrap(StoreKey(os.urandom(16), os.urandom(KEY_BYTES)), material)


def wrap(opened: StoreKey, material: KeyMaterial) -> bytes:
    """Return a header that holds the key of `opened` under the key `material`."""
    salt = os.urandom(SALT_BYTES)
    derived = material.kind == "passphrase"
    cost = ARGON2_DEFAULT if derived else Argon2Parameters(0, 0, 0)
    fields = _FIELDS.pack(
        _FORMAT,
        opened.store,
        salt,
        _ARGON2ID if derived else _RAW,
        cost.iterations,
        cost.memory_kib,
        cost.lanes,
    )
    nonce = os.urandom(_NONCE)
    return fields + nonce + _wrapping(material, salt, cost).encrypt(nonce, opened.key, fields)


def open_header(body: bytes, candidates: Iterable[KeyMaterial]) -> tuple[StoreKey, KeyMaterial] | None:
    """Return the store's key and the one of `candidates` that opened it; None if none does.

    Raises:
        ValueError: It is not a header, or is of a later version.
    """
    if len(body) != _LENGTH:
        raise ValueError("the header is damaged")
    fields, rest = body[: _FIELDS.size], body[_FIELDS.size :]
    version, store, salt, kdf, *costs = _FIELDS.unpack(fields)
    if version != _FORMAT:
        raise ValueError(f"the store has format {version}, this version of strongroom knows {_FORMAT}")
    if kdf not in {_RAW, _ARGON2ID}:
        raise ValueError("the header names an unknown key derivation")
    cost = Argon2Parameters(*costs)
    if kdf == _ARGON2ID:
        try:
            check_parameters(cost)
        except ConfigurationError as error:
            raise ValueError(f"the header is out of bounds: {error.message}") from error
    for material in candidates:
        if (material.kind == "passphrase") != (kdf == _ARGON2ID):
            continue
        try:
            key = _wrapping(material, salt, cost).decrypt(rest[:_NONCE], rest[_NONCE:], fields)
        except InvalidTag:
            continue
        return StoreKey(store, key), material
    return None


def _wrapping(material: KeyMaterial, salt: bytes, cost: Argon2Parameters) -> AESGCM:
    """Return the cipher that wraps a store's key; its key is derived from the user's by HKDF (RFC 5869)."""
    secret = material.secret
    if material.kind == "passphrase":
        secret = derive_key(secret, salt, cost)
    return AESGCM(expand(hmac.digest(salt, secret, "sha256"), b"strongroom sealed 1 wrap"))


def expand(extracted: bytes, info: bytes) -> bytes:
    """Return 32 bytes by HKDF-Expand with SHA-256."""
    return hmac.digest(extracted, info + b"\x01", "sha256")
