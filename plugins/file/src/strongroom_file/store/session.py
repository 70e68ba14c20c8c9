"""An open store: its connections, what was verified of it, and transactions on it."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cached_property, partial
from typing import TYPE_CHECKING, TypeVar

from strongroom.errors import ReadOnlyError, TamperedError
from strongroom.parallel import SingleEntryLock, Take
from strongroom.providers import may_defer_durability

from strongroom_file import files
from strongroom_file.errors import SQLITE_ERRORS, translate, translated
from strongroom_file.integrity import TYPE_NAME, StaleSessionError, tampered, wrong_key
from strongroom_file.key_source import KeySource
from strongroom_file.store import database
from strongroom_file.store.btree import find, find_known, leaves
from strongroom_file.store.format import NODE, ROOT_KINDS, TABLES, VALUE, Entry, Link, Node
from strongroom_file.store.root import Root
from strongroom_file.store.row_cipher import Header, RowCipher, header_id, open_header

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ROW", "Highest", "Session", "Snapshot", "VerifiedState"]

Result = TypeVar("Result")

ROW = 1
"""The id of the one row in `header` and in `root`."""

SELECT = {
    table: f"SELECT body FROM {table} WHERE id=?"  # noqa: S608  # names of this module's own tables
    for table in TABLES
}
_RECALL = "SELECT body, (SELECT body FROM root WHERE id=1) FROM value WHERE id=?"

_LAST_VALUE = "SELECT max(id) FROM value"

_MAX_NODES = 4096
_MAX_LINKS = 32_768
_LOOK_SECONDS = 1.0


class Highest:
    """The latest state that this process saw.

    Attributes:
        seen: The highest count of commits, of whatever epoch, and the root row that had it.
    """

    __slots__ = ("seen",)

    def __init__(self) -> None:
        self.seen: tuple[int, bytes] = (0, b"")

    def saw(self, commits: int, body: bytes) -> None:
        if commits > self.seen[0]:
            self.seen = commits, body


class VerifiedState:
    """The verified nodes of one root. A node is identified by its tag, so it is verified only once."""

    __slots__ = ("body", "links", "nodes", "root")

    def __init__(self, body: bytes, root: Root) -> None:
        self.body = body
        self.root = root
        self.nodes: dict[bytes, Node] = {}
        self.links: dict[str, tuple[int, bytes, bytes]] = {}

    def keep(self, tag: bytes, node: Node) -> None:
        if len(self.nodes) >= _MAX_NODES:
            self.nodes.clear()
        self.nodes[tag] = node

    def remember(self, key: str, link: tuple[int, bytes, bytes]) -> None:
        if len(self.links) >= _MAX_LINKS:
            self.links.clear()
        self.links[key] = link


class Snapshot:
    """The store within one transaction; all its results are verified up to the root."""

    __slots__ = ("cursor", "root", "sealer", "state", "top")

    def __init__(self, cursor: sqlite3.Cursor, sealer: RowCipher, state: VerifiedState) -> None:
        self.cursor = cursor
        self.sealer = sealer
        self.state = state
        self.root = state.root
        self.top = Link(state.root.node, state.root.tag)

    def body(self, table: str, row: int) -> bytes | None:
        """Return a row as it is in the file."""
        found = self.cursor.execute(SELECT[table], (row,)).fetchone()
        return found[0] if found is not None else None

    def load(self, row: int, tag: bytes) -> Node:
        node = self.state.nodes.get(tag)
        if node is None:
            node = self.load_fresh(row, tag)
            self.state.keep(tag, node)
        return node

    def load_fresh(self, row: int, tag: bytes) -> Node:
        body = self.body("node", row)
        bound = self.sealer.bound(NODE, row)
        return Node.unpack(self.sealer.open_row(body, bound, tag, "a node of the index"))

    def entry(self, name: bytes) -> Entry | None:
        """Return the entry of a key in the tree, without the writes in the root."""
        found = find(self.load, self.top, name)
        return Entry.unpack(found) if found is not None else None

    def leaves(self, prefix: bytes) -> Iterator[Node]:
        # The cache is not filled: a long list would push out nodes that reads need.
        return leaves(self.load_fresh, self.top, prefix)

    def value(self, name: bytes, row: int, tag: bytes) -> str:
        body = self.body("value", row)
        data = self.sealer.open_row(body, self.sealer.bound(VALUE, row, name), tag, "the value")
        try:
            return data.decode()
        except UnicodeDecodeError:
            pass  # raised below: the error's context would hold the value
        raise tampered("the value is not text, so strongroom did not write it")


class Session:
    """One open store of this process. Readers share a connection, writers another one.

    `reading` guards the first, `writing` the second; a caller that needs both takes `writing` first.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        timeout: float,
        source: KeySource,
        highest: Highest,
        *,
        read_only: bool = False,
        shown: str | os.PathLike[str] | None = None,
    ) -> None:
        self._shown = shown or path  # in errors: a copy under a temporary name is of another file
        self.timeout = timeout
        self.reading = SingleEntryLock(f"the store {path}")
        self.writing = SingleEntryLock(f"the store {path}")
        self._closed = False
        self._highest = highest
        self._writer: sqlite3.Connection | None = None
        self.read_only = read_only or not files.is_writable(path)
        self._place = os.fspath(path)
        self._identity = _identity(self._place, self.read_only)
        self._looked = time.monotonic()
        opened = database.connect_read_only if self.read_only else database.connect
        with translated():
            try:
                self.reader = opened(path, timeout)
            except sqlite3.OperationalError as error:
                if not files.is_readable(path):  # SQLite says only that it is unable to open a file
                    raise files.denied(self._shown, "read") from error
                if self.read_only or error.sqlite_errorcode != sqlite3.SQLITE_IOERR_SHMSIZE:
                    raise
                self.reader = database.copy_in_memory(path, timeout)
                # Now, for the log of a process that died was brought into the file, as far as there was room.
                self._copied = time.monotonic(), _as_it_lies(self._place)
        try:
            with translated():
                self.format = database.check_schema(self.reader, path)
                self.header, self.header_body, self.sealer = self._unlock(source)
                if not self.read_only and self._copied is None:
                    database.use_log(self.reader)
                self._cursor = self.reader.cursor()
                self.state = VerifiedState(b"", Root(0, b"", 0, 0, 0, 0, 0))
        except BaseException:
            self.reader.close()
            raise

    @cached_property
    def path(self) -> Path:
        """The file."""
        from pathlib import Path  # not for who only reads

        return Path(self._place)

    def _unlock(self, source: KeySource) -> tuple[Header, bytes, RowCipher]:
        body = self._header_row()
        while True:
            header = open_header(body)
            for material in source.candidates():
                if header.is_opened_by(material, body):
                    if not self.read_only:
                        source.opened_by(material)
                    self.material = material
                    return header, body, header.sealer(material)
            before, body = body, self._header_row()
            if body == before:  # else it was put under the keys that were just read
                raise wrong_key(
                    self._shown, header_id(body), source.kept_old(partial(header.is_opened_by, body=body))
                )

    def _header_row(self) -> bytes:
        row = self.reader.execute(SELECT["header"], (ROW,)).fetchone()
        if row is None:
            raise tampered("the header is gone")
        body: bytes = row[0]
        return body

    @property
    def key_id(self) -> str:
        """The id of the key that the store is under."""
        return header_id(self.header_body)

    def read_cached(self, key: str) -> str | None:
        """Return the value of a key if that needs no transaction; None if it has to be looked up.

        The root is read together with the value: the same root means that there was no write at all, so that
        the place of the value, which follows from that root, is the right one.
        """
        if self.read_only or self._copied is not None or time.monotonic() - self._looked > _LOOK_SECONDS:
            return None
        state = self.state
        try:
            link = state.links.get(key) or self._link(key)
            row = self._cursor.execute(_RECALL, (link[0],)).fetchone() if link is not None else None
        except (TamperedError, *SQLITE_ERRORS):
            return None  # a node has gone with a write: look it up
        if link is None or row is None or row[1] != state.body:
            return None
        body: bytes = row[0]
        if type(body) is not bytes or body[-16:] != link[1]:
            return None
        data = self.sealer.open(body, link[2])
        try:
            return data.decode() if data is not None else None
        except UnicodeDecodeError:
            return None  # the look-up reports it

    def _link(self, key: str) -> tuple[int, bytes, bytes] | None:
        """Return the place of a key's value by the known root: its row, its tag and its bounds."""
        name, state = key.encode(), self.state
        writes = state.root.recent.writes.get(name)
        if writes:
            row, tag = writes[-1].value, writes[-1].tag
        else:
            place = find_known(state.nodes, state.root.tag, name)
            if place is None:
                entry = Snapshot(self._cursor, self.sealer, state).entry(name)
                if entry is None:
                    return None
                place = entry.value, entry.tag
            row, tag = place
        if not row:
            return None
        link = row, tag, self.sealer.bound(VALUE, row, name)
        state.remember(key, link)
        return link

    _copied: tuple[float, list[tuple[int, ...]]] | None = None
    """When the files were copied into memory, as the disk has no room to open them, and their state then."""

    def _is_old(self) -> bool:
        """Return whether this is a copy in memory, and the file may have been written since."""
        if self._copied is None:
            return False
        at, files_then = self._copied
        return time.monotonic() - at > _LOOK_SECONDS or _as_it_lies(self._place) != files_then

    def check_identity(self) -> None:
        """Raise `StaleSessionError` if the path leads to another file now."""
        if _identity(self._place, self.read_only) != self._identity:
            raise StaleSessionError
        self._looked = time.monotonic()

    def read(self, function: Callable[[Snapshot], Result]) -> Result:
        """Return the result of `function` on a snapshot of the store."""
        with self.reading:
            if self._closed or self._is_old():
                raise StaleSessionError
            if self.read_only or time.monotonic() - self._looked > _LOOK_SECONDS:
                self.check_identity()
            cursor = self._cursor
            floor = self._highest.seen  # before the snapshot: a writer may add to it meanwhile
            try:
                try:
                    cursor.execute("BEGIN")
                    self._refresh(cursor, floor)
                    return function(Snapshot(cursor, self.sealer, self.state))
                finally:
                    if self.reader.in_transaction:
                        cursor.execute("ROLLBACK")
            except SQLITE_ERRORS as error:
                raise translate(error) from error

    def _refresh(self, cursor: sqlite3.Cursor, floor: tuple[int, bytes]) -> None:
        """Verify the root if it has changed."""
        body = self._root_body(cursor)
        unchanged = self._unchanged(cursor)
        known = self.state
        if body != known.body:
            self.state = self._verified(cursor, body, floor)
            # Nodes are identified by their tags, so those that the new root shares are still verified.
            self.state.nodes = known.nodes
        elif not unchanged and not self._wrote:
            # Another program wrote, as strongroom always writes the root: everything is verified again.
            self.state = VerifiedState(body, known.root)
        self._wrote = False

    def _unchanged(self, cursor: sqlite3.Cursor) -> bool:
        """Return whether no other connection has written since the last call."""
        (version,) = cursor.execute("PRAGMA data_version").fetchone()
        same = version == self._data_version
        self._data_version = version
        return bool(same)

    _data_version = -1
    _wrote = False
    _synced = True

    @staticmethod
    def _root_body(cursor: sqlite3.Cursor) -> bytes:
        found = cursor.execute(SELECT["root"], (ROW,)).fetchone()
        if found is None:
            raise tampered("the root is gone")
        body = found[0]
        if not isinstance(body, bytes):
            raise tampered("the root is damaged")
        return body

    def _verified(self, cursor: sqlite3.Cursor, body: bytes, floor: tuple[int, bytes]) -> VerifiedState:
        data = self.sealer.open(body, self.sealer.bound(ROOT_KINDS[self.format], ROW))
        if data is None:
            header = cursor.execute(SELECT["header"], (ROW,)).fetchone()
            if header is None or header[0] != self.header_body:
                raise StaleSessionError
            if database.format_of(cursor) != self.format:
                raise StaleSessionError
            raise tampered("the root is damaged")
        root = Root.unpack(data)
        (last,) = cursor.execute(_LAST_VALUE).fetchone()
        if last is not None and last > root.last_id:
            raise tampered("the root is older than a value, or the value was never written by strongroom")
        # Of whatever epoch: a restore begins another one, and counts on.
        commits, newest = floor
        if root.commits < commits or (root.commits == commits and body != newest):
            raise tampered("it was put back to an older state")
        self._highest.saw(root.commits, body)
        return VerifiedState(body, root)

    def verified(self, cursor: sqlite3.Cursor) -> VerifiedState:
        """Return the verified state in the transaction of `cursor`, which has its own connection."""
        return self._verified(cursor, self._root_body(cursor), self._highest.seen)

    def require_writable(self) -> None:
        """Raise `ReadOnlyError` if the store was opened for reading only."""
        if self.read_only:
            raise ReadOnlyError(
                f"{self._place} or its folder is read-only",
                provider=TYPE_NAME,
                hint="let this user write to both, or run as one who may",
            )

    def transaction(self, work: Callable[[Snapshot], tuple[VerifiedState, Iterable[str], Result]]) -> Result:
        """Change the store in one transaction, and commit. Writers of other processes are waited for.

        Whatever is raised undoes everything.

        Args:
            work: Makes the changes; returns the state after them, the keys that changed, and a result.
        """
        with self.writing:
            if self._closed:
                raise StaleSessionError
            try:
                cursor = self._write_cursor()
                synced = not may_defer_durability()
                if synced != self._synced:
                    database.sync_commits(cursor, each=synced)
                    self._synced = synced
                with cursor.connection:
                    database.begin(cursor)
                    self.check_identity()
                    body = self._root_body(cursor)
                    state = self.state
                    if body != state.body:
                        state = self._verified(cursor, body, self._highest.seen)
                    state, keys, result = work(Snapshot(cursor, self.sealer, state))
            except SQLITE_ERRORS as error:
                raise translate(error) from error
            self._publish(state, keys)
            return result

    def _write_cursor(self) -> sqlite3.Cursor:
        if self._writer is None:
            self.check_identity()  # another file in the store's place is opened by another session
            writer = database.connect(self._place, self.timeout)
            self._writing_cursor = writer.cursor()
            self._synced = True
            self._writer = writer
        return self._writing_cursor

    def _publish(self, state: VerifiedState, keys: Iterable[str]) -> None:
        """Give readers the state that was just written; by another root they notice the writes of others."""
        self._highest.saw(state.root.commits, state.body)
        with self.reading:
            if state.links:
                for key in keys:
                    state.links.pop(key, None)
            self.state = state
            self._wrote = True

    def close(self) -> None:
        """Close both connections; the last process that does so leaves a single file."""
        with self.writing, self.reading:
            self._close()

    def rest(self, take: Take) -> bool:
        """Close both connections before a fork, between transactions; return whether that was in time.

        SQLite keeps in memory which of a process's connections has which lock of the file. A child would
        inherit that, take its parent's locks for its own, and wait for threads that it does not have.
        """
        if not (take(self.writing) and take(self.reading)):
            return False
        self._close()
        return True

    def connections(self) -> tuple[sqlite3.Connection | None, ...]:
        """Return the open connections."""
        return () if self._closed else (self._writer, self.reader)

    def _close(self) -> None:
        for connection in (self._writer, self.reader):
            if connection is not None:
                with suppress(sqlite3.Error):
                    connection.close()
        self._writer = None
        self._closed = True


def _identity(path: str, read_only: bool) -> tuple[int, ...]:
    """Return what is another tuple when the path leads to another file, or to one to be opened again."""
    try:
        status = os.lstat(path)
    except OSError:
        return ()
    if read_only:  # nobody tells of changes there
        # A writer elsewhere begins with a log, at which a file that is read alone does not look.
        return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size, database.has_log(path)
    return status.st_dev, status.st_ino


def _as_it_lies(path: str) -> list[tuple[int, ...]]:
    """Return the parts of the status of file and log that change with every write."""
    states: list[tuple[int, ...]] = []
    for name in (path, f"{path}-wal"):
        with suppress(OSError):
            status = os.lstat(name)
            if status.st_size:
                states.append((status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size))
    return states
