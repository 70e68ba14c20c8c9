"""Reads the whole store, and reports everything that is wrong."""

from __future__ import annotations

import hashlib
import struct

from strongroom.errors import TamperedError, show_key

from strongroom_file.errors import SQLITE_ERRORS, translate
from strongroom_file.store import version_history
from strongroom_file.store.format import Entry, Link, Node, version_id
from strongroom_file.store.queries import read_history
from strongroom_file.store.root import Root
from strongroom_file.store.session import ROW, Snapshot

__all__ = ["Anchor", "Verification", "anchor_of", "problems_of"]

Anchor = str
"""`epoch:commits:digest` of a root, kept elsewhere to detect an older file."""

_SHOWN_ROWS = 10


def anchor_of(view: Snapshot) -> Anchor:
    """Return the state of the store as a line without secrets."""
    digest = hashlib.sha256(view.state.body).hexdigest()[:32]
    return f"{view.root.epoch:08x}:{view.root.commits}:{digest}"


def problems_of(view: Snapshot, anchor: Anchor | None = None) -> list[str]:
    """Return everything that is wrong with the store; nothing if it is whole."""
    return Verification(view).run(anchor)


class Verification:
    """One walk over the whole store."""

    def __init__(self, view: Snapshot) -> None:
        self._view = view
        self._root: Root = view.root
        self._problems: list[str] = []
        self._visited: dict[str, set[int]] = {
            "header": {ROW},
            "root": {ROW},
            "node": set(),
            "history": set(),
            "value": set(),
        }
        self._secrets = 0
        self._unread = False

    @property
    def met(self) -> dict[str, set[int]]:
        """The rows that something leads to, by table."""
        return self._visited

    def run(self, anchor: Anchor | None = None) -> list[str]:
        """Walk everything and return what is wrong."""
        for step in (self._sqlite, self._walk, self._unmet, lambda: self._compare(anchor)):
            try:
                step()
            except SQLITE_ERRORS as error:
                self._problems.append(translate(error).message)
        return self._problems

    def _sqlite(self) -> None:
        found = self._view.cursor.execute("PRAGMA quick_check(10)").fetchall()
        lines = [
            row[0].decode("utf-8", "replace") if isinstance(row[0], bytes) else str(row[0]) for row in found
        ]
        if lines != ["ok"]:
            self._problems += [f"SQLite says: {line}" for line in lines]

    def _walk(self) -> None:
        self._node(self._view.top, b"", None)
        for name, write in self._root.recent.in_order():
            self._value(name.decode(), name, write.epoch, write.value, write.tag)
        if not self._unread and self._secrets != self._root.secrets:
            self._problems.append(
                f"{self._secrets} secrets are in the index, the root knows of {self._root.secrets}"
            )

    def _node(self, link: Link, low: bytes, high: bytes | None) -> None:
        self._meet("node", link.id)
        try:
            node = self._view.load_fresh(*link)
        except TamperedError as error:
            self._unread = True
            self._problems.append(
                f"{error.message} (row {link.id} of node; the keys below it cannot be read)"
            )
            return
        names = node.names if node.leaf else [low, *node.names[1:]]  # the first bound counts for nothing
        if names != sorted(set(names)) or not all(
            low <= name and (high is None or name < high) for name in names
        ):
            self._problems.append(f"row {link.id} of node: its names are out of order")
        if node.leaf:
            self._leaf(node)
            return
        for child, bound, following in zip(node.links(), names, [*names[1:], high], strict=True):
            self._node(child, bound, following)

    def _leaf(self, node: Node) -> None:
        for place, name in enumerate(node.names):
            entry = Entry.unpack(node.item(place))
            key = name.decode()
            if entry.value:
                self._secrets += 1
                self._value(key, name, entry.epoch, entry.value, entry.tag)
            if entry.history:
                self._history(key, name, entry)

    def _history(self, key: str, name: bytes, entry: Entry) -> None:
        self._meet("history", entry.history)
        try:
            versions = version_history.versions(read_history(self._view, name, entry))
        except (TamperedError, struct.error) as error:
            self._unread = True
            what = error.message if isinstance(error, TamperedError) else "the history is damaged"
            self._problems.append(f"secret {show_key(key)}: {what}")
            return
        for version in versions:
            self._value(key, name, version.epoch, version.value, version.tag)

    def _value(self, key: str, name: bytes, epoch: int, row: int, tag: bytes) -> None:
        self._meet("value", row)
        try:
            self._view.value(name, row, tag)
        except TamperedError as error:
            said = error.message
        else:
            return
        self._problems.append(f"secret {show_key(key)}, version {version_id(epoch, row)}: {said}")

    def _meet(self, table: str, row: int) -> None:
        if row in self._visited[table] or row > self._root.last_id:
            self._problems.append(f"row {row} of {table} is named twice or was never given out")
        self._visited[table].add(row)

    def _unmet(self) -> None:
        """Report rows that nothing leads to, unless a damaged row may have led to them."""
        for table, met in self._visited.items():
            if self._unread and table not in {"header", "root"}:
                continue
            there = {row for (row,) in self._view.cursor.execute(f"SELECT id FROM {table}")}  # noqa: S608  # own tables
            foreign = sorted(there - met)
            if foreign:
                shown = ", ".join(map(str, foreign[:_SHOWN_ROWS]))
                more = " and more" if len(foreign) > _SHOWN_ROWS else ""
                self._problems.append(f"table {table} has rows that nothing leads to: {shown}{more}")

    def _compare(self, anchor: Anchor | None) -> None:
        if anchor is None:
            return
        now = anchor_of(self._view)
        epoch, commits, _ = now.split(":")
        parts = anchor.strip().split(":")
        if len(parts) != 3 or not parts[1].isdecimal():  # noqa: PLR2004  # epoch, commits, digest
            self._problems.append("the anchor is not valid: expected epoch:commits:digest")
        elif parts[0] != epoch:
            self._problems.append(
                "the store is of another epoch than the anchor: it was restored or made again"
            )
        elif int(commits) < int(parts[1]):
            self._problems.append(f"the store is older than the anchor: {commits} commits, {parts[1]} then")
        elif int(commits) == int(parts[1]) and now != anchor.strip():
            self._problems.append("the store is not the anchor's, though it has as many commits")
