"""SQLite's result codes and what they mean to a caller, in one table."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from strongroom.errors import (
    BackendUnavailableError,
    PermissionDeniedError,
    ReadOnlyError,
    SecretTooLargeError,
    StrongroomError,
    TamperedError,
)

from strongroom_file.integrity import TYPE_NAME, tampered

__all__ = ["RESULT_CODES", "SQLITE_ERRORS", "translate", "translated"]

RESULT_CODES: dict[int, type[StrongroomError]] = {
    sqlite3.SQLITE_ERROR: TamperedError,  # "no such table", though they were there when it was made
    sqlite3.SQLITE_INTERNAL: BackendUnavailableError,
    sqlite3.SQLITE_PERM: PermissionDeniedError,
    sqlite3.SQLITE_ABORT: BackendUnavailableError,
    sqlite3.SQLITE_BUSY: BackendUnavailableError,
    sqlite3.SQLITE_LOCKED: BackendUnavailableError,
    sqlite3.SQLITE_NOMEM: BackendUnavailableError,
    sqlite3.SQLITE_READONLY: ReadOnlyError,
    sqlite3.SQLITE_INTERRUPT: BackendUnavailableError,
    sqlite3.SQLITE_IOERR: BackendUnavailableError,
    sqlite3.SQLITE_CORRUPT: TamperedError,
    sqlite3.SQLITE_NOTFOUND: BackendUnavailableError,
    sqlite3.SQLITE_FULL: BackendUnavailableError,
    sqlite3.SQLITE_CANTOPEN: BackendUnavailableError,
    sqlite3.SQLITE_PROTOCOL: BackendUnavailableError,
    sqlite3.SQLITE_EMPTY: BackendUnavailableError,
    sqlite3.SQLITE_SCHEMA: BackendUnavailableError,
    sqlite3.SQLITE_TOOBIG: SecretTooLargeError,
    sqlite3.SQLITE_CONSTRAINT: TamperedError,  # an id that the authenticated counter says was never given out
    sqlite3.SQLITE_MISMATCH: TamperedError,
    sqlite3.SQLITE_MISUSE: BackendUnavailableError,
    sqlite3.SQLITE_NOLFS: BackendUnavailableError,
    sqlite3.SQLITE_AUTH: PermissionDeniedError,
    sqlite3.SQLITE_FORMAT: TamperedError,
    sqlite3.SQLITE_RANGE: TamperedError,
    sqlite3.SQLITE_NOTADB: TamperedError,
    sqlite3.SQLITE_NOTICE: BackendUnavailableError,
    sqlite3.SQLITE_WARNING: BackendUnavailableError,
}
"""SQLite's primary result codes (https://www.sqlite.org/rescode.html) and our errors."""

_HINTS = {
    sqlite3.SQLITE_BUSY: "another process is writing for longer than `timeout`; try again",
    sqlite3.SQLITE_FULL: "free space on the disk; what was stored before is still there",
    sqlite3.SQLITE_IOERR: "look at the disk; what was stored before is still there",
    sqlite3.SQLITE_CANTOPEN: "look at the folder's permissions",
    # Readers need the log's index too, and the first process that opens the store makes it.
    sqlite3.SQLITE_IOERR_SHMSIZE: "the disk is full: free space; what was stored before is still there",
}
"""By extended result code, else by primary."""


SQLITE_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""What sqlite3 raises: its own errors, and one about decoding where a damaged file got into their message."""


def translate(error: sqlite3.Error | UnicodeDecodeError) -> StrongroomError:
    """Return strongroom's error for one of SQLite's."""
    if isinstance(error, UnicodeDecodeError):
        return tampered("SQLite cannot even say what is wrong with it")
    # The module's own errors (a closed connection, a wrong type of column) carry no code.
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if isinstance(code, int) else None
    if primary is None:
        error_type: type[StrongroomError] = (
            TamperedError if isinstance(error, sqlite3.DataError) else BackendUnavailableError
        )
    else:
        error_type = RESULT_CODES.get(primary, BackendUnavailableError)
    if error_type is TamperedError:
        return tampered(f"SQLite says {error}")
    if error_type is SecretTooLargeError:
        return SecretTooLargeError("", "the value is too large for SQLite", provider=TYPE_NAME)
    hint = _HINTS.get(code or 0) or _HINTS.get(primary or 0)
    return error_type(f"the store cannot be used: {error}", provider=TYPE_NAME, hint=hint)


@contextmanager
def translated() -> Iterator[None]:
    """Raise strongroom's errors for SQLite's, which may be their cause, as messages hold no parameters."""
    try:
        yield
    except SQLITE_ERRORS as error:
        raise translate(error) from error
