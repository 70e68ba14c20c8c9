"""Fernet, AES-256-GCM and ChaCha20-Poly1305 over `cryptography`'s primitives, one token format for all three.

No cipher's key encrypts anything itself. A key for data is derived from it, from 16 random bytes that are
in the token, the algorithm and the active tenant (HKDF-Expand, RFC 5869, with SHA-256). A cipher draws these
bytes when it first encrypts and again after 2**20 tokens. So however many processes use one key, no key for
data comes near the 2**32 encryptions with random nonces that NIST SP 800-38D (section 8.3) allows: processes
need not count together. A forked child goes on with its parent's bytes, and with nonces of its own.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Callable
from itertools import count
from typing import Any, ClassVar, Final, Protocol, runtime_checkable

from cryptography.exceptions import InvalidTag
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from strongroom.encryption.keys import ARGON2_DEFAULT, SALT_BYTES, HoldsKey, derive_key, read_key
from strongroom.encryption.tokens import (
    PREFIX,
    Token,
    as_text,
    decode,
    derivation_head,
    encoded,
    parse,
    refused,
    text_of,
)
from strongroom.errors import DecryptionError, EncryptionError, ValidationError
from strongroom.tenancy import current_tenant

__all__ = ["AESGCMEncryption", "ChaCha20Encryption", "Encryption", "FernetEncryption", "TokenEncryption"]

_NONCE: Final = 12
_TOKENS_A_KEY: Final = 1 << 20
_KEPT: Final = 1024


@runtime_checkable
class Encryption(Protocol):
    """Encrypts text to text that can be stored anywhere text can.

    It may also have `wrote(token) -> bool`, which returns whether it made a text: the option `migrate` needs
    it, and a `KeyRing` asks only the ciphers that say yes. If it has `close()`, its pipeline calls that. A
    token that does not decrypt is a `DecryptionError`; any other exception than those of `strongroom.errors`
    is not shown, since it may hold the value: only its class and the place where it was raised are.
    """

    def encrypt(self, plaintext: str, *, context: bytes = b"") -> str:
        """Return a token of `plaintext`, which decrypts only with the same `context`."""
        ...

    def decrypt(self, token: str, *, context: bytes = b"") -> str:
        """Return the plaintext, or raise `DecryptionError`."""
        ...


class _DataKey(HoldsKey):
    """The key that a number of tokens are encrypted with, as the primitive made from it."""

    __slots__ = ("primitive", "salt", "uses")

    def __init__(self, salt: bytes, primitive: Any) -> None:
        self.salt = salt
        self.primitive = primitive
        self.uses = count(1)


class _Key(HoldsKey):
    """A cipher's key with what follows from it: its id, the beginnings of tokens, and keys for data."""

    __slots__ = (
        "_after_salt",
        "_before_salt",
        "_make",
        "_reading",
        "_writing",
        "beginning",
        "bound",
        "head",
        "id",
        "secret",
    )

    def __init__(self, algorithm: str, secret: bytes, head: bytes, make: Callable[[bytes], Any]) -> None:
        name = algorithm.encode()
        self.secret = secret
        self.head = head
        self.id = hmac.digest(secret, b"strongroom token 1 key id", "sha256")[:8].hex()
        self.beginning = f"{PREFIX}{algorithm}.{self.id}."
        self.bound = encoded([PREFIX.encode(), name, self.id.encode(), head])
        self._make = make
        self._before_salt = encoded([b"strongroom token 1", name])
        self._after_salt = encoded([b"\0"]) + b"\1"
        self._writing: dict[str | None, _DataKey] = {}
        self._reading: dict[tuple[str | None, bytes], Any] = {}

    def to_write(self) -> _DataKey:
        tenant = current_tenant()
        data_key = self._writing.get(tenant)
        if data_key is None or next(data_key.uses) > _TOKENS_A_KEY:
            salt = os.urandom(SALT_BYTES)
            data_key = _DataKey(salt, self._primitive(tenant, salt))  # the block may have ended meanwhile
            _keep(self._writing, tenant, data_key)
        return data_key

    def to_read(self, salt: bytes) -> Any:
        """Return the primitive for a token with this salt, under the active tenant."""
        return self._primitive(current_tenant(), salt)

    def _primitive(self, tenant: str | None, salt: bytes) -> Any:
        aead = self._reading.get((tenant, salt))
        if aead is None:
            # The tenant is in the key: under another tenant, or none, a token does not decrypt.
            after = self._after_salt if tenant is None else encoded([b"\1", tenant.encode()]) + b"\1"
            aead = self._make(hmac.digest(self.secret, self._before_salt + salt + after, "sha256"))
            _keep(self._reading, (tenant, salt), aead)
        return aead

    def associated(self, context: bytes) -> bytes:
        return self.bound + len(context).to_bytes(8, "big") + context


def _keep(table: dict[Any, Any], name: Any, value: Any) -> None:
    if len(table) >= _KEPT:
        table.clear()
    table[name] = value


class TokenEncryption(HoldsKey):
    """The base of the three ciphers: keys, tokens, and one error for everything that can be wrong.

    Args:
        key: Text of `generate_key`, 32 bytes, a standard Fernet key, or any other text as a passphrase.
        older: The cipher only decrypts, as a member of a `KeyRing`. Its passphrase may then be one that is
            otherwise refused.

    Raises:
        ConfigurationError: `key` is empty, of another length, a passphrase that is blank or has less than 8
            characters, or nearly one of the other keys: with something around it, cut off, or in another
            alphabet.
    """

    algorithm: ClassVar[str]

    def __init__(self, key: str | bytes, *, older: bool = False) -> None:
        self._material = read_key(key, older=older)
        self._older = older
        self._writing: _Key | None = None
        self._raw: _Key | None = None
        self._derived: dict[bytes, _Key] = {}
        if self._material.kind != "passphrase":
            self._raw = self._writing = self._made(self._material.secret, derivation_head(None, b""))

    def encrypt(self, plaintext: str, *, context: bytes = b"") -> str:
        """Return a token of `plaintext` that decrypts only with the same `context`, under the same tenant.

        Raises:
            TypeError: `plaintext` is not text.
            ValidationError: It holds a lone surrogate, which is not Unicode text.
            EncryptionError: The key is a passphrase that was given as an older one.
        """
        key = self._writing or self._first()
        data = _bytes_of(plaintext)
        writing = key.to_write()
        body = self._seal(writing.primitive, data, key.associated(context))
        text = base64.urlsafe_b64encode(key.head + writing.salt + body)
        return key.beginning + text.rstrip(b"=").decode()

    def decrypt(self, token: str, *, context: bytes = b"") -> str:
        """Return the plaintext of `token`, which may be ASCII bytes.

        Raises:
            DecryptionError: It was changed, or made with another key or context or under another tenant; or
                what was encrypted is not UTF-8 text.
        """
        parsed = parse(token if isinstance(token, str) else as_text(token))
        key = self._key_of(parsed)
        if key is None:
            raise refused()
        data = self._open(key.to_read(parsed.salt), parsed.body, key.associated(context))
        if data is None:
            raise refused()
        return text_of(data)

    def wrote(self, token: str) -> bool:
        """Return whether `token` names this algorithm and this key."""
        try:
            return self._key_of(parse(as_text(token))) is not None
        except DecryptionError:
            return False

    def derived(self, purpose: bytes) -> bytes:
        """Return 32 bytes that follow from the key and `purpose` alone, the same in every process.

        They reveal nothing of the key or of other purposes' bytes (HKDF-Expand, RFC 5869). A passphrase is
        first stretched with a salt made of `purpose`.
        """
        secret = self._material.secret
        if self._material.kind == "passphrase":
            secret = derive_key(secret, hashlib.sha256(b"strongroom salt 1" + purpose).digest())
        return hmac.digest(secret, encoded([b"strongroom derived 1", purpose]) + b"\1", "sha256")

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def _first(self) -> _Key:
        if self._older:
            raise EncryptionError("an older key only decrypts", hint="encrypt with the first key of the ring")
        # One salt for everything that this cipher writes, so that reading derives only once.
        salt = os.urandom(SALT_BYTES)
        secret = derive_key(self._material.secret, salt)
        self._writing = self._made(secret, derivation_head(ARGON2_DEFAULT, salt))
        return self._writing

    def _key_of(self, token: Token) -> _Key | None:
        if token.algorithm != self.algorithm:
            return None
        key = self._raw
        if (token.parameters is None) != (key is not None):
            return None
        writing = self._writing
        if key is None and writing is not None and writing.head == token.head:
            key = writing
        if key is None and token.parameters is not None:
            key = self._derived.get(token.head)
            if key is None:
                secret = derive_key(self._material.secret, token.kdf_salt, token.parameters)
                key = self._made(secret, token.head)
                _keep(self._derived, token.head, key)
        return key if key is not None and key.id == token.key_id else None

    def _made(self, secret: bytes, head: bytes) -> _Key:
        return _Key(self.algorithm, secret, head, self._primitive)

    def _seal(self, primitive: Any, data: bytes, associated: bytes) -> bytes:
        nonce = os.urandom(_NONCE)
        sealed: bytes = primitive.encrypt(nonce, data, associated)
        return nonce + sealed

    def _open(self, primitive: Any, body: bytes, associated: bytes) -> bytes | None:
        try:
            data: bytes = primitive.decrypt(body[:_NONCE], body[_NONCE:], associated)
        except (InvalidTag, ValueError):
            return None
        return data

    @staticmethod
    def _primitive(key: bytes) -> Any:
        raise AssertionError(len(key))  # each cipher has its own


class AESGCMEncryption(TokenEncryption):
    """AES-256-GCM (NIST SP 800-38D)."""

    algorithm = "aes-gcm"
    _primitive = AESGCM


class ChaCha20Encryption(TokenEncryption):
    """ChaCha20-Poly1305 (RFC 8439)."""

    algorithm = "chacha20"
    _primitive = ChaCha20Poly1305


class FernetEncryption(TokenEncryption):
    """Fernet (AES-128-CBC and HMAC-SHA256).

    With a standard Fernet key, no context and no active tenant, it writes and reads standard Fernet tokens.
    Otherwise it uses strongroom's own format, in which a token's key is also derived from the context.
    """

    algorithm = "fernet"

    def __init__(self, key: str | bytes, *, older: bool = False) -> None:
        super().__init__(key, older=older)
        self._standard: Fernet | None = None
        if self._material.kind == "fernet":
            self._standard = Fernet(base64.urlsafe_b64encode(self._material.secret))

    def encrypt(self, plaintext: str, *, context: bytes = b"") -> str:
        if self._standard is not None and context == b"" and current_tenant() is None:
            return self._standard.encrypt(_bytes_of(plaintext)).decode()
        return super().encrypt(plaintext, context=context)

    def decrypt(self, token: str, *, context: bytes = b"") -> str:
        token = as_text(token)
        if token.startswith(PREFIX):
            return super().decrypt(token, context=context)
        data = None
        if context == b"" and current_tenant() is None:
            data = self._opened_standard(token)
        if data is None:
            raise refused()
        return text_of(data)

    def wrote(self, token: str) -> bool:
        token = as_text(token)
        if token.startswith(PREFIX):
            return super().wrote(token)
        return self._opened_standard(token) is not None

    def _opened_standard(self, token: str) -> bytes | None:
        # Fernet itself also takes other texts of the same bytes: stray characters, spare bits, more padding.
        bare = token.rstrip("=")
        if self._standard is None or decode(bare) is None or len(token) != len(bare) + -len(bare) % 4:
            return None
        try:
            return self._standard.decrypt(token)
        except InvalidToken:
            return None

    @staticmethod
    def _primitive(key: bytes) -> bytes:
        return key

    def _seal(self, primitive: Any, data: bytes, associated: bytes) -> bytes:
        return base64.urlsafe_b64decode(_fernet(primitive, associated).encrypt(data))

    def _open(self, primitive: Any, body: bytes, associated: bytes) -> bytes | None:
        try:
            return _fernet(primitive, associated).decrypt(base64.urlsafe_b64encode(body))
        except InvalidToken:
            return None


def _fernet(key: bytes, associated: bytes) -> Fernet:
    # Fernet authenticates no further data, so what it is bound to goes into its key.
    return Fernet(base64.urlsafe_b64encode(hmac.digest(key, b"strongroom fernet 1" + associated, "sha256")))


def _bytes_of(plaintext: str) -> bytes:
    if not isinstance(plaintext, str):
        message = f"a plaintext is text, got {type(plaintext).__name__}"
        raise TypeError(message)
    try:
        return plaintext.encode()
    except UnicodeEncodeError:
        pass  # raised below: the error's context would hold the plaintext
    raise ValidationError("the plaintext holds a lone surrogate, which is not Unicode text")
