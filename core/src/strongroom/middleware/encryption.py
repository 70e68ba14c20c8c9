"""Values encrypted on their way to a provider, each bound to its key's name and the active tenant."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any, Final

from strongroom.encryption.ciphers import (
    AESGCMEncryption,
    ChaCha20Encryption,
    Encryption,
    FernetEncryption,
    TokenEncryption,
)
from strongroom.encryption.ring import KeyRing
from strongroom.encryption.tokens import encoded, looks_encrypted
from strongroom.errors import DecryptionError
from strongroom.keys import check_key, check_value
from strongroom.middleware.base import Middleware
from strongroom.middleware.validation import ValidationMiddleware

__all__ = ["EncryptionMiddleware", "make_encryption_middleware"]

CIPHERS: Final[Mapping[str, type[TokenEncryption]]] = {
    cipher.algorithm: cipher for cipher in (AESGCMEncryption, ChaCha20Encryption, FernetEncryption)
}


class EncryptionMiddleware(Middleware):
    """Encrypts what is written and decrypts what is read: values, versions and batches.

    A token is bound to the key it is stored under: copied to another one it does not decrypt.

    Args:
        inner: The provider that gets tokens to store.
        encryption: A cipher or `KeyRing`. Without one, AES-256-GCM with the key that
            `STRONGROOM_ENCRYPTION_KEY` holds.
        migrate: Also read values that were stored before encryption; every write stores a token. What looks
            like a token and does not decrypt stays an error.

    Raises:
        ConfigurationError: There is no cipher, and no key in the environment.
    """

    def __init__(self, inner: Any, encryption: Encryption | None = None, *, migrate: bool = False) -> None:
        super().__init__(inner)
        self._cipher = encryption if encryption is not None else AESGCMEncryption(_key_of_settings())
        self._migrate = migrate
        self._get = self.inner.get_secret
        _warn_of_blind_rules(inner)

    def get_secret(self, key: str) -> str:
        return self._opened(key, self._get(key))

    def set_secret(self, key: str, value: str) -> None:
        self.inner.set_secret(key, self._sealed(key, value))

    def get_secrets(self, keys: Iterable[str]) -> dict[str, str]:
        return {key: self._opened(key, token) for key, token in self.inner.get_secrets(keys).items()}

    def set_secrets(self, values: Mapping[str, str]) -> None:
        self.inner.set_secrets({key: self._sealed(key, value) for key, value in values.items()})

    def get_secret_version(self, key: str, version: str) -> str:
        return self._opened(key, self.inner.get_secret_version(key, version))

    def set_secret_if(self, key: str, value: str, expected_version: str | None) -> str:
        return self.inner.set_secret_if(key, self._sealed(key, value), expected_version)

    def stage_secret(self, key: str, value: str) -> str:
        return self.inner.stage_secret(key, self._sealed(key, value))

    def _sealed(self, key: str, value: str) -> str:
        return self._cipher.encrypt(check_value(value, check_key(key)), context=_context(key))

    def _opened(self, key: str, stored: str) -> str:
        if self._migrate and not looks_encrypted(stored):
            return stored
        try:
            return self._cipher.decrypt(stored, context=_context(key))
        except DecryptionError as error:
            error.key = error.key or key
            raise


def make_encryption_middleware(
    inner: Any,
    *,
    algorithm: str = AESGCMEncryption.algorithm,
    key: str | None = None,
    older_keys: Iterable[str] = (),
    cipher: Any = None,
    migrate: bool = False,
) -> EncryptionMiddleware:
    """Return the middleware as a spec describes it: by algorithm and keys, or by a cipher of its own."""
    if cipher is not None:
        return EncryptionMiddleware(inner, cipher.make(), migrate=migrate)
    made = CIPHERS[algorithm]
    primary = made(key if key is not None else _key_of_settings())
    older = [made(one) for one in older_keys]
    return EncryptionMiddleware(inner, KeyRing(primary, *older) if older else primary, migrate=migrate)


def _context(key: str) -> bytes:
    return encoded([b"strongroom secret 1", key.encode(errors="surrogatepass")])


def _key_of_settings() -> str:
    from strongroom.settings import required_encryption_key

    return required_encryption_key("encryption: there is no key", "key")


def _warn_of_blind_rules(inner: Any) -> None:
    while isinstance(inner, Middleware):
        if isinstance(inner, ValidationMiddleware) and inner.has_value_rules:
            warnings.warn(
                "ValidationMiddleware inside EncryptionMiddleware checks ciphertext; put it around it",
                stacklevel=4,
            )
        inner = inner.inner
