"""The header and its keys; AES-256-GCM for every other row."""

from __future__ import annotations

import os
from collections.abc import Mapping
from struct import Struct
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from strongroom.encryption.keys import (
    ARGON2_DEFAULT,
    SALT_BYTES,
    Argon2Parameters,
    KeyMaterial,
    check_parameters,
    derive_key,
)
from strongroom.errors import ConfigurationError, EncryptionError
from strongroom.plugins import NamedTuple, blake2b, compare_digest, hmac_sha256, sha256

from strongroom_file.integrity import TYPE_NAME, tampered

__all__ = [
    "MAX_SEALS",
    "OPENING_ERRORS",
    "Header",
    "RowCipher",
    "header_id",
    "new_header",
    "open_header",
    "row_id",
]

MAX_SEALS: Final = 2**32
"""Encryptions under one data key: NIST SP 800-38D, section 8.3, for random nonces of 96 bits."""

_NONCE: Final = 12
_TAG: Final = 16
_OVERHEAD: Final = _NONCE + _TAG
_CHECK: Final = 16
_SUM: Final = 8
_FIELDS = Struct(">16s16sBIII")
row_id: Final = Struct(">Q").pack
"""Returns a row's id as it is bound to the row."""
_RAW, _ARGON2ID = 0, 1

OPENING_ERRORS: Final = (InvalidTag, ValueError, TypeError)
"""What opening a row raises that `seal` did not make."""


class Header(NamedTuple):
    """The only unencrypted row: the id of the store, and how its keys are derived from the user's key.

    Attributes:
        store: Identity of the store, bound to every row.
        salt: Of the derivations; drawn again by every rekey.
        passphrase: Whether the key is derived from a passphrase by Argon2id, at `cost`.
    """

    store: bytes
    salt: bytes
    passphrase: bool
    cost: Argon2Parameters

    def pack(self, material: KeyMaterial) -> bytes:
        """Return the row: fields, keyed check, and a plain checksum against accidents."""
        fields = self._clear()
        checked = fields + _check(self._extract(material), fields)
        return checked + _sum(checked)

    def sealer(self, material: KeyMaterial) -> RowCipher:
        key = _expand(self._extract(material), b"strongroom file 1 data")
        return RowCipher(AESGCM(key), self.store)

    def _clear(self) -> bytes:
        cost = self.cost if self.passphrase else Argon2Parameters(0, 0, 0)
        kdf = _ARGON2ID if self.passphrase else _RAW
        return _FIELDS.pack(self.store, self.salt, kdf, cost.iterations, cost.memory_kib, cost.lanes)

    def _extract(self, material: KeyMaterial) -> bytes:
        """HKDF-Extract (RFC 5869) with SHA-256."""
        secret = derive_key(material.secret, self.salt, self.cost) if self.passphrase else material.secret
        return hmac_sha256(self.salt, secret)

    def is_opened_by(self, material: KeyMaterial, body: bytes) -> bool:
        if self.passphrase != (material.kind == "passphrase"):
            return False
        fields = self._clear()
        found = body[len(fields) : len(fields) + _CHECK]
        return compare_digest(found, _check(self._extract(material), fields))


def _expand(extracted: bytes, info: bytes) -> bytes:
    """HKDF-Expand (RFC 5869) with SHA-256, one block: 32 bytes."""
    return hmac_sha256(extracted, info + b"\x01")


def _check(extracted: bytes, fields: bytes) -> bytes:
    return hmac_sha256(_expand(extracted, b"strongroom file 1 check"), fields)[:_CHECK]


def _sum(data: bytes) -> bytes:
    return blake2b(data, digest_size=_SUM).digest()


def header_id(body: bytes) -> str:
    """Return the id of the key that a header was made for, 16 hexadecimal digits.

    It comes from the header, so a backup says which key it needs. A rekey makes a new header, even if the
    key is the same.
    """
    return sha256(b"strongroom file 1 key id\0" + body[: _FIELDS.size + _CHECK]).hexdigest()[:16]


def new_header(material: KeyMaterial, store: bytes | None = None) -> Header:
    """Return a header with a new salt, and for a new store a new identity."""
    return Header(
        store or os.urandom(16), os.urandom(SALT_BYTES), material.kind == "passphrase", ARGON2_DEFAULT
    )


def open_header(body: object) -> Header:
    """Read a header; the result can say whether a key opens it.

    Raises:
        TamperedError: It is damaged, or asks for a derivation out of bounds.
    """
    length = _FIELDS.size + _CHECK + _SUM
    if not isinstance(body, bytes) or len(body) != length or _sum(body[:-_SUM]) != body[-_SUM:]:
        raise tampered("the header is damaged")
    store, salt, kdf, *cost = _FIELDS.unpack_from(body)
    header = Header(store, salt, kdf == _ARGON2ID, Argon2Parameters(*cost))
    if kdf not in {_RAW, _ARGON2ID}:
        raise tampered("the header names an unknown key derivation")
    if header.passphrase:
        try:
            check_parameters(header.cost)
        except ConfigurationError as error:
            raise tampered(f"the header is out of bounds: {error.message}") from error
    return header


class RowCipher:
    """Seals rows and opens them, each bound to its store, its kind, its id and its name."""

    __slots__ = ("cipher", "store")

    def __init__(self, cipher: AESGCM, store: bytes) -> None:
        self.cipher = cipher
        self.store = store

    def bound(self, kind: bytes, row: int, name: bytes = b"") -> bytes:
        """Return the associated data: fixed lengths first, so that no two rows have the same."""
        return kind + self.store + row_id(row) + name

    def seal(self, kind: bytes, row: int, data: bytes, name: bytes = b"") -> bytes:
        nonce = os.urandom(_NONCE)
        return nonce + self.cipher.encrypt(nonce, data, self.bound(kind, row, name))

    def seal_many(self, kind: bytes, first: int, named: Mapping[bytes, bytes]) -> list[tuple[int, bytes]]:
        """Seal each text under its name, in rows from `first` on; the nonces are drawn at once."""
        nonces, start = os.urandom(_NONCE * len(named)), 0
        encrypt, bound = self.cipher.encrypt, kind + self.store
        rows: list[tuple[int, bytes]] = []
        for row, (name, data) in enumerate(named.items(), first):
            nonce = nonces[start : start + _NONCE]
            start += _NONCE
            rows.append((row, nonce + encrypt(nonce, data, bound + row_id(row) + name)))
        return rows

    def open(self, body: bytes, bound: bytes) -> bytes | None:
        """Return the plaintext that `seal` was given; None if `body` was not made by it."""
        try:
            return self.cipher.decrypt(body[:_NONCE], body[_NONCE:], bound)
        except OPENING_ERRORS:
            return None

    def open_row(self, body: object, bound: bytes, tag: bytes | None, what: str) -> bytes:
        """Return what a row holds.

        Raises:
            TamperedError: The row is not there, or is not the one whose tag the link to it names.
        """
        if body is None:
            raise tampered(f"{what} is gone")
        if not isinstance(body, bytes) or len(body) < _OVERHEAD:
            raise tampered(f"{what} is damaged")
        if tag is not None and body[-_TAG:] != tag:
            raise tampered(f"{what} is not the one that was written last")
        data = self.open(body, bound)
        if data is None:
            raise tampered(f"{what} is damaged")
        return data


def check_seals(seals: int) -> None:
    """Raise `EncryptionError` if the data key has been used as often as is safe."""
    if seals >= MAX_SEALS:
        raise EncryptionError(
            "the store's key has been used as often as is safe",
            provider=TYPE_NAME,
            hint="run `strongroom rekey`",
        )
