"""The guard around a cipher that knows nothing of strongroom's rules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from strongroom.encryption.keys import HoldsKey
from strongroom.errors import (
    BackendUnavailableError,
    DecryptionError,
    EncryptionError,
    PermissionDeniedError,
    SecretNotFoundError,
    StrongroomError,
    bare_error,
    raised_at,
)
from strongroom.runtime.coroutines import refuse_class

__all__ = ["guard_cipher"]


class GuardedCipher(HoldsKey):
    """A third party's cipher, its errors translated to `strongroom.errors`; what it answers is text.

    It may raise anything at all, and its error may well quote the text that it was about. A `KeyError` or
    `SecretNotFoundError` would say that the secret is not there. Other errors of our own classes pass, unless
    they, or what they were raised from, may show a text that the cipher had.
    """

    def __init__(self, wrapped: Any) -> None:
        self.wrapped = wrapped

    def encrypt(self, plaintext: str, *, context: bytes = b"") -> str:
        return self._text("encrypt", self._asked("encrypt", plaintext, context=context))

    def decrypt(self, token: str, *, context: bytes = b"") -> str:
        return self._text("decrypt", self._asked("decrypt", token, context=context))

    def close(self) -> None:
        """Close the cipher, if it can be closed."""
        close = getattr(self.wrapped, "close", None)
        if callable(close):
            close()

    def __getattr__(self, name: str) -> Any:
        """Return what else the cipher has; methods that get or return texts are guarded, too."""
        method = getattr(self.wrapped, name)
        if name in {"encrypt_many", "decrypt_many"}:
            return partial(self._many, name)
        if name in {"wrote", "needs_rekey"}:  # the text may be a value that is not encrypted yet
            return partial(self._tells, name)
        return self._rewrap if name == "rewrap" else method

    def __repr__(self) -> str:
        return f"<GuardedCipher of {type(self.wrapped).__name__}>"

    def _rewrap(self, token: str, *, context: bytes = b"") -> str:
        return self._text("rewrap", self._asked("rewrap", token, context=context))

    def _tells(self, method: str, text: str) -> bool:
        return bool(self._asked(method, text))

    def _many(self, method: str, items: Sequence[tuple[str, bytes]]) -> list[str]:
        texts = self._asked(method, items)
        if not isinstance(texts, list) or len(texts) != len(items):
            raise _kind(None, method)(f"{self._name()}: {method} returned no list of {len(items)} texts")
        return [self._text(method, one) for one in texts]

    def _asked(self, method: str, *args: Any, **kwargs: Any) -> Any:
        try:
            return getattr(self.wrapped, method)(*args, **kwargs)
        except Exception as raised:
            from strongroom.runtime.disclosure import may_show

            ours = isinstance(raised, StrongroomError) and not isinstance(raised, SecretNotFoundError)
            if ours and not may_show(raised, _texts_in(args), (), self.wrapped):
                raise
            error = raised
        # Outside the `except` block: its error may hold the value, and must not even be the context.
        hint = f"its own error may hold a value and is not shown; it was raised at {raised_at(error)}"
        if ours and isinstance(error, StrongroomError):
            failure = bare_error(error, None, self._name())
            failure.provider, failure.hint = None, hint
            raise failure
        raise _kind(error, method)(f"{self._name()}: {method} failed with {type(error).__name__}", hint=hint)

    def _text(self, method: str, result: Any) -> str:
        if isinstance(result, str):
            return result
        raise _kind(None, method)(f"{self._name()}: {method} returned a {type(result).__name__}, not text")

    def _name(self) -> str:
        return type(self.wrapped).__name__


def _texts_in(args: Sequence[Any]) -> Iterator[str]:
    """Yield the values and tokens among the arguments of a cipher's method."""
    for argument in args:
        if isinstance(argument, str):
            yield argument
        else:
            yield from (text for text, _ in argument)


def _kind(error: Exception | None, method: str) -> type[StrongroomError]:
    if isinstance(error, PermissionError):
        return PermissionDeniedError
    if isinstance(error, ConnectionError | TimeoutError):
        return BackendUnavailableError
    return EncryptionError if method in {"encrypt", "encrypt_many", "rewrap"} else DecryptionError


def guard_cipher(cipher: Any) -> Any:
    """Return `cipher` itself where it keeps to `strongroom.errors`, else a guard around it.

    Raises:
        TypeError: It is not a cipher, such as the text of a key.
    """
    if not (callable(getattr(cipher, "encrypt", None)) and callable(getattr(cipher, "decrypt", None))):
        raise TypeError(f"a {type(cipher).__name__} is not a cipher: it needs encrypt and decrypt")
    refuse_class(cipher, "encrypt")
    return cipher if isinstance(cipher, HoldsKey) else GuardedCipher(cipher)
