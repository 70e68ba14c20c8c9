"""Where the key of a log comes from: given, a key file, the environment, else `<log>.key`."""

from __future__ import annotations

import contextlib
import os

from strongroom.encryption.keyfiles import MAX_BYTES, place, read_bytes
from strongroom.encryption.keys import KEY_PREFIX, MIN_PASSPHRASE, HoldsKey, generate_key, read_key
from strongroom.errors import (
    AuditError,
    BackendUnavailableError,
    ConfigurationError,
    PermissionDeniedError,
    ReadOnlyError,
    StrongroomError,
)

__all__ = ["VARIABLE", "KeySource", "own_key_file"]

VARIABLE = "STRONGROOM_AUDIT_KEY"


def own_key_file(log: str) -> str:
    """Return the key file of a log that is given no other key."""
    return f"{log}.key"


class KeySource(HoldsKey):
    """Where the key of audit logs comes from, looked up when it is first needed.

    Args:
        key: The key itself; text counts as its UTF-8 bytes, without the line breaks around it.
            Bytes that begin like a generated key count as its text.
        key_file: A file that holds it; a trailing newline is not part of it.

    Raises:
        ConfigurationError: The key is empty, or begins like a generated one and is not one.
    """

    def __init__(
        self, key: str | bytes | None = None, key_file: str | os.PathLike[str] | None = None
    ) -> None:
        self._given = None if key is None else _checked(key, "the audit key")
        self._file = None if key_file is None else os.path.abspath(os.fspath(key_file))  # noqa: PTH100  # stays text
        if self._given is not None and self._file is not None:
            raise ConfigurationError("either the audit key or its file, not both")

    def find(self, log: str) -> bytes:
        """Return the key for reading `log`.

        Raises:
            ConfigurationError: There is none.
        """
        key = self._elsewhere()
        if key is None:
            key = _read(own_key_file(log))
        if key is None:
            raise ConfigurationError(
                f"no key for {log}: there is no {own_key_file(log)}",
                hint=f"give the key file, or set {VARIABLE}",
            )
        return key

    def weakness(self, log: str) -> str | None:
        """Return why the key for reading `log` may be guessed; None if it seems strong.

        Raises:
            ConfigurationError: There is no key.
        """
        characters = len(self.find(log).decode(errors="replace"))
        if characters >= MIN_PASSPHRASE:
            return None
        return f"it has {characters} characters: anyone who reads the log can guess it, and forge lines"

    def load_or_create(self, log: str, *, in_use: bool) -> bytes:
        """Return the key for writing `log`; where nothing gives one, make its key file.

        Args:
            log: The path of the log.
            in_use: Whether there are lines or a head already: then a key file that is missing is an error.

        Raises:
            AuditError: It is missing, or cannot be made.
            ConfigurationError: What is there is no key.
        """
        path = own_key_file(log)
        key = self._elsewhere() or _read(path)
        if key is None and in_use:
            # Another process may have made key and log since we looked.
            key = _read(path)
            if key is None:
                raise AuditError(
                    f"the key {path} of the audit log beside it is missing",
                    hint="put it back, or move the log and its .head away to begin again",
                )
        return key if key is not None else _make(path)

    def _elsewhere(self) -> bytes | None:
        if self._given is not None:
            return self._given
        if self._file is not None:
            key = _read(self._file)
            if key is None:
                raise ConfigurationError(
                    f"there is no audit key file {self._file}",
                    hint="put it back, or make one with `strongroom keygen`, readable by you alone",
                )
            return key
        text = os.environ.get(VARIABLE)
        return _checked(text, VARIABLE) if text else None

    def __repr__(self) -> str:
        return "<KeySource>"


def _checked(key: str | bytes, what: str) -> bytes:
    if isinstance(key, bytes | bytearray) and key.startswith(KEY_PREFIX.encode()):
        key = _as_text(bytes(key))  # what a key file holds may be read as bytes, too
    if isinstance(key, str):
        key = key.strip("\r\n")  # as read from a key file
        if key.startswith(KEY_PREFIX):
            read_key(key)  # its checksum finds what was mistyped
    data: bytes | None = None
    if isinstance(key, bytes | bytearray):
        data = bytes(key)
    elif isinstance(key, str):
        with contextlib.suppress(UnicodeEncodeError):
            data = key.encode()
    if not data or not data.strip():
        raise ConfigurationError(f"{what} must be text or bytes, and not blank", hint="strongroom keygen")
    return data


def _read(path: str) -> bytes | None:
    unreadable: StrongroomError
    try:
        content = read_bytes(path, "the audit key")
    except (PermissionDeniedError, BackendUnavailableError) as error:
        unreadable = error
    else:
        if content is None:
            return None
        data = content[:MAX_BYTES].strip(b"\r\n")
        return _checked(_as_text(data), f"the key in {path}")
    raise AuditError(unreadable.message) from unreadable


def _as_text(data: bytes) -> str | bytes:
    with contextlib.suppress(UnicodeDecodeError):
        return data.decode()
    return data


def _make(path: str) -> bytes:
    from pathlib import Path  # not needed if there is a key

    key = generate_key()
    try:
        place(Path(path), f"{key}\n".encode())  # only one of several processes makes it
    except (PermissionDeniedError, ReadOnlyError, BackendUnavailableError) as error:
        raise AuditError(error.message, hint=error.hint) from error
    found = _read(path)
    if found is None:
        raise AuditError(f"the audit key {path} was removed as it was made")
    return found
