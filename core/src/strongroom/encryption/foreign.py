"""The guard around a cipher that knows nothing of strongroom's rules."""

from __future__ import annotations

from typing import Any

from strongroom.encryption.keys import HoldsKey
from strongroom.errors import (
    BackendUnavailableError,
    DecryptionError,
    EncryptionError,
    PermissionDeniedError,
    StrongroomError,
    raised_at,
)

__all__ = ["guard_cipher"]


class GuardedCipher(HoldsKey):
    """A third party's cipher, its errors translated to `strongroom.errors`; what it answers is text."""

    def __init__(self, wrapped: Any) -> None:
        self.wrapped = wrapped

    def encrypt(self, plaintext: str, *, context: bytes = b"") -> str:
        return self._text("encrypt", EncryptionError, plaintext, context)

    def decrypt(self, token: str, *, context: bytes = b"") -> str:
        return self._text("decrypt", DecryptionError, token, context)

    def close(self) -> None:
        """Close the cipher, if it can be closed."""
        close = getattr(self.wrapped, "close", None)
        if callable(close):
            close()

    def __getattr__(self, name: str) -> Any:
        """Return what else the cipher has, such as `wrote`."""
        return getattr(self.wrapped, name)

    def __repr__(self) -> str:
        return f"<GuardedCipher of {type(self.wrapped).__name__}>"

    def _text(self, method: str, fallback: type[EncryptionError], text: str, context: bytes) -> str:
        name = type(self.wrapped).__name__
        try:
            result = getattr(self.wrapped, method)(text, context=context)
        except StrongroomError:
            raise
        except Exception as raised:  # noqa: BLE001  # a third party's cipher may raise anything at all
            error = raised
        else:
            if isinstance(result, str):
                return result
            raise fallback(f"{name}: {method} returned a {type(result).__name__}, not text")
        # Outside the `except` block: its error may hold the value, and must not even be the context.
        kind: type[StrongroomError] = fallback
        if isinstance(error, PermissionError):
            kind = PermissionDeniedError
        elif isinstance(error, ConnectionError | TimeoutError):
            kind = BackendUnavailableError
        raise kind(
            f"{name}: {method} failed with {type(error).__name__}",
            hint=f"its own error may hold a value and is kept back; it was raised at {raised_at(error)}",
        )


def guard_cipher(cipher: Any) -> Any:
    """Return `cipher` itself where it keeps to `strongroom.errors`, else a guard around it."""
    return cipher if isinstance(cipher, HoldsKey) else GuardedCipher(cipher)
