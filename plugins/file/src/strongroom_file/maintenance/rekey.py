"""Encrypts the whole store with a new key, in one transaction that readers do not notice.

The order makes every crash harmless: first the next key is written beside the key file, then the transaction
commits, then the next key replaces the key file. A process that opens the store tries both. Before that, a
copy of the old key is left beside them, for backups and other uses of the key.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress

from strongroom.encryption.keys import KeyMaterial, read_key
from strongroom.errors import ConfigurationError

from strongroom_file.errors import translated
from strongroom_file.integrity import TYPE_NAME, StaleSessionError, tampered
from strongroom_file.key_source import FileKey
from strongroom_file.leftovers import remove_leftovers
from strongroom_file.maintenance.verify import problems_of
from strongroom_file.store import database, version_history
from strongroom_file.store.format import (
    HISTORY,
    LINK,
    NODE,
    ROOT,
    VALUE,
    Entry,
    Link,
    StoredVersion,
    pack_history,
)
from strongroom_file.store.queries import read_history
from strongroom_file.store.root import Root
from strongroom_file.store.row_cipher import RowCipher, new_header
from strongroom_file.store.session import ROW, SELECT, Session, Snapshot
from strongroom_file.store.transaction import WriteTransaction

__all__ = ["Progress", "key_for_rekey", "rekey"]

Progress = Callable[[int, int], None]
"""Called with the secrets done and the secrets in all."""


def rekey(session: Session, next_key: Callable[[], KeyMaterial], progress: Progress | None) -> KeyMaterial:
    """Encrypt everything with the key that `next_key` has written to disk; return that key.

    `next_key` is called while other writers wait, so that two rekeys do not mix up their keys.

    Raises:
        TamperedError: The store is damaged; it stays as it is.
    """
    remove_leftovers(session.path)  # which are under the old key
    with (
        session.writing,
        translated(),
        closing(database.connect(session.path, session.timeout)) as connection,
    ):
        cursor = connection.cursor()
        with connection:
            database.begin(cursor)
            view = _checked(cursor, session)
            material = next_key()
            _Rekeying(_settled(view), material, progress).run()
        # What is left of the old key in the log goes with it. While somebody reads an older state it cannot
        # be emptied; the last close does it then.
        with suppress(sqlite3.Error):
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return material


def _checked(cursor: sqlite3.Cursor, session: Session) -> Snapshot:
    """Return the store, after checking the session's key and every row."""
    found = cursor.execute(SELECT["header"], (ROW,)).fetchone()
    if found is None or found[0] != session.header_body:
        raise StaleSessionError
    view = Snapshot(cursor, session.sealer, session.verified(cursor))
    problems = problems_of(view)
    if problems:
        raise tampered(f"{problems[0]} ({len(problems)} problems in all)")
    return view


def _settled(view: Snapshot) -> Snapshot:
    """Return the store with all writes moved into the tree, so that only the tree is encrypted again."""
    change = WriteTransaction(view, keep=1, now=0)  # neither counts: the writes bring their own
    change.flush()
    return Snapshot(view.cursor, view.sealer, change.seal(limited=False))


class _Rekeying:
    def __init__(self, view: Snapshot, material: KeyMaterial, progress: Progress | None) -> None:
        self._view = view
        self._cursor = view.cursor
        self._material = material
        self._header = new_header(material, view.sealer.store)
        self._sealer: RowCipher = self._header.sealer(material)
        self._progress = progress
        self._done = 0
        self._seals = 0

    def run(self) -> None:
        before = self._view.root
        top = Link(before.node, self._node(self._view.top))
        root = Root(
            top.id, top.tag, before.epoch, before.last_id, before.commits + 1, self._seals + 1, before.secrets
        )
        self._update("root", ROW, self._sealer.seal(ROOT, ROW, root.pack()))
        self._update("header", ROW, self._header.pack(self._material))

    def _node(self, link: Link) -> bytes:
        node = self._view.load_fresh(*link)
        if node.leaf:
            items = b"".join(
                self._entry(name, Entry.unpack(node.item(place))).pack()
                for place, name in enumerate(node.names)
            )
        else:
            items = b"".join(LINK.pack(child.id, self._node(child)) for child in node.links())
        return self._seal("node", NODE, link.id, node.with_items(items).pack())

    def _entry(self, name: bytes, entry: Entry) -> Entry:
        if entry.history:
            versions = [
                version._replace(tag=self._value(name, version.value, version.tag))
                for version in version_history.versions(read_history(self._view, name, entry))
            ]
            entry = entry._replace(history_tag=self._history(name, entry.history, versions))
        if entry.value:
            entry = entry._replace(tag=self._value(name, entry.value, entry.tag))
            self._done += 1
            if self._progress is not None:
                self._progress(self._done, self._view.root.secrets)
        return entry

    def _history(self, name: bytes, row: int, kept: list[StoredVersion]) -> bytes:
        return self._seal("history", HISTORY, row, pack_history(kept), name)

    def _value(self, name: bytes, row: int, tag: bytes) -> bytes:
        return self._seal("value", VALUE, row, self._view.value(name, row, tag).encode(), name)

    def _seal(self, table: str, kind: bytes, row: int, data: bytes, name: bytes = b"") -> bytes:
        body = self._sealer.seal(kind, row, data, name)
        self._seals += 1
        self._update(table, row, body)
        return body[-16:]

    def _update(self, table: str, row: int, body: bytes) -> None:
        self._cursor.execute(f"UPDATE {table} SET body=? WHERE id=?", (body, row))  # noqa: S608  # own tables


def key_for_rekey(
    new_key: str | bytes | None, new_key_file: str | os.PathLike[str] | None
) -> KeyMaterial | None:
    """Return the key that is given for a rekey, as text or in a file, which is made if it is missing.

    Raises:
        ConfigurationError: Two are given, or one that cannot be used.
    """
    if new_key is not None and new_key_file is not None:
        raise ConfigurationError(
            "both new_key and new_key_file are given", provider=TYPE_NAME, hint="give one of them"
        )
    next_key = read_key(new_key) if new_key is not None else None
    if new_key_file is not None:
        next_key = FileKey(new_key_file).create()
    if next_key is not None and next_key.kind == "fernet":
        return KeyMaterial("raw", next_key.secret)  # here the same, and with one text form
    return next_key
