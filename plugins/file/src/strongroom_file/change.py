"""What a transaction does to the store: versions written, made current, dropped, and all of it sealed."""

from __future__ import annotations

from itertools import count

from strongroom.errors import ConflictError, show_key

from strongroom_file import history as packed_history
from strongroom_file.faults import TYPE_NAME
from strongroom_file.history import PENDING, PREVIOUS
from strongroom_file.layout import (
    EMPTY_ENTRY,
    HISTORY,
    NODE,
    ROOT,
    VALUE,
    Entry,
    Link,
    Node,
    Root,
    StoredVersion,
    version_id,
)
from strongroom_file.reads import find_version, no_such_version, not_found, read_history
from strongroom_file.sealing import check_seals
from strongroom_file.session import ROW, State, View
from strongroom_file.tree import Draft, find

__all__ = ["Change"]

_NO_TAG = bytes(16)


class Change:
    """The changes of one transaction.

    Args:
        view: The store as the transaction found it.
        keep: Versions kept of each key.
        now: Microseconds since 1970.
    """

    def __init__(self, view: View, keep: int, now: int) -> None:
        self.view = view
        self.keys: list[str] = []
        self._keep = keep
        self._now = now
        self._cursor = view.cursor
        self._sealer = view.sealer
        root = view.root
        self._ids = count(root.last_id + 1)
        self._last_id = root.last_id
        self._seals = root.seals
        self._secrets = root.secrets
        self._draft = Draft(view.load, view.top, self._allot)

    def entry(self, name: bytes) -> Entry | None:
        """Return what the transaction knows of a key by now."""
        found = find(self._draft.node, self._draft.root, name)
        return Entry.unpack(found) if found is not None else None

    def history(self, name: bytes, entry: Entry) -> bytes:
        return read_history(self.view, name, entry)

    def expect(self, key: str, entry: Entry | None, expected: str | None) -> None:
        """Raise `ConflictError` unless `expected` is the current version."""
        current = version_id(entry.epoch, entry.value) if entry is not None and entry.value else None
        if current != expected:
            there = f"is at version {current}" if current is not None else "is not there"
            raise ConflictError(
                f"secret {show_key(key)} {there}",
                key=key,
                provider=TYPE_NAME,
                hint="read it again and decide anew",
            )

    def write(self, key: str, value: bytes) -> str:
        """Add a version and make it the current one."""
        name = key.encode()
        entry = self.entry(name) or EMPTY_ENTRY
        version = self._add_value(name, value)
        self._make_current(key, name, entry, version, self.history(name, entry))
        return version_id(version.epoch, version.value)

    def stage(self, key: str, value: bytes) -> str:
        """Add a version that is pending."""
        name = key.encode()
        entry = self.entry(name) or EMPTY_ENTRY
        version = self._add_value(name, value)
        packed = packed_history.added(self.history(name, entry), version)
        self._put(name, self._with_history(name, entry, packed))
        return version_id(version.epoch, version.value)

    def promote(self, key: str, version: str, expected: str | None) -> None:
        """Make a pending version the current one."""
        name = key.encode()
        entry, packed, found = self._pending(key, name, version)
        self.expect(key, entry, expected)
        self._make_current(key, name, entry, found, packed_history.without(packed, found.value))

    def discard(self, key: str, version: str) -> None:
        """Drop a pending version, and the key where it was the last one."""
        name = key.encode()
        entry, packed, found = self._pending(key, name, version)
        self._drop("value", found.value)
        entry = self._with_history(name, entry, packed_history.without(packed, found.value))
        if entry.value or entry.history:
            self._put(name, entry)
        else:
            self._draft.remove(name)

    def delete(self, key: str) -> None:
        """Drop a key with all of its versions."""
        name = key.encode()
        entry = self.entry(name)
        if entry is None or not entry.value:
            raise not_found(key)
        rows = [
            entry.value,
            *(version.value for version in packed_history.versions(self.history(name, entry))),
        ]
        for row in rows:
            self._drop("value", row)
        if entry.history:
            self._drop("history", entry.history)
        self._draft.remove(name)
        self._secrets -= 1
        self.keys.append(key)

    def seal(self) -> State:
        """Write the nodes and the root; return what is true after the commit."""
        nodes: list[tuple[bytes, Node]] = []

        def write(row: int, node: Node) -> bytes:
            tag = self._write_row("node", NODE, row, node.pack())
            nodes.append((tag, node))
            return tag

        top = self._draft.seal(write)
        for row in self._draft.gone:
            self._drop("node", row)
        return self._seal_root(top, nodes)

    def _seal_root(self, top: Link, nodes: list[tuple[bytes, Node]]) -> State:
        before = self.view.root
        check_seals(self._seals)
        root = Root(
            top.id,
            top.tag,
            before.epoch,
            self._last_id,
            before.commits + 1,
            self._seals + 1,
            self._secrets,
        )
        body = self._sealer.seal(ROOT, ROW, root.pack())
        self._cursor.execute("UPDATE root SET body=? WHERE id=?", (body, ROW))
        state = State(body, root)
        state.nodes = self.view.state.nodes
        state.links = self.view.state.links
        for tag, node in nodes:
            state.keep(tag, node)
        return state

    def _allot(self) -> int:
        self._last_id = next(self._ids)
        return self._last_id

    def _add_value(self, name: bytes, value: bytes) -> StoredVersion:
        row = self._allot()
        body = self._sealer.seal(VALUE, row, value, name)
        self._seals += 1
        self._cursor.execute("INSERT INTO value VALUES (?, ?)", (row, body))
        return StoredVersion(self.view.root.epoch, row, body[-16:], self._now, PENDING)

    def _make_current(
        self, key: str, name: bytes, entry: Entry, version: StoredVersion, packed: bytes
    ) -> None:
        if entry.value:
            replaced = StoredVersion(entry.epoch, entry.value, entry.tag, entry.made, PREVIOUS)
            packed = packed_history.added(packed, replaced)
        else:
            self._secrets += 1
        packed, dropped = packed_history.trimmed(packed, self._keep - 1)
        for row in dropped:
            self._drop("value", row)
        created = entry.created if entry.value else self._now
        current = Entry(
            version.epoch,
            version.value,
            version.tag,
            version.made,
            created,
            max(self._now, created),  # a clock that was set back makes no secret older than its creation
            entry.history,
            entry.history_tag,
        )
        self._put(name, self._with_history(name, current, packed))
        self.keys.append(key)

    def _with_history(self, name: bytes, entry: Entry, packed: bytes) -> Entry:
        """Store the other versions of a key; return its entry with the link to them."""
        if not packed:
            if entry.history:
                self._drop("history", entry.history)
            return entry._replace(history=0, history_tag=_NO_TAG)
        row = entry.history or self._allot()
        tag = self._write_row("history", HISTORY, row, packed, name)
        return entry._replace(history=row, history_tag=tag)

    def _put(self, name: bytes, entry: Entry) -> None:
        self._draft.put(name, entry.pack())

    def _write_row(self, table: str, kind: bytes, row: int, data: bytes, name: bytes = b"") -> bytes:
        body = self._sealer.seal(kind, row, data, name)
        self._seals += 1
        self._cursor.execute(
            f"INSERT INTO {table} VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET body=excluded.body",  # noqa: S608  # own tables
            (row, body),
        )
        return body[-16:]

    def _drop(self, table: str, row: int) -> None:
        self._cursor.execute(f"DELETE FROM {table} WHERE id=?", (row,))  # noqa: S608  # own tables

    def _pending(self, key: str, name: bytes, version: str) -> tuple[Entry, bytes, StoredVersion]:
        entry = self.entry(name)
        if entry is None:
            raise not_found(key)
        packed = self.history(name, entry)
        found = find_version(entry, packed, version)
        if found is None:
            raise no_such_version(key)
        if found.value == entry.value or found.state != PENDING:
            state = "current" if found.value == entry.value else "previous"
            raise ConflictError(
                f"version {version} of {show_key(key)} is {state}, not pending", key=key, provider=TYPE_NAME
            )
        return entry, packed, found
