"""Connections to SQLite, with the settings that a store needs."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress

from strongroom.errors import BackendUnavailableError, ConfigurationError
from strongroom.parallel import Lock, Take, never_collect, renew_after_fork

from strongroom_file.integrity import TYPE_NAME, tampered
from strongroom_file.store.format import APPLICATION_ID, FORMAT_VERSION, ROOT_KINDS, SCHEMA

__all__ = [
    "Connections",
    "begin",
    "check_schema",
    "connect",
    "connect_read_only",
    "copy_in_memory",
    "create_schema",
    "format_of",
    "has_log",
    "set_format",
    "sync_commits",
    "use_log",
]

_FIRST_STEPS = (
    # Nothing in the file may make SQLite run functions, and nothing deleted stays legible in free pages.
    "PRAGMA trusted_schema=OFF",
    "PRAGMA cell_size_check=ON",
    "PRAGMA secure_delete=ON",
    "PRAGMA temp_store=MEMORY",
    # FULL syncs the log at every commit: what was acknowledged survives a loss of power. On macOS only
    # F_FULLFSYNC empties the disk's own cache.
    "PRAGMA synchronous=FULL",
    "PRAGMA fullfsync=ON",
    "PRAGMA checkpoint_fullfsync=ON",
    "PRAGMA cache_size=-8192",
)


_known: set[Connections] = set()
"""Those that are open: a fork finds them also if their owner is gone."""


class Connections:
    """The connections to one file, with the locks under which they are used, until they are closed.

    SQLite keeps in memory which of a process's connections has which lock of the file. A forked child would
    inherit that, take its parent's locks for its own, and wait for threads that it does not have. So a fork
    closes them first; also those of an owner that a program has let go of, or that is just closing them.

    Args:
        locks: In the order in which their users take them.
        connections: All of them are open.

    Attributes:
        are_closed: Whether a fork, or anybody else, has closed them, or was interrupted as it did so.
    """

    def __init__(self, *locks: Lock, connections: list[sqlite3.Connection]) -> None:
        self.are_closed = False
        self._locks = locks
        self._open = connections
        self._process = os.getpid()
        _known.add(self)
        renew_after_fork(self, Connections._leave, rest=Connections.rest)

    def add(self, connection: sqlite3.Connection) -> None:
        """Close this one with the others."""
        self._open.append(connection)

    def close(self) -> None:
        """Close them; the caller has the locks."""
        self.are_closed = True
        while self._open:
            with suppress(sqlite3.Error):
                self._open[-1].close()
            self._open.pop()
        _known.discard(self)

    def close_unused(self, process: Callable[[], int] = os.getpid) -> None:
        """Close them for an owner that is being collected, unless they are a parent's.

        A connection of `sqlite3` refers to itself, and would stay open until Python looks for such circles.
        Python may do so in the middle of this thread's work on another file, for which a fork waits: so it
        does not wait for a fork that has taken the locks by now, and closes the connections itself.
        """
        if not self._open or self._process != process():
            return
        with suppress(BackendUnavailableError), ExitStack() as taken:  # refused if this thread is forking
            for lock in self._locks:
                if not lock.acquire(blocking=False):
                    return
                taken.callback(lock.release)
            self.close()

    def rest(self, take: Take) -> bool:
        """Close them before a fork, between transactions; return whether that was in time."""
        if self._open and all(map(take, self._locks)):
            self.close()
        return self.are_closed

    def _leave(self) -> None:
        """Leave, in a forked child, those that could not be closed in time to the parent."""
        never_collect(*self._open)
        self.are_closed = True
        self._open.clear()
        _known.discard(self)


def connect(path: str | os.PathLike[str], timeout: float) -> sqlite3.Connection:
    """Open an existing store for reading and writing; it never makes a file."""
    return _open(path, "mode=rw", timeout)


def use_log(connection: sqlite3.Connection) -> None:
    """Have writers append to a log (WAL), so that readers go on meanwhile."""
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != b"wal":
        connection.execute("PRAGMA journal_mode=WAL").fetchone()


def connect_read_only(path: str | os.PathLike[str], timeout: float) -> sqlite3.Connection:
    """Open a store that cannot be written, because of the file's permissions or its folder's."""
    try:
        connection = _open(path, "mode=ro", timeout)
    except sqlite3.OperationalError:
        # WAL needs its other files even for reading. While nobody has made them nobody writes either, so the
        # file may be read as it is, until there is a log beside it.
        if has_log(path):
            raise
        connection = _open(path, "mode=ro&immutable=1", timeout)
    return connection


def has_log(path: str | os.PathLike[str]) -> bool:
    """Return whether there is a log beside the file, without which it is an older state."""
    try:
        return os.stat(f"{os.fspath(path)}-wal").st_size > 0  # noqa: PTH116  # stays text
    except (FileNotFoundError, NotADirectoryError):
        return False


def _absolute(path: str | os.PathLike[str]) -> str:
    """Return the absolute path; if it is absolute already, the current folder may be gone."""
    place = os.fspath(path)
    return place if os.path.isabs(place) else os.path.join(os.getcwd(), place)  # noqa: PTH109, PTH117, PTH118  # as above


def copy_in_memory(path: str | os.PathLike[str], timeout: float) -> sqlite3.Connection:
    """Return a copy of a store, as it is now, for a disk on which SQLite has no room to open it.

    Readers share an index of the log in a file beside it. A connection that locks all others out keeps that
    index in its memory, and needs no room on the disk. Where another process has the store open there is such
    a file already, and nobody can be locked out.
    """
    copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False, cached_statements=64)
    try:
        with closing(_open(path, "mode=rw", timeout, alone=True)) as connection:
            connection.backup(copy)
        copy.text_factory = bytes
    except BaseException:
        copy.close()
        raise
    return copy


def _open(
    path: str | os.PathLike[str], mode: str, timeout: float, *, alone: bool = False
) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{_in_uri(_absolute(path))}?{mode}",
        uri=True,
        timeout=timeout,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=64,
    )
    try:
        connection.text_factory = bytes
        if alone:  # it counts from the first look at the file on
            connection.execute("PRAGMA locking_mode=EXCLUSIVE").fetchall()
        for step in _FIRST_STEPS:
            connection.execute(step).fetchall()
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _in_uri(path: str) -> str:
    # The three steps that SQLite's page on URI file names asks for; urllib takes long to load.
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def sync_commits(cursor: sqlite3.Cursor, *, each: bool) -> None:
    """Choose whether each commit of a connection syncs the log, or a later one does."""
    cursor.execute(f"PRAGMA synchronous={'FULL' if each else 'NORMAL'}")


def begin(cursor: sqlite3.Cursor) -> None:
    """Begin a transaction as the only writer, in a block of the connection, which ends it.

    That block is code of C: what a signal handler raises while this waits for other writers, or as the block
    ends, finds no moment in which the transaction would stay open.
    """
    cursor.execute("BEGIN IMMEDIATE")


def create_schema(connection: sqlite3.Connection) -> None:
    """Make the tables of a new store."""
    for statement in SCHEMA:
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    set_format(connection)


def set_format(connection: sqlite3.Connection | sqlite3.Cursor) -> None:
    """Mark the file as of the format that this code writes, as part of the transaction."""
    connection.execute(f"PRAGMA user_version={FORMAT_VERSION}")


def format_of(connection: sqlite3.Connection | sqlite3.Cursor) -> int:
    """Return the number of the file's format."""
    found: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return found


def check_schema(connection: sqlite3.Connection, path: str | os.PathLike[str]) -> int:
    """Check that the file is a store of a known format, without other tables; return the format.

    Raises:
        ConfigurationError: It is another program's database, or of a newer format.
        TamperedError: Its tables are not those of a store.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    version = format_of(connection)
    schema = sorted(sql or b"" for (sql,) in connection.execute("SELECT sql FROM sqlite_schema"))
    expected = sorted(statement.encode() for statement in SCHEMA)
    if application != APPLICATION_ID:
        if schema == expected or not schema:
            raise tampered("it is empty" if not schema else "it has another application id")
        raise ConfigurationError(
            f"{path} is a database, but not a strongroom store",
            provider=TYPE_NAME,
            hint="name another file",
        )
    if version > FORMAT_VERSION:
        raise ConfigurationError(
            f"{path} has format {version}, this strongroom knows formats up to {FORMAT_VERSION}",
            provider=TYPE_NAME,
            hint="upgrade strongroom-file",
        )
    if version not in ROOT_KINDS:
        raise tampered(f"its format is {version}")
    if schema != expected:
        raise tampered("its tables are not a store's")
    return version
