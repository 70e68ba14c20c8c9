"""Names and data for a second level: hashed with a key, and encrypted."""

from __future__ import annotations

import hmac
import json
import os
from typing import Any
from weakref import WeakKeyDictionary

from strongroom.encryption.ciphers import AESGCMEncryption, Encryption, TokenEncryption
from strongroom.encryption.key_ring import KeyRing
from strongroom.encryption.third_party import guard_cipher
from strongroom.encryption.tokens import encoded
from strongroom.errors import DecryptionError
from strongroom.runtime.frozen import frozen, member

__all__ = ["EntryCodec", "StoredEntry", "codec_of", "own_codec", "shared_codec"]

_FORMAT = 4
_OWN: WeakKeyDictionary[object, AESGCMEncryption] = WeakKeyDictionary()
"""The ciphers of stores that belong to this process alone."""
_NO_KEY_FOR_VALUES = "cache: a store that others share needs a key for its values"
_NO_KEY_FOR_NAMES = (
    "cache: a store that others share needs a key for its names, and the cipher given does not show its own"
)


@frozen
class StoredEntry:
    """A value as a second level has it; times are seconds since the epoch, by the writer's clock.

    `kept_for` is for how many seconds the store was to keep it. `version` is the one that a description had
    shown before the value was fetched, None if there was none. `marks` are those of its sources when it was
    fetched: once one of them has changed, it is out of date.
    """

    value: str = member(shown=False)
    fetched_at: float
    expires: float
    kept_for: float
    version: str | None = None
    marks: tuple[str, ...] = ()


class EntryCodec:
    """Makes names and data for a second level, and reads them back.

    Args:
        cipher: Encrypts the data, each bound to its name.
        name_keys: Keys of the names, the first for what is written; older ones are dropped with it.
        namespace: Distinguishes caches that share a store and a key.
    """

    def __init__(self, cipher: Encryption, name_keys: list[bytes], namespace: str) -> None:
        self._cipher = cipher
        self._name_keys = name_keys
        self._namespace = namespace

    def name(self, tenant: str | None, key: str) -> str:
        """Return the name of a tenant's key."""
        return self.names(tenant, key)[0]

    def names(self, tenant: str | None, key: str) -> list[str]:
        """Return the names of a tenant's key under all keys."""
        return [
            f"{space}{_hash(name_key, b'key', key)}"
            for space, name_key in zip(self.namespaces(tenant), self._name_keys, strict=True)
        ]

    def namespaces(self, tenant: str | None) -> list[str]:
        """Return what all names of a tenant begin with, under all keys."""
        who = "0" if tenant is None else f"1{tenant}"
        return [f"{_hash(name_key, b'space', self._namespace, who)[:32]}:" for name_key in self._name_keys]

    def fences(self, tenant: str | None) -> list[str]:
        """Return the names of the mark that every invalidation of a tenant drops, under all keys."""
        return [
            f"{space}{_hash(name_key, b'fence')}"
            for space, name_key in zip(self.namespaces(tenant), self._name_keys, strict=True)
        ]

    def marks(self, source: str) -> list[str]:
        """Return the names of the mark of a source, under all keys; all tenants and namespaces share it."""
        return [
            f"{space}{_hash(name_key, b'mark', source)}"
            for space, name_key in zip(self.mark_spaces(), self._name_keys, strict=True)
        ]

    def mark_spaces(self) -> list[str]:
        """Return what the names of all marks begin with, under all keys."""
        return [f"{_hash(name_key, b'marks')[:32]}:" for name_key in self._name_keys]

    def within(self, account: str) -> EntryCodec:
        """Return a codec for the same namespace within `account`."""
        return EntryCodec(self._cipher, self._name_keys, f"{self._namespace}\0{account}")

    def seal(self, name: str, entry: StoredEntry) -> bytes:
        """Return the data of `entry` for `name`.

        Raises:
            ValidationError: The value is not Unicode text.
        """
        members = [
            _FORMAT, entry.value, entry.fetched_at, entry.expires, entry.kept_for, entry.version, entry.marks,
        ]  # fmt: skip
        text = json.dumps(members, ensure_ascii=False)
        return self._cipher.encrypt(text, context=_context(name)).encode()

    def open(self, name: str, data: Any) -> StoredEntry | None:
        """Return what `data` holds, or None if it was changed, or is of another name, key or format."""
        try:
            members = json.loads(self._cipher.decrypt(bytes(data).decode(), context=_context(name)))
            written_as, value, fetched_at, expires, kept_for, version, marks = members
        except (DecryptionError, ValueError, TypeError):
            return None
        if written_as != _FORMAT or not isinstance(value, str):
            return None
        return StoredEntry(value, float(fetched_at), float(expires), float(kept_for), version, tuple(marks))


def codec_of(cipher: Encryption, namespace: str) -> EntryCodec:
    """Return the codec that follows from `cipher`, the same in every process that has its key.

    Raises:
        TypeError: It is not a cipher.
        ConfigurationError: It is a cipher that does not show its key, and the environment has no key for the
            names.
    """
    cipher = guard_cipher(cipher)
    members: list[Any] = [cipher.primary, *cipher.older] if isinstance(cipher, KeyRing) else [cipher]
    able = [one for one in members if isinstance(one, TokenEncryption)]
    if len(able) == len(members):
        # Keys derived once: otherwise a passphrase would be stretched again for each process that wrote.
        made = [type(one)(one.derived(b"cache data")) for one in able]
        sealer: Encryption = KeyRing(made[0], *made[1:]) if len(made) > 1 else made[0]
        return EntryCodec(sealer, [one.derived(b"cache names") for one in able], namespace)
    names = _cipher_of_settings(_NO_KEY_FOR_NAMES, None).derived(b"cache names")
    return EntryCodec(cipher, [names], namespace)


def shared_codec(encryption: Encryption | None, namespace: str) -> EntryCodec:
    """Return the codec for a store that others share.

    Raises:
        ConfigurationError: There is no cipher, and no key in the environment.
    """
    given = encryption if encryption is not None else _cipher_of_settings(_NO_KEY_FOR_VALUES, "encryption")
    return codec_of(given, namespace)


def own_codec(store: object, namespace: str) -> EntryCodec:
    """Return the codec for a store of this process, whose key only the caches of this store have."""
    # Two threads at once get one key: `setdefault` keeps the first.
    return codec_of(_OWN.setdefault(store, AESGCMEncryption(os.urandom(32))), namespace)


def _cipher_of_settings(message: str, option: str | None) -> AESGCMEncryption:
    from strongroom.settings import cipher_of_settings  # at first use: it is heavy

    return cipher_of_settings(AESGCMEncryption, message, option)


def _hash(key: bytes, *parts: bytes | str) -> str:
    encoded_parts = [
        part if isinstance(part, bytes) else part.encode(errors="surrogatepass") for part in parts
    ]
    return hmac.digest(key, encoded([b"strongroom cache 1", *encoded_parts]), "sha256").hex()


def _context(name: str) -> bytes:
    return encoded([b"strongroom cache 1", name.encode()])
