"""What the outcome of a fetch means: text for a caller, an answer about a key, or a failure of all."""

from __future__ import annotations

from typing import Final

from strongroom.cache.single_flight import FetchResult
from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    ConfigurationError,
    PermissionDeniedError,
    SecretNotFoundError,
    StrongroomError,
)

__all__ = ["REFUSALS", "checked", "concerns_all", "meaning", "says_absent"]

REFUSALS: Final = (SecretNotFoundError, PermissionDeniedError, AuthenticationError)
"""Answers after which nothing that was remembered is given any more."""
_OF_NO_KEY: Final = (BackendUnavailableError, AuthenticationError, ConfigurationError)
"""Failures that are not about one key, even if they name one."""


def concerns_all(error: BaseException) -> bool:
    """Return whether a batch's error is about all of its keys: an outage, a login, or a failure of no key.

    What names a key is about that key, and "not found" is about one in any case.
    """
    if isinstance(error, SecretNotFoundError):
        return False
    whole = not isinstance(error, StrongroomError) or isinstance(error, _OF_NO_KEY)
    return whole or getattr(error, "key", None) is None


def meaning(error: BaseException, key: str) -> BaseException:
    """Return the error of ours that a failed fetch of `key` means: a function may raise Python's own.

    They are read as those of a provider that knows nothing of strongroom; see `strongroom.providers.guarded`.
    """
    if isinstance(error, StrongroomError):
        return error
    if isinstance(error, KeyError) and error.args == (key,):
        return SecretNotFoundError(key)
    if isinstance(error, PermissionError):
        return PermissionDeniedError("the fetch was denied", key=key)
    if isinstance(error, ConnectionError | TimeoutError):
        return BackendUnavailableError("the fetch met an outage", key=key)
    return error


def says_absent(error: SecretNotFoundError, key: str) -> bool:
    """Return whether `error` says that nothing is at `key`: not deleted, disabled, or of another key."""
    return error.reason == "absent" and error.key == key


def checked(fetched: FetchResult) -> FetchResult:
    """Return `fetched`, which must hold text.

    Raises:
        TypeError: It holds something else.
    """
    if not isinstance(fetched.value, str):
        message = f"a fetch returned a {type(fetched.value).__name__}, not text"
        raise TypeError(message)
    return fetched
