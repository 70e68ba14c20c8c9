"""Reports the changes of a store, in whatever process they are made.

The nodes of the tree are never changed in place, and each is identified by its tag. So two states differ only
in the leaves that one of them has and the other has not, however many secrets there are.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from strongroom.errors import BackendUnavailableError, StrongroomError
from strongroom.keys import is_reserved
from strongroom.parallel import start_thread
from strongroom.providers import SecretChange, Subscribers

from strongroom_file.integrity import TYPE_NAME
from strongroom_file.store.format import ENTRY, Node, version_id
from strongroom_file.watch.notices import Waiting, waiting_for

if TYPE_CHECKING:
    from strongroom.providers import Closeable

    from strongroom_file.store.session import Snapshot

__all__ = ["ChangeWatcher", "Picture"]

_SURE_SECONDS: Final = 1.0
"""How often the store itself is read if its files look unchanged, because their times are coarse."""
_FIRST_PAUSE: Final = 0.01
_log = logging.getLogger("strongroom.watch")

Versions = dict[bytes, tuple[int, int]]
"""The current version of each name: its epoch and its row."""


class Picture:
    """The current version of every secret at one state of the store.

    Attributes:
        leaves: What each leaf says, by its tag.
        inner: The nodes above them, by tag.
        recent: What is only in the root.
    """

    __slots__ = ("inner", "leaves", "recent")

    def __init__(self) -> None:
        self.leaves: dict[bytes, Versions] = {}
        self.inner: dict[bytes, Node] = {}
        self.recent: Versions = {}

    @classmethod
    def of(cls, view: Snapshot, known: Picture) -> Picture:
        """Return the present picture; only nodes that `known` does not have are read and decrypted."""
        picture = cls()
        picture.recent = {
            name: (one[-1].epoch, one[-1].value) for name, one in view.root.recent.writes.items()
        }
        links = [view.top]
        while links:
            link = links.pop()
            leaf = known.leaves.get(link.tag)
            if leaf is not None:
                picture.leaves[link.tag] = leaf
                continue
            node = known.inner.get(link.tag) or view.load_fresh(*link)
            if node.leaf:
                picture.leaves[link.tag] = _versions(node)
            else:
                picture.inner[link.tag] = node
                links += node.links()
        return picture

    def changes_since(self, before: Picture, view: Snapshot) -> list[SecretChange]:
        """Return the changes since `before`: values in the order of writing, then deletions."""
        gone, fresh = _only(before.leaves, self.leaves), _only(self.leaves, before.leaves)
        now = datetime.now(UTC)
        written: list[tuple[tuple[int, int], str]] = []
        deleted: list[str] = []
        for name in {*gone, *fresh, *before.recent, *self.recent}:
            in_tree = gone.get(name), fresh.get(name)
            if in_tree == (None, None):
                entry = view.entry(name)  # its leaf is the same in both
                if entry is not None and entry.value:
                    in_tree = ((entry.epoch, entry.value),) * 2
            old, new = before.recent.get(name, in_tree[0]), self.recent.get(name, in_tree[1])
            key = name.decode()
            if old == new or is_reserved(key):
                continue
            if new is None:
                deleted.append(key)
            else:
                written.append((new, key))
        return [
            *(SecretChange(key, "set", version_id(*version), now) for version, key in sorted(written)),
            *(SecretChange(key, "deleted", None, now) for key in sorted(deleted)),
        ]


def _versions(leaf: Node) -> Versions:
    found = zip(leaf.names, ENTRY.iter_unpack(leaf.items), strict=True)
    return {name: (entry[0], entry[1]) for name, entry in found if entry[1]}


def _only(some: dict[bytes, Versions], others: dict[bytes, Versions]) -> Versions:
    return {name: one for tag, leaf in some.items() if tag not in others for name, one in leaf.items()}


class ChangeWatcher:
    """A thread that looks at a store's files, and at the store if they changed.

    Args:
        path: The store.
        read: Runs a function on a snapshot of the store; returns None if there is no store.
    """

    def __init__(self, path: Path, read: Callable[[Callable[[Snapshot], None]], object]) -> None:
        self._path = path
        self._paths = (f"{path}-wal", str(path))
        self._read = read
        self._picture = Picture()
        self._seen: object = None
        self._sure = float("-inf")
        self._failing = False
        self._looking = threading.Lock()
        self._waiting: Waiting | None = None
        self._ended = False
        self._thread: threading.Thread | None = None
        self._adding = threading.Lock()
        self._subscribers = Subscribers(last=self.close)

    def subscribe(self, callback: Callable[[list[SecretChange]], object]) -> Closeable:
        """Call `callback` with changes from now on.

        Raises:
            BackendUnavailableError: The machine has no more threads.
        """
        with self._adding:
            if not self._subscribers.present:
                self._picture = Picture()
            self._look()  # what was before is not for this one
            subscription = self._subscribers.add(callback)
            if self._ended or self._thread is None or not self._thread.is_alive():
                self._ended = False
                waiting = self._waiting = waiting_for(self._path)
                self._thread = threading.Thread(
                    target=self._run, args=(waiting,), name="strongroom-file-watch", daemon=True
                )
                try:
                    start_thread(self._thread)
                except RuntimeError as error:
                    subscription.close()
                    waiting.close()
                    raise BackendUnavailableError(
                        f"the store {self._path} cannot be watched: {error}", provider=TYPE_NAME
                    ) from None
        return subscription

    def _look(self) -> None:
        """Report the changes since the last look."""
        with self._looking:
            before, now, changes = self._picture, Picture(), list[SecretChange]()

            def compare(view: Snapshot) -> None:
                nonlocal now
                now = Picture.of(view, before)
                changes.extend(now.changes_since(before, view))

            self._seen, self._sure = self._signature(), time.monotonic()
            self._read(compare)
            if self._failing:
                self._failing = False
                _log.warning("the store %s can be asked for changes again", self._path)
            self._picture = now
            if changes:
                self._subscribers.queue(changes)
        self._subscribers.tell()

    def wake(self) -> None:
        """Look at once: this process has written."""
        if self._waiting is not None:
            self._waiting.wake()

    def close(self) -> None:
        """End all subscriptions."""
        self._ended = True
        self.wake()

    def _run(self, waiting: Waiting) -> None:
        me = threading.current_thread()
        pause = _SURE_SECONDS
        try:
            while True:
                written = waiting.wait(pause)
                if self._ended or self._thread is not me:
                    return
                if written or self._signature() != self._seen:
                    pause = _FIRST_PAUSE
                elif pause < _SURE_SECONDS:
                    # What was written is committed some time later, which leaves no trace in the files.
                    pause = min(pause * 2, _SURE_SECONDS)
                elif time.monotonic() - self._sure < _SURE_SECONDS:
                    continue
                self._try_to_look()
        finally:
            waiting.close()

    def _try_to_look(self) -> None:
        try:
            self._look()
        except StrongroomError as error:
            if not self._failing:
                self._failing = True
                _log.warning(
                    "the store %s cannot be asked for changes (%s); it is tried again",
                    self._path, type(error).__name__,
                )  # fmt: skip
                self._subscribers.tell([])  # the subscribers look for themselves, and meet the error

    def _signature(self) -> object:
        signature: list[tuple[int, int, int] | None] = []
        for path in self._paths:
            try:
                status = os.stat(path)  # noqa: PTH116  # often
            except OSError:
                signature.append(None)
            else:
                signature.append((status.st_ino, status.st_size, status.st_mtime_ns))
        return signature
