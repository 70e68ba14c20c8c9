"""An open store: its connections, what was verified of it, and transactions on it."""

from __future__ import annotations

import os
import sqlite3
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property, partial
from itertools import cycle
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

from strongroom.errors import ReadOnlyError, TamperedError
from strongroom.parallel import SingleEntryLock
from strongroom.providers import may_defer_durability

from strongroom_file import files
from strongroom_file.errors import SQLITE_ERRORS, translate, translated
from strongroom_file.integrity import TYPE_NAME, StaleSessionError, tampered, wrong_key
from strongroom_file.key_source import KeySource
from strongroom_file.store import database
from strongroom_file.store.btree import find, find_value, leaves
from strongroom_file.store.format import NODE, ROOT_KINDS, TABLES, VALUE, Entry, Link, Node
from strongroom_file.store.root import Root
from strongroom_file.store.row_cipher import OPENING_ERRORS, Header, RowCipher, header_id, open_header, row_id

if TYPE_CHECKING:
    from pathlib import Path

    from strongroom_file.store.write_buffer import Write

__all__ = ["ROW", "Highest", "Session", "Snapshot", "VerifiedState"]

Result = TypeVar("Result")

ROW = 1
"""The id of the one row in `header` and in `root`."""

SELECT = {
    table: f"SELECT body FROM {table} WHERE id=?"  # noqa: S608  # names of this module's own tables
    for table in TABLES
}
# A join, as a subquery would copy the root once more; and short names, which are made for each result.
_RECALL = "SELECT value.body AS v, root.body AS r FROM root, value WHERE root.id=1 AND value.id=?"

_LAST_VALUE = "SELECT max(id) FROM value"

_MAX_NODES = 4096
_MAX_LINKS = 32_768
_LOOK_SECONDS = 1.0

_NONCE, _SEALED, _TAG = slice(12), slice(12, None), slice(-16, None)
"""The parts of a value's row, made once: that takes a fiftieth of the time of a read."""

_KEPT_LINKS = True, False, False, False, False, False, False
"""Which of the keys that are looked up are kept with their places: one in seven. Those that are read often
are kept soon, and reading each of many keys once does not take the time to keep them all."""

_NOT_AT_ONCE = (*SQLITE_ERRORS, TamperedError, struct.error, *OPENING_ERRORS)
"""Raised by a read without a transaction for a row that is gone or changed, or a key that no store has."""


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
    """The verified nodes of one root. A node is identified by its tag, so it is verified only once.

    Attributes:
        body, root: The root's row, and what it holds.
        top: The topmost node, once a read needs it. It keeps the nodes below it that reads met.
        recent: The writes in the root, once a read needs them.
        nodes: The nodes by their tags.
        links: The places of values by their keys: row, tag and bounds.
    """

    __slots__ = ("body", "links", "nodes", "recent", "root", "top")

    def __init__(self, body: bytes, root: Root) -> None:
        self.body = body
        self.root = root
        self.top: Node | None = None
        self.recent: dict[bytes, tuple[Write, ...]] | None = None
        self.nodes: dict[bytes, Node] = {}
        self.links: dict[str, tuple[int, bytes, bytes]] = {}

    def keep(self, tag: bytes, node: Node) -> None:
        if len(self.nodes) >= _MAX_NODES:
            self.nodes.clear()
            self.top = None  # with the nodes that it keeps
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
        self._highest = highest
        self._writer: sqlite3.Connection | None = None
        self.read_only = read_only or not files.is_writable(path)
        self._place = os.fspath(path)
        self._identity = _identity(self._place, self.read_only)
        self._note_look()
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
                self._copied = monotonic(), _as_it_lies(self._place)
                self._look_at = 0.0
        self.connections = database.Connections(self.writing, self.reading, connections=[self.reader])
        try:
            with translated():
                self.format = database.check_schema(self.reader, path)
                self.header, self.header_body, self.sealer = self._unlock(source)
                if not self.read_only and self._copied is None:
                    database.use_log(self.reader)
                self._value_bound = VALUE + self.header.store
                self._decrypt = self.sealer.cipher.decrypt
                self._cursor = self.reader.cursor()
                self._kept_links = cycle(_KEPT_LINKS)
                self.state = VerifiedState(b"", Root(0, b"", 0, 0, 0, 0, 0))
        except BaseException:
            self.connections.close()
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
        the place of the value, which follows from that root, is the right one. The key need not have been
        checked: a name in the tree was checked as it was written, and the value is bound to it.
        """
        if monotonic() > self._look_at:
            return None
        state = self.state
        try:
            link = state.links.get(key)
            row, tag, bound = link or self._link(state, key)
            body, root = self._cursor.execute(_RECALL, (row,)).fetchone()
            if root == state.body and body[_TAG] == tag:
                decrypt = self._decrypt  # as `RowCipher.open`, without the time for another call
                value = decrypt(body[_NONCE], body[_SEALED], bound).decode()
                if link is None and next(self._kept_links):
                    state.remember(key, (row, tag, bound))
                return value
        except _NOT_AT_ONCE:
            pass
        return None

    def _link(self, state: VerifiedState, key: str) -> tuple[int, bytes, bytes]:
        """Return the place of a key's value by the known root: its row, its tag and its bounds."""
        name, recent = str.encode(key), state.recent
        if recent is None:
            recent = state.recent = state.root.recent.writes
        if name in recent:
            last = recent[name][-1]
            row, tag = last.value, last.tag
        else:
            row, tag = find_value(self, state.top or self._top(state), name)
        return row, tag, self._value_bound + row_id(row) + name  # as `RowCipher.bound`

    def _top(self, state: VerifiedState) -> Node:
        top = state.top = self.load(state.root.node, state.root.tag)
        return top

    @property
    def known(self) -> Mapping[bytes, Node]:
        """The verified nodes by their tags."""
        return self.state.nodes

    def load(self, row: int, tag: bytes) -> Node:
        """Return a node, and know it."""
        state = self.state
        node = state.nodes.get(tag)
        if node is None:
            node = Snapshot(self._cursor, self.sealer, state).load_fresh(row, tag)
            state.keep(tag, node)
        return node

    _copied: tuple[float, list[tuple[int, ...]]] | None = None
    """When the files were copied into memory, as the disk has no room to open them, and their state then."""

    def _is_old(self) -> bool:
        """Return whether this is a copy in memory, and the file may have been written since."""
        if self._copied is None:
            return False
        at, files_then = self._copied
        return monotonic() - at > _LOOK_SECONDS or _as_it_lies(self._place) != files_then

    def check_identity(self) -> None:
        """Raise `StaleSessionError` if the path leads to another file now."""
        if _identity(self._place, self.read_only) != self._identity:
            raise StaleSessionError
        self._note_look()

    _look_at = 0.0
    """When to look at the path again. It stays 0 where nothing else tells of another file or of changes."""

    def _note_look(self) -> None:
        if not self.read_only and self._copied is None:
            self._look_at = monotonic() + _LOOK_SECONDS

    def read(self, function: Callable[[Snapshot], Result]) -> Result:
        """Return the result of `function` on a snapshot of the store."""
        with self.reading:
            if self.connections.are_closed or self._is_old():
                raise StaleSessionError
            if monotonic() > self._look_at:
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
            if self.connections.are_closed:
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
            self.connections.add(writer)
            self._writer = writer
        return self._writing_cursor

    def _publish(self, state: VerifiedState, keys: Iterable[str]) -> None:
        """Give readers the state that was just written; by another root they notice the writes of others.

        A signal handler that has written in the middle of this thread's own read leaves it at that: the write
        is done, and the next read notices it as one of others.
        """
        self._highest.saw(state.root.commits, state.body)
        if self.reading.is_mine():
            return
        with self.reading:
            if state.links:
                for key in keys:
                    state.links.pop(key, None)
            self.state = state
            self._wrote = True

    def close(self) -> None:
        """Close both connections; the last process that does so leaves a single file."""
        with self.writing, self.reading:
            self.connections.close()

    def __del__(self) -> None:
        connections = getattr(self, "connections", None)  # there are none if it could not be opened
        if connections is not None:
            connections.close_unused()


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
