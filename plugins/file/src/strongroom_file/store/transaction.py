"""The changes of a transaction: versions that are written, promoted or dropped, and sealed at its end.

Every transaction adds a value, or seals the topmost node again. So an old root that was put back alone is
detected: it does not know the newest value, or leads to another topmost node.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain

from strongroom.errors import ConflictError, show_key
from strongroom.providers import expect_version

from strongroom_file.integrity import TYPE_NAME
from strongroom_file.store import version_history as packed_history
from strongroom_file.store.btree import TreeDraft, find
from strongroom_file.store.format import (
    EMPTY_ENTRY,
    HISTORY,
    MAX_NODE_BYTES,
    NODE,
    ROOT,
    VALUE,
    Entry,
    Link,
    Node,
    StoredVersion,
    version_id,
)
from strongroom_file.store.queries import find_version, no_such_version, not_found, read_history
from strongroom_file.store.root import Root
from strongroom_file.store.row_cipher import check_seals
from strongroom_file.store.session import ROW, Snapshot, VerifiedState
from strongroom_file.store.version_history import PENDING, PREVIOUS
from strongroom_file.store.write_buffer import NO_WRITES, WRITE, Write, first_entries, made_current, replayed

__all__ = ["WriteTransaction"]

_NO_TAG = bytes(16)

_INSERT_VALUE = "INSERT INTO value VALUES (?, ?)"
_ROWS_AT_ONCE = 50
_BYTES_AT_ONCE = 1 << 20
"""More are added row by row, as SQLite copies all values of a statement."""
_INSERT_VALUES = _INSERT_VALUE + ", (?, ?)" * (_ROWS_AT_ONCE - 1)


class WriteTransaction:
    """The changes of one transaction.

    Args:
        view: The store before the transaction.
        keep: Versions kept of each key.
        now: Microseconds since 1970.
    """

    __slots__ = (
        "_cursor",
        "_draft",
        "_keep",
        "_last_id",
        "_now",
        "_recent",
        "_sealer",
        "_seals",
        "_secrets",
        "keys",
        "view",
    )

    def __init__(self, view: Snapshot, keep: int, now: int) -> None:
        self.view = view
        self.keys: list[str] = []
        self._keep = keep
        self._now = now
        self._cursor = view.cursor
        self._sealer = view.sealer
        root = view.root
        self._last_id = root.last_id
        self._seals = root.seals
        self._secrets = root.secrets
        self._recent = root.recent
        self._draft = TreeDraft(view.load, view.top, self._allot)

    def entry(self, name: bytes) -> Entry | None:
        """Return the entry of a key within the transaction, without its other versions."""
        writes = self._recent.writes.get(name, ())
        return replayed(self._in_tree(name), b"", writes)[0]

    def history(self, name: bytes, entry: Entry) -> bytes:
        return read_history(self.view, name, entry)

    def expect(self, key: str, entry: Entry | None, expected: str | None) -> None:
        """Raise `ConflictError` unless `expected` is the current version."""
        current = version_id(entry.epoch, entry.value) if entry is not None and entry.value else None
        expect_version(TYPE_NAME, key, current, expected)

    def write(self, key: str, value: bytes) -> str:
        """Add a version and make it the current one."""
        name = key.encode()
        # What the tree knows of it does not matter yet, but where that place is damaged a write is refused.
        find(self._draft.node if self._draft.touched else self.view.load, self._draft.root, name)
        row, tag = self._add_value(name, value)
        epoch = self.view.root.epoch
        self._recent = self._recent.added(name, Write(epoch, row, tag, self._now, self._keep))
        if self._recent.size > MAX_NODE_BYTES:
            self.flush()
        self.keys.append(key)
        return version_id(epoch, row)

    def write_all(self, values: Mapping[str, bytes]) -> None:
        """Add a version of each key and make it the current one, as `write` does for each in turn.

        More than the root has room for go into the tree at once, so that each of its nodes is replaced once.
        """
        if sum(map(len, values)) + WRITE.size * len(values) <= MAX_NODE_BYTES:
            for key, value in values.items():
                self.write(key, value)
            return
        self.flush()
        encoded = {key.encode(): value for key, value in values.items()}
        named = {name: encoded[name] for name in sorted(encoded)}
        now = self._now
        rows = self._sealer.seal_many(VALUE, self._last_id + 1, named)
        entries = dict(zip(named, first_entries(self.view.root.epoch, rows, now), strict=True))

        def written(name: bytes, found: bytes | None) -> bytes:
            if found is None:
                self._secrets += 1
                return entries[name]
            before, fresh = Entry.unpack(found), Entry.unpack(entries[name])
            version = StoredVersion(fresh.epoch, fresh.value, fresh.tag, now, PREVIOUS)
            made = made_current(before, self.history(name, before), version, now, self._keep)
            return self._current(name, before, *made).pack()

        self._insert(rows)
        self._last_id += len(rows)
        self._seals += len(rows)
        self._draft.update([*named], written)
        self.keys += values

    def flush(self) -> None:
        """Move all writes that are in the root into the tree."""
        self._settle(sorted(self._recent.writes))
        self._recent = NO_WRITES

    def stage(self, key: str, value: bytes) -> str:
        """Add a pending version."""
        name = key.encode()
        entry = self._settled(name) or EMPTY_ENTRY
        row, tag = self._add_value(name, value)
        version = StoredVersion(self.view.root.epoch, row, tag, self._now, PENDING)
        packed = packed_history.added(self.history(name, entry), version)
        self._draft.put(name, self._with_history(name, entry, packed).pack())
        return version_id(version.epoch, version.value)

    def promote(self, key: str, version: str, expected: str | None) -> None:
        """Make a pending version the current one."""
        name = key.encode()
        entry, packed, found = self._pending(key, name, version)
        self.expect(key, entry, expected)
        packed = packed_history.without(packed, found.value)
        current = made_current(entry, packed, found, self._now, self._keep)
        self._draft.put(name, self._current(name, entry, *current).pack())
        self.keys.append(key)

    def discard(self, key: str, version: str) -> None:
        """Drop a pending version, and the key if it has no other version."""
        name = key.encode()
        entry, packed, found = self._pending(key, name, version)
        self._drop("value", found.value)
        entry = self._with_history(name, entry, packed_history.without(packed, found.value))
        if entry.value or entry.history:
            self._draft.put(name, entry.pack())
        else:
            self._draft.remove(name)

    def delete(self, key: str) -> None:
        """Drop a key with all of its versions."""
        name = key.encode()
        entry = self._settled(name)
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

    def seal(self, *, limited: bool = True) -> VerifiedState:
        """Write the nodes and the root; return the state after the commit.

        Args:
            limited: Whether to refuse once the key has been used as often as is safe.
        """
        if limited:
            check_seals(self._seals)
        nodes: list[tuple[bytes, Node]] = []

        def write(row: int, node: Node) -> bytes:
            tag = self._write_row("node", NODE, row, node.pack())
            nodes.append((tag, node))
            return tag

        top = self._draft.seal(write) if self._draft.touched else self._draft.root
        for row in self._draft.gone:
            self._drop("node", row)
        return self._seal_root(top, nodes)

    def _seal_root(self, top: Link, nodes: list[tuple[bytes, Node]]) -> VerifiedState:
        before = self.view.root
        root = Root(
            top.id,
            top.tag,
            before.epoch,
            self._last_id,
            before.commits + 1,
            self._seals + 1,
            self._secrets,
            self._recent,
        )
        body = self._sealer.seal(ROOT, ROW, root.pack())
        self._cursor.execute("UPDATE root SET body=? WHERE id=?", (body, ROW))
        state = VerifiedState(body, root)
        state.nodes = self.view.state.nodes
        state.links = self.view.state.links
        for tag in self._draft.replaced:
            state.nodes.pop(tag, None)
        for tag, node in nodes:
            state.keep(tag, node)
        return state

    def _allot(self) -> int:
        self._last_id += 1
        return self._last_id

    def _add_value(self, name: bytes, value: bytes) -> tuple[int, bytes]:
        row = self._allot()
        body = self._sealer.seal(VALUE, row, value, name)
        self._seals += 1
        self._cursor.execute(_INSERT_VALUE, (row, body))
        return row, body[-16:]

    def _insert(self, rows: list[tuple[int, bytes]]) -> None:
        """Add values; many short ones in one statement take a third less time than each in its own."""
        start = 0
        while len(rows) - start >= _ROWS_AT_ONCE:
            some = rows[start : start + _ROWS_AT_ONCE]
            if sum(len(body) for _, body in some) > _BYTES_AT_ONCE:
                self._cursor.executemany(_INSERT_VALUE, some)
            else:
                self._cursor.execute(_INSERT_VALUES, [*chain.from_iterable(some)])
            start += _ROWS_AT_ONCE
        self._cursor.executemany(_INSERT_VALUE, rows[start:])

    def _settled(self, name: bytes) -> Entry | None:
        """Move the recent writes of a key from the root into the tree, and return its entry."""
        if name in self._recent.writes:
            self._settle([name])
            self._recent = self._recent.without(name)
        return self._in_tree(name)

    def _settle(self, names: list[bytes]) -> None:
        writes = self._recent.writes

        def settled(name: bytes, found: bytes | None) -> bytes:
            before = Entry.unpack(found) if found is not None else EMPTY_ENTRY
            packed = self.history(name, before)
            entry, packed, dropped = replayed(before, packed, writes[name])
            return self._current(name, before, entry or before, packed, dropped).pack()

        self._draft.update(names, settled)

    def _current(self, name: bytes, before: Entry, entry: Entry, packed: bytes, dropped: list[int]) -> Entry:
        """Store the rows that belong to the entry of a key with a current version; return it with links."""
        if not before.value:
            self._secrets += 1
        for row in dropped:
            self._drop("value", row)
        return self._with_history(name, entry, packed)

    def _with_history(self, name: bytes, entry: Entry, packed: bytes) -> Entry:
        """Store the other versions of a key; return its entry with the link to them."""
        if not packed:
            if not entry.history:
                return entry
            self._drop("history", entry.history)
            return entry._replace(history=0, history_tag=_NO_TAG)
        row = entry.history or self._allot()
        tag = self._write_row("history", HISTORY, row, packed, name)
        return entry._replace(history=row, history_tag=tag)

    def _in_tree(self, name: bytes) -> Entry | None:
        found = find(self._draft.node, self._draft.root, name)
        return Entry.unpack(found) if found is not None else None

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
        entry = self._settled(name)
        if entry is None:
            raise not_found(key)
        packed = self.history(name, entry)
        stored = find_version(entry, packed, version)
        if stored is None:
            raise no_such_version(key)
        if stored.value == entry.value or stored.state != PENDING:
            state = "current" if stored.value == entry.value else "previous"
            raise ConflictError(
                f"version {version} of {show_key(key)} is {state}, not pending", key=key, provider=TYPE_NAME
            )
        return entry, packed, stored
