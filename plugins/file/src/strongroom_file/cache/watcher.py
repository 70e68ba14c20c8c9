"""Notices entries that others drop, by a thread with its own connection, which looks ten times a second."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from strongroom.parallel import Take, forks_wait, start_thread

from strongroom_file.cache.database import Identity, Opened, identity_of
from strongroom_file.store.database import Connections

__all__ = ["Watcher"]

_LOOK_SECONDS: Final = 0.1
_SILENT_SECONDS: Final = 0.9
_LONGEST_PAUSE: Final = 0.5
_log = logging.getLogger("strongroom.cache")


class Watcher:
    """A subscription to what is dropped from a cache's file, which ends at `close`.

    A watcher hears that any name may have been dropped when the file can be watched, and when it can no
    longer: it was replaced, or cannot be read.

    Args:
        connect: Opens the file.
        path: Where it is.
        callback: Called with each name, or with None for any.
    """

    def __init__(
        self, connect: Callable[[], Opened], path: str, callback: Callable[[str | None], object]
    ) -> None:
        self._connect = connect
        self._path = path
        self._callback = callback
        self._ended = threading.Event()
        self._alive = False
        self._looked = float("-inf")
        self._connections: Connections | None = None
        self._using = threading.Lock()
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._run, name="strongroom-file-cache", daemon=True)
        start_thread(self._thread)

    @property
    def alive(self) -> bool:
        """Whether drops of others arrive at present: never in a forked child, which has no thread."""
        # By the time as well: the thread may hang in a slow callback, or in a disk.
        recent = time.monotonic() - self._looked <= _SILENT_SECONDS
        return self._alive and recent and not self._ended.is_set() and os.getpid() == self._process

    def close(self) -> None:
        """End it; a second call is harmless."""
        self._ended.set()
        if os.getpid() == self._process and threading.current_thread() is not self._thread:
            self._thread.join(_SILENT_SECONDS)

    def rest(self, take: Take) -> None:
        """Close the connection before a fork; the thread opens it again, and takes nothing for granted."""
        if take(self._using) and self._connections is not None:
            self._connections.close()

    def _run(self) -> None:
        pause = _LOOK_SECONDS
        while not self._ended.is_set():
            alive = False
            with suppress(Exception):  # whatever ended it, it is tried again
                with forks_wait(), self._using:
                    connection, identity = self._connect()
                    self._connections = Connections(self._using, connections=[connection])
                try:
                    self._watch(connection, identity)
                finally:
                    alive = self._alive
                    with self._using:
                        self._connections.close()
            if self._alive:
                self._alive = False
                self._report(None)
            pause = 0.0 if alive else min(pause * 2, _LONGEST_PAUSE)
            self._ended.wait(pause)

    def _watch(self, connection: sqlite3.Connection, identity: Identity) -> None:
        """Pass on dropped names as long as the file is the same."""
        with self._using:
            (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM dropped").fetchone()
        # Nothing is missed from now on, but names may have been dropped before.
        self._looked = time.monotonic()
        self._alive = True
        self._report(None)
        last_version = -1
        while not self._ended.wait(_LOOK_SECONDS):
            started = time.monotonic()
            if identity_of(self._path) != identity:
                return
            with self._using:
                (version,) = connection.execute("PRAGMA data_version").fetchone()
                dropped = self._dropped(connection, last) if version != last_version else []
            last_version = version
            last = self._pass_on(dropped, last)
            self._looked = started

    @staticmethod
    def _dropped(connection: sqlite3.Connection, last: int) -> list[tuple[int, bytes | None]]:
        return connection.execute("SELECT id, name FROM dropped WHERE id>? ORDER BY id", (last,)).fetchall()

    def _pass_on(self, dropped: list[tuple[int, bytes | None]], last: int) -> int:
        if not dropped:
            return last
        if dropped[0][0] != last + 1:  # more than are kept
            self._report(None)
        else:
            for _, name in dropped:
                self._report(name if name is None else name.decode("utf-8", "surrogatepass"))
        return dropped[-1][0]

    def _report(self, name: str | None) -> None:
        if self._ended.is_set():
            return
        try:
            self._callback(name)
        except Exception as error:  # noqa: BLE001  # of a watcher; the next drop must arrive all the same
            _log.warning("a watcher of the cache's file failed: %s", type(error).__name__)
