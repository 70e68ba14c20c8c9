"""The file of a `FileCacheStore`: created, opened, and moved aside if it is damaged.

Its data can be fetched again, so it is not protected against losses of power.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from strongroom.errors import BackendUnavailableError, ConfigurationError

from strongroom_file import files
from strongroom_file.errors import SQLITE_ERRORS, translate
from strongroom_file.leftovers import remove_leftovers, remove_temporary
from strongroom_file.store.database import connect

__all__ = [
    "DAMAGE",
    "Identity",
    "Opened",
    "damage_of",
    "identity_of",
    "open_cache",
    "set_aside",
    "unavailable",
]

TYPE_NAME: Final = "file.cache"
APPLICATION_ID: Final = 0x53524D43
"""`SRMC`, so that no cache is taken for a store, and no store for a cache."""
FORMAT_VERSION: Final = 2
_SCHEMA: Final = (
    (
        "CREATE TABLE entry (name TEXT PRIMARY KEY, data BLOB NOT NULL, expires INTEGER NOT NULL, "
        "boot BLOB NOT NULL, ends INTEGER NOT NULL) STRICT"
    ),
    "CREATE INDEX entry_expires ON entry (expires)",
    (
        "CREATE TABLE lock (name TEXT PRIMARY KEY, token INTEGER NOT NULL, fence INTEGER NOT NULL, "
        "since INTEGER NOT NULL, until INTEGER NOT NULL, boot BLOB NOT NULL, ends INTEGER NOT NULL) "
        "STRICT, WITHOUT ROWID"
    ),
    "CREATE TABLE dropped (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT) STRICT",
    "CREATE TABLE counter (id INTEGER PRIMARY KEY, last INTEGER NOT NULL) STRICT",
)
_log = logging.getLogger("strongroom.cache")
_DAMAGED_CODES: Final = frozenset(
    [
        sqlite3.SQLITE_ERROR,  # "no such table", though they were there when the file was made
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FORMAT,
        sqlite3.SQLITE_NOTADB,
    ]
)

Identity = tuple[int, int]
"""Device and number of a file."""


class DamagedError(Exception):
    """The file of the cache is damaged, and has to be replaced."""


DAMAGE: Final = (DamagedError, *SQLITE_ERRORS)
"""Errors that a damaged file may cause; `damage_of` decides."""


class Opened(NamedTuple):
    """A connection, and the identity of its file."""

    connection: sqlite3.Connection
    identity: Identity


def damage_of(error: Exception) -> str | None:
    """Return what is wrong with the file; None if the error has another cause."""
    if isinstance(error, DamagedError | UnicodeDecodeError):
        return str(error) if isinstance(error, DamagedError) else "it is damaged"
    code = getattr(error, "sqlite_errorcode", None)
    if isinstance(code, int) and code & 0xFF in _DAMAGED_CODES:
        return f"SQLite says {error}"
    return None


def unavailable(what: str, hint: str | None = None) -> BackendUnavailableError:
    """Return the error of a cache that cannot be used now, and why."""
    return BackendUnavailableError(f"file.cache: {what}", provider=TYPE_NAME, hint=hint)


def identity_of(path: str) -> Identity | None:
    """Return the identity of the file at `path`; None if there is none."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def open_cache(path: Path, timeout: float) -> Opened:
    """Open the cache at `path`, and make it if there is none.

    Raises:
        BackendUnavailableError: It cannot be made, or what is there may not be touched.
        DamagedError, sqlite3.Error: What is there is damaged, or SQLite's own trouble.
    """
    status = files.check_store(path)
    if status is None:
        _make(path, timeout)
        status = files.check_store(path)
        if status is None:
            raise unavailable(f"{path} vanished as soon as it was made")
    files.check_local(path, status.st_dev)
    connection = _connect(path, timeout)
    try:
        _check(connection, path)
    except BaseException:
        connection.close()
        raise
    return Opened(connection, (status.st_dev, status.st_ino))


def set_aside(path: Path, identity: Identity | None, why: str) -> None:
    """Move a damaged file aside, unless another process has done so."""
    if identity is None or identity_of(str(path)) != identity:
        return
    aside = path.with_name(f"{path.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}")
    with suppress(FileNotFoundError):
        files.move_aside(path, aside)
        _log.warning(
            "the cache %s is damaged (%s): it is replaced by a new one, and kept as %s", path, why, aside
        )


def _connect(path: Path, timeout: float) -> sqlite3.Connection:
    connection = connect(path, timeout)
    try:
        # What a loss of power takes was worth a fetch; the file itself stays whole.
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA secure_delete=OFF")  # all data is encrypted before it gets here
    except BaseException:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection, path: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    schema = [sql for (sql,) in connection.execute("SELECT sql FROM sqlite_schema WHERE sql NOT NULL")]
    if application != APPLICATION_ID and schema:
        raise unavailable(f"{path} is a database, but not a cache", "name another file")
    if application == APPLICATION_ID and version > FORMAT_VERSION:
        raise unavailable(
            f"{path} is a newer strongroom's cache", "name another file, or upgrade strongroom-file"
        )
    expected = {statement.encode() for statement in _SCHEMA} | {b"CREATE TABLE sqlite_sequence(name,seq)"}
    if application != APPLICATION_ID or version != FORMAT_VERSION or set(schema) != expected:
        older = application == APPLICATION_ID and version < FORMAT_VERSION
        if older:
            raise DamagedError("it is an older strongroom's")
        raise DamagedError("its tables are not a cache's" if schema else "it is empty")


def _make(path: Path, timeout: float) -> None:
    try:
        with files.translated_os(path, "make"):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            remove_leftovers(path)
            temporary = files.temporary_beside(path)
            try:
                with closing(_connect(temporary, timeout)) as connection:
                    _fill(connection)
                files.place_new(temporary, path)
            finally:
                remove_temporary(temporary)
    except SQLITE_ERRORS as error:
        failure = translate(error)
    except ConfigurationError as error:
        failure = error
    else:
        return
    raise unavailable(f"{path} cannot be made: {failure.message}", failure.hint)


def _fill(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN")
    for statement in _SCHEMA:
        connection.execute(statement)
    connection.execute("INSERT INTO counter VALUES (1, 0)")
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version={FORMAT_VERSION}")
    connection.execute("COMMIT")
    connection.execute("PRAGMA journal_mode=WAL").fetchone()
