"""Values encrypted on their way to a provider, each bound to its key's name and the active tenant."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from strongroom.cache.addresses import issues_leases
from strongroom.encryption.ciphers import (
    AESGCMEncryption,
    ChaCha20Encryption,
    Encryption,
    FernetEncryption,
    TokenEncryption,
)
from strongroom.encryption.key_ring import KeyRing
from strongroom.encryption.third_party import guard_cipher
from strongroom.encryption.tokens import encoded, looks_encrypted
from strongroom.errors import (
    ConfigurationError,
    ConflictError,
    DecryptionError,
    SecretNotFoundError,
    UnsupportedOperationError,
    show_key,
)
from strongroom.keys import check_key, check_value, is_reserved, record_key
from strongroom.middleware.base import Middleware
from strongroom.middleware.validation import ValidationMiddleware
from strongroom.providers import Closeable, ConditionalWriter, Describer, StagedWriter, VersionReader

__all__ = ["EncryptionMiddleware", "make_encryption_middleware"]

_SHOWN: Final = 3
_TRIES: Final = 10
"""How often a value is read again that somebody has written meanwhile."""
CIPHERS: Final[Mapping[str, type[TokenEncryption]]] = {
    cipher.algorithm: cipher for cipher in (AESGCMEncryption, ChaCha20Encryption, FernetEncryption)
}


class EncryptionMiddleware(Middleware):
    """Encrypts what is written and decrypts what is read: values, versions and batches.

    A token is bound to the key it is stored under: under another key it does not decrypt.

    Args:
        inner: The provider that gets tokens to store.
        encryption: A cipher or `KeyRing`. Without one, AES-256-GCM with the key that
            `STRONGROOM_ENCRYPTION_KEY` holds.
        migrate: Also read values that were stored before encryption; every write stores a token. A value that
            looks like a token and does not decrypt is still an error.

    Raises:
        ConfigurationError: There is no cipher, and no key in the environment. With `migrate`: the cipher does
            not distinguish its tokens from other texts.
    """

    type_name = "encryption"

    def __init__(self, inner: Any, encryption: Encryption | None = None, *, migrate: bool = False) -> None:
        super().__init__(inner)
        if issues_leases(inner):
            raise ConfigurationError(
                "encryption: the values of leases are issued by a server, and nobody encrypted them",
                hint="remove the encryption from this pipeline",
            )
        given = encryption if encryption is not None else _cipher_of_settings(AESGCMEncryption)
        self._cipher: Encryption = guard_cipher(given)
        self._migrate = migrate
        if migrate:
            _refuse_to_guess(self._cipher)
        self._get = self.inner.get_secret
        _warn_if_rules_see_ciphertext(inner)

    def address(self) -> dict[str, Any]:
        """Return nothing: the cipher does not decide which secret is meant."""
        return {}

    def get_secret(self, key: str) -> str:
        return self._opened(key, self._get(key))

    def set_secret(self, key: str, value: str) -> None:
        self.inner.set_secret(key, self._sealed(key, value))

    def get_secrets(self, keys: Iterable[str]) -> dict[str, str]:
        tokens = self.inner.get_secrets(keys)
        # A cipher that is a server has a batch; if that fails, each value is decrypted by itself.
        if hasattr(self._cipher, "decrypt_many") and tokens and not self._migrate:
            with suppress(DecryptionError):
                pairs = [(token, _context(key)) for key, token in tokens.items()]
                opened = self._cipher.decrypt_many(pairs)
                return dict(zip(tokens, opened, strict=True))
        return {key: self._opened(key, token) for key, token in tokens.items()}

    def set_secrets(self, values: Mapping[str, str]) -> None:
        if not hasattr(self._cipher, "encrypt_many"):
            self.inner.set_secrets({key: self._sealed(key, value) for key, value in values.items()})
            return
        pairs = [(check_value(value, check_key(key)), _context(key)) for key, value in values.items()]
        sealed = self._cipher.encrypt_many(pairs) if pairs else []
        self.inner.set_secrets(dict(zip(values, sealed, strict=True)))

    def get_secret_version(self, key: str, version: str) -> str:
        return self._opened(key, self.inner.get_secret_version(key, version))

    def set_secret_if(self, key: str, value: str, expected_version: str | None) -> str:
        return self.inner.set_secret_if(key, self._sealed(key, value), expected_version)

    def stage_secret(self, key: str, value: str) -> str:
        return self.inner.stage_secret(key, self._sealed(key, value))

    def rekey(self, prefix: str = "", progress: Callable[[int, int], object] | None = None) -> int:
        """Encrypt every value again that was not encrypted with the key for writing.

        If the provider has conditional writes, what others write meanwhile is not overwritten, and it is
        encrypted again, too, if they used an older key. It may be called again after a crash.

        Args:
            prefix: Only keys that begin with it.
            progress: Called with how many keys were looked at, and how many there are.

        Returns:
            How many were written.

        Raises:
            DecryptionError: One of them does not decrypt; those before it are written.
            ConflictError: Some have a staged version, of a rotation in flight, and are left as they are: no
                backend can replace it, so the older key is still needed. All others are written. Or somebody
                writes one of them again and again; those before it are written.
        """
        return self.rekey_keys(self.inner.list_secrets(prefix), progress)

    def rekey_keys(self, keys: Sequence[str], progress: Callable[[int, int], object] | None = None) -> int:
        """Do what `rekey` does, for these keys."""
        written = 0
        left: list[str] = []
        records: set[str] = set()
        for number, key in enumerate(keys, 1):
            if self._has_staged(key):
                left.append(key)
                records.add(record_key(key))
            elif key not in records:
                written += self._rekeyed(key)
            if progress is not None:
                progress(number, len(keys))
        _refuse_staged(left, f"; everything else was encrypted again: {written}")
        return written

    def refuse_staged(self, keys: Sequence[str]) -> None:
        """Raise what `rekey_keys` would raise for these keys, and write nothing.

        Raises:
            ConflictError: See `rekey`.
        """
        _refuse_staged([key for key in keys if self._has_staged(key)], "")

    def refuse_unreadable(self, keys: Sequence[str]) -> None:
        """Raise what `rekey_keys` would raise for a value that does not decrypt, and write nothing.

        Raises:
            DecryptionError: See `rekey`.
        """
        for key in keys:
            with suppress(SecretNotFoundError, UnsupportedOperationError):
                self._opened(key, self.inner.get_secret(key))

    def _has_staged(self, key: str) -> bool:
        """Return whether `key` has a staged version that is not encrypted with the key for writing."""
        inner = self.inner
        if is_reserved(key) or not isinstance(inner, StagedWriter) or not isinstance(inner, VersionReader):
            return False
        try:
            staged = [one.version for one in inner.list_versions(key) if one.state == "pending"]
            tokens = [inner.get_secret_version(key, version) for version in staged]
        except (SecretNotFoundError, UnsupportedOperationError):
            return False
        encrypted = [one for one in tokens if not self._is_plain(one)]
        return any(map(KeyRing(self._cipher).needs_rekey, encrypted))

    @property
    def cipher(self) -> Encryption:
        """What encrypts and decrypts."""
        return self._cipher

    def change_cipher(self, cipher: Encryption) -> None:
        """Encrypt and decrypt with another cipher from now on."""
        self._cipher = guard_cipher(cipher)

    def _rekeyed(self, key: str) -> bool:
        """Encrypt one value again if it needs that, and return whether it did."""
        for _ in range(_TRIES - 1):
            with suppress(ConflictError):  # somebody has just written it, perhaps with an older key
                return self._rekeyed_once(key)
        return self._rekeyed_once(key)

    def _rekeyed_once(self, key: str) -> bool:
        try:
            version = self._version(key)
            stored = self.inner.get_secret(key)
        except (SecretNotFoundError, UnsupportedOperationError):
            return False
        plain = self._is_plain(stored)
        if not plain and not KeyRing(self._cipher).needs_rekey(stored):
            return False
        if plain or not hasattr(self._cipher, "rewrap"):
            token = self._sealed(key, self._opened(key, stored))
        else:
            token = self._cipher.rewrap(stored, context=_context(key))
        if version is not None and isinstance(self.inner, ConditionalWriter):
            self.inner.set_secret_if(key, token, version)
        else:
            self.inner.set_secret(key, token)
        return True

    def _version(self, key: str) -> str | None:
        """Return the version of `key`; None if the provider, or its server, does not tell."""
        if not isinstance(self.inner, Describer):
            return None
        try:
            return self.inner.describe_secret(key).version
        except UnsupportedOperationError:  # as version 1 of Vault's KV
            return None

    def close(self) -> None:
        """Close the cipher, if it holds something open, and the inner provider."""
        try:
            if isinstance(self._cipher, Closeable):
                self._cipher.close()
        finally:
            super().close()

    def _is_plain(self, stored: str) -> bool:
        """Return whether `stored` was written before encryption, and may be read."""
        if not self._migrate or looks_encrypted(stored):
            return False
        wrote = getattr(self._cipher, "wrote", None)  # a third party's tokens may begin with anything
        return wrote is None or not wrote(stored)

    def _sealed(self, key: str, value: str) -> str:
        return self._cipher.encrypt(check_value(value, check_key(key)), context=_context(key))

    def _opened(self, key: str, stored: str) -> str:
        try:
            if self._migrate and self._is_plain(stored):
                return stored
            return self._cipher.decrypt(stored, context=_context(key))
        except DecryptionError as error:
            if error.key is None:  # a cipher does not know whose value it is
                error.key, error.message = key, f"{show_key(key)}: {error.message}"
                error.args = (error.message,)
            raise


def _refuse_to_guess(cipher: Any) -> None:
    """Refuse a cipher whose tokens would be taken for values that were stored unencrypted."""
    for one in [cipher.primary, *cipher.older] if isinstance(cipher, KeyRing) else [cipher]:
        if not callable(getattr(one, "wrote", None)):
            raise ConfigurationError(
                "encryption: migrate has to distinguish tokens from values that were stored unencrypted, "
                "and this cipher cannot: it lacks the method wrote",
                hint="leave migrate out, or let the cipher's `wrote(token)` return whether it made a text",
            )


def _refuse_staged(keys: Sequence[str], done: str) -> None:
    if not keys:
        return
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    raise ConflictError(
        f"a rotation in flight has staged a version of {', '.join(map(show_key, keys[:_SHOWN]))}{more} under "
        f"an older key, which is still needed{done}",
        hint="finish the rotation or roll it back (`strongroom rotate`), then repeat this",
    )


def make_encryption_middleware(
    inner: Any,
    *,
    algorithm: str = AESGCMEncryption.algorithm,
    key: str | None = None,
    older_keys: Iterable[str] = (),
    cipher: Any = None,
    migrate: bool = False,
) -> EncryptionMiddleware:
    """Return the middleware that a spec describes: by algorithm and keys, or by a cipher plugin."""
    if cipher is not None:
        return EncryptionMiddleware(inner, cipher.make("encryption"), migrate=migrate)
    cipher_class = CIPHERS[algorithm]
    primary = cipher_class(key) if key is not None else _cipher_of_settings(cipher_class)
    older = [cipher_class(one, older=True) for one in older_keys]
    return EncryptionMiddleware(inner, KeyRing(primary, *older) if older else primary, migrate=migrate)


def _context(key: str) -> bytes:
    return encoded([b"strongroom secret 1", key.encode(errors="surrogatepass")])


def _cipher_of_settings(kind: type[TokenEncryption]) -> TokenEncryption:
    from strongroom.settings import cipher_of_settings

    return cipher_of_settings(kind, "encryption: there is no key", "key")


def _warn_if_rules_see_ciphertext(inner: Any) -> None:
    while isinstance(inner, Middleware):
        if isinstance(inner, ValidationMiddleware) and inner.has_value_rules:
            warnings.warn(
                "ValidationMiddleware inside EncryptionMiddleware checks ciphertext; put it around it",
                stacklevel=4,
            )
        inner = inner.inner
