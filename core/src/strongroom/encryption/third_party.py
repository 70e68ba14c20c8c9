"""What a third party's cipher returns and raises, before a caller gets it.

It may raise anything at all, and an error of a cipher may well quote the text that it was about. A
`KeyError` or `SecretNotFoundError` would say that the secret is not there. So its errors become those of
`strongroom.errors`, without their texts. Those of strongroom's own classes pass, as their author has
read what they may hold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from strongroom.encryption.keys import HoldsKey
from strongroom.errors import (
    BackendUnavailableError,
    DecryptionError,
    EncryptionError,
    PermissionDeniedError,
    SecretNotFoundError,
    StrongroomError,
    raised_at,
)

__all__ = ["decrypted", "decrypted_many", "encrypted", "encrypted_many", "rewrapped"]

Item = tuple[str, bytes]


def encrypted(cipher: Any, plaintext: str, context: bytes) -> str:
    """Return the token that `cipher` makes of `plaintext`.

    Raises:
        EncryptionError: The cipher failed, or returned something else than text.
        BackendUnavailableError, PermissionDeniedError: So did what it asks.
    """
    if isinstance(cipher, HoldsKey):  # our own
        return cipher.encrypt(plaintext, context=context)  # type: ignore[attr-defined, no-any-return]
    return _text(cipher, "encrypt", _asked(cipher, "encrypt", plaintext, context=context))


def decrypted(cipher: Any, token: str, context: bytes) -> str:
    """Return the plaintext of `token` by `cipher`.

    Raises:
        DecryptionError: It does not decrypt; or the cipher failed, or returned something else than text.
        BackendUnavailableError, PermissionDeniedError: So did what it asks.
    """
    if isinstance(cipher, HoldsKey):
        return cipher.decrypt(token, context=context)  # type: ignore[attr-defined, no-any-return]
    return _text(cipher, "decrypt", _asked(cipher, "decrypt", token, context=context))


def encrypted_many(cipher: Any, items: Sequence[Item]) -> list[str]:
    """Return a token for each plaintext and context; see `encrypted`."""
    return _texts(cipher, "encrypt_many", items)


def decrypted_many(cipher: Any, items: Sequence[Item]) -> list[str]:
    """Return the plaintext for each token and context; see `decrypted`."""
    return _texts(cipher, "decrypt_many", items)


def rewrapped(cipher: Any, token: str, context: bytes) -> str:
    """Return a token of the same plaintext under the newest key; see `encrypted`."""
    return _text(cipher, "rewrap", _asked(cipher, "rewrap", token, context=context))


def _asked(cipher: Any, method: str, *args: Any, **kwargs: Any) -> Any:
    ask: Callable[..., Any] = getattr(cipher, method)
    try:
        return ask(*args, **kwargs)
    except Exception as raised:
        if isinstance(raised, StrongroomError) and not isinstance(raised, SecretNotFoundError):
            raise
        error = raised
    # Outside the block: the error may hold the text, and must not even be the context.
    kind = _kind(error, method)
    raise kind(
        f"{_name(cipher)}: {method} failed with {type(error).__name__}",
        hint=f"its own error may hold a value and is kept back; it was raised at {raised_at(error)}",
    )


def _texts(cipher: Any, method: str, items: Sequence[Item]) -> list[str]:
    texts = _asked(cipher, method, items)
    if not isinstance(texts, list) or len(texts) != len(items):
        raise _kind(None, method)(f"{_name(cipher)}: {method} returned no list of {len(items)} texts")
    return [_text(cipher, method, one) for one in texts]


def _text(cipher: Any, method: str, result: Any) -> str:
    if isinstance(result, str):
        return result
    raise _kind(None, method)(f"{_name(cipher)}: {method} returned a {type(result).__name__}, not text")


def _kind(error: Exception | None, method: str) -> type[StrongroomError]:
    if isinstance(error, PermissionError):
        return PermissionDeniedError
    if isinstance(error, ConnectionError | TimeoutError):
        return BackendUnavailableError
    return DecryptionError if method.startswith("decrypt") else EncryptionError


def _name(cipher: Any) -> str:
    return type(cipher).__name__
