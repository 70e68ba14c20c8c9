"""The keyring library's errors as strongroom's: one table, from class to class.

Classes are named by their dotted names, because what is below the keyring library differs by
platform and is imported on none of the others. A test walks the classes and fails where one is missing.
"""

from __future__ import annotations

from strongroom.clients import service_error, shows_value
from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    ConfigurationError,
    PermissionDeniedError,
    SecretNotFoundError,
    StrongroomError,
    ValidationError,
)

__all__ = ["TABLE", "kind_of", "translate"]

TABLE: dict[str, type[StrongroomError]] = {
    "keyring.errors.KeyringError": BackendUnavailableError,
    "keyring.errors.InitError": BackendUnavailableError,
    "keyring.errors.KeyringLocked": AuthenticationError,
    "keyring.errors.NoKeyringError": ConfigurationError,
    # A password that is simply not there is distinguished from a refusal by reading it, see provider.py.
    "keyring.errors.PasswordDeleteError": PermissionDeniedError,
    "keyring.errors.PasswordSetError": PermissionDeniedError,
    # Linux: the Secret Service, and D-Bus below it
    "secretstorage.exceptions.SecretStorageException": BackendUnavailableError,
    "secretstorage.exceptions.SecretServiceNotAvailableException": BackendUnavailableError,
    "secretstorage.exceptions.LockedException": AuthenticationError,
    "secretstorage.exceptions.PromptDismissedException": AuthenticationError,
    "secretstorage.exceptions.ItemNotFoundException": SecretNotFoundError,
    "jeepney.wrappers.DBusErrorResponse": BackendUnavailableError,
    "jeepney.auth.AuthenticationError": AuthenticationError,
    "jeepney.io.common.RouterClosed": BackendUnavailableError,
    # macOS: the keychain
    "keyring.backends.macOS.api.Error": BackendUnavailableError,
    "keyring.backends.macOS.api.NotFound": SecretNotFoundError,
    "keyring.backends.macOS.api.KeychainDenied": PermissionDeniedError,
    "keyring.backends.macOS.api.SecAuthFailure": AuthenticationError,
    # Backends that keep files
    "builtins.PermissionError": PermissionDeniedError,
    "builtins.OSError": BackendUnavailableError,
    "builtins.UnicodeDecodeError": ValidationError,
}
"""The dotted name of each class a call can meet, and ours for it; a subclass counts as its nearest base."""

_HINTS: dict[type[StrongroomError], str] = {
    AuthenticationError: "unlock the keyring, by logging in to the desktop or in the keyring's own program",
    BackendUnavailableError: "check that the keyring's service is running in this session",
    ConfigurationError: "run 'keyring diagnose'; name a class in the option 'backend', or use 'type: file' "
    "if there is no desktop",
    PermissionDeniedError: "allow this program to use the entry, in the keyring's own program",
    ValidationError: "the entry is binary, not text; read it with the tool that wrote it",
}


def kind_of(error: Exception) -> type[StrongroomError]:
    """Return the class of strongroom's error for `error`."""
    for cls in type(error).__mro__:
        found = TABLE.get(f"{cls.__module__}.{cls.__qualname__}")
        if found is not None:
            return found
    return StrongroomError


def translate(
    error: Exception, *, doing: str, key: str | None = None, hidden: str | None = None
) -> StrongroomError:
    """Return strongroom's error for `error`.

    Args:
        error: The error of the keyring.
        doing: The operation, for the message.
        key: The key it was about.
        hidden: A value that was written and must not appear in any text.
    """
    kind = kind_of(error)
    if kind is SecretNotFoundError and key is None:
        kind = BackendUnavailableError  # an entry went away while it was listed
    # A decoding error holds the bytes that it could not decode; what is not in the table may hold anything.
    shows = kind not in (ValidationError, StrongroomError, SecretNotFoundError)
    if shows_value(f"{error} {error!r}", hidden):
        shows = False
    return service_error(
        kind,
        f"{type(error).__name__}: {error}" if shows else type(error).__name__,
        provider="keyring",
        doing=doing,
        key=key,
        hint=_HINTS.get(kind),
        cause=error if shows else None,
    )
