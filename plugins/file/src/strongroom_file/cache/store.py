"""`FileCacheStore`: a second level of a cache in a file, for the processes of one machine."""

from __future__ import annotations

import os
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Self, TypeVar

from strongroom.errors import BackendUnavailableError, ConfigurationError, ConflictError, StrongroomError
from strongroom.parallel import SingleEntryLock, Take, forks_wait, renew_after_fork

from strongroom_file.cache.database import (
    DAMAGE,
    Identity,
    damage_of,
    identity_of,
    open_cache,
    set_aside,
    unavailable,
)
from strongroom_file.cache.uptime import Uptime, UptimeClock, machine_uptime
from strongroom_file.cache.watcher import Watcher
from strongroom_file.store.database import Connections, begin

__all__ = ["FileCacheStore"]

T = TypeVar("T")
_SHORTEST_WAIT, _LONGEST_WAIT = 0.002, 0.05
_LONGEST_LIFE: Final = 10**9
_FENCE_MICROSECONDS: Final = 3600 * 1_000_000
_MOST_DROPS: Final = 4096
_ATTEMPTS: Final = 3

_PUT = (
    "INSERT INTO entry VALUES (?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE "
    "SET data=excluded.data, expires=excluded.expires, boot=excluded.boot, ends=excluded.ends"
)
_LOCK = (
    "INSERT INTO lock VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE "
    "SET token=excluded.token, fence=excluded.fence, since=excluded.since, until=excluded.until, "
    "boot=excluded.boot, ends=excluded.ends"
)
_NEXT = (
    "INSERT INTO counter VALUES (1, ?) ON CONFLICT (id) DO UPDATE "
    "SET last=max(last + 1, excluded.last) RETURNING last"
)
_BEGINS = "substr(name, 1, ?) = ?"


class FileCacheStore:
    """A `strongroom.cache.CacheStore` in a file, fenced and watchable, for many threads and processes.

    The file is made by the first call, 0600 whatever the umask. A damaged one is set aside, with a warning in
    the log, and a new one begun. Lives end by the time of day or by the time since the machine started,
    whichever is sooner, and locks by the latter as long as the machine runs: so a clock that is set lengthens
    no life and opens no lock. Where the machine does not say when it started, both end by the time of day.

    Args:
        path: The file.
        max_entries: How many entries are kept; those whose time is over the soonest leave first. Each process
            may be a hundredth beyond it for a moment.
        timeout_seconds: How long one call waits for others at most.
        clock: Seconds since 1970.
        uptime: Which start of the machine, and the seconds since then; not asked where a `clock` is given.

    Raises:
        ConfigurationError: An option is out of bounds.
    """

    _connection: sqlite3.Connection | None
    _connections: Connections | None
    _identity: Identity | None
    _watchers: list[Watcher]

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_entries: int = 10_000,
        timeout_seconds: float = 0.4,
        clock: Callable[[], float] = time.time,
        uptime: UptimeClock | None = None,
    ) -> None:
        if max_entries < 1 or timeout_seconds <= 0:
            raise ConfigurationError(
                "file.cache: max_entries is 1 at least, and timeout_seconds greater than 0"
            )
        self._path = Path(path)
        self._place = str(self._path)
        self._max_entries = max_entries
        self._timeout = timeout_seconds
        self._clock = clock
        self._uptime = uptime or (machine_uptime if clock is time.time else _no_uptime)
        self._begin_again()
        renew_after_fork(self, FileCacheStore._begin_again, rest=FileCacheStore._rest)

    def get(self, name: str) -> bytes | None:
        """Return the data under `name`, or None.

        Raises:
            BackendUnavailableError: The file cannot be used. So for all other methods.
        """
        timed = self.get_with_life(name)
        return None if timed is None else timed[0]

    def get_with_life(self, name: str) -> tuple[bytes, float] | None:
        """Return the data under `name` and the seconds that are left of its life, or None."""

        def read(cursor: sqlite3.Cursor) -> tuple[bytes, float] | None:
            columns = "SELECT data, expires, boot, ends FROM entry WHERE name=?"
            row = cursor.execute(columns, (name,)).fetchone()
            if row is None:
                return None
            data, expires, boot, ends = row
            here, up = self._up()
            left = expires - self._now()
            if boot == here != b"":
                left = min(left, ends - up)
            return (data, left / 1_000_000) if left > 0 else None

        return self._call("reading", read)

    def set(self, name: str, data: bytes, ttl_seconds: float) -> None:
        """Keep `data` for `ttl_seconds`; the old entry is dropped, even if that is 0."""
        self._change("writing", lambda cursor: self._put(cursor, name, data, ttl_seconds))

    def set_fenced(self, name: str, data: bytes, ttl_seconds: float, token: int) -> bool:
        """Keep `data` unless `name` was dropped, cleared or locked since its lock gave `token`."""

        def write(cursor: sqlite3.Cursor) -> bool:
            found = cursor.execute("SELECT fence FROM lock WHERE name=?", (name,)).fetchone()
            if found is None or found[0] != token:
                return False
            return self._put(cursor, name, data, ttl_seconds)

        return self._change("writing", write)

    def delete(self, name: str) -> None:
        """Drop `name`, and tell the subscribers."""

        def drop(cursor: sqlite3.Cursor) -> None:
            cursor.execute("DELETE FROM entry WHERE name=?", (name,))
            cursor.execute("UPDATE lock SET fence=0 WHERE name=?", (name,))
            _report(cursor, name)

        self._change("dropping", drop)

    def clear(self, namespace: str) -> None:
        """Drop every name that begins with `namespace`, "" for all, and tell the subscribers."""
        begins = len(namespace), namespace

        def drop(cursor: sqlite3.Cursor) -> None:
            cursor.execute(f"DELETE FROM entry WHERE {_BEGINS}", begins)  # noqa: S608  # a constant
            cursor.execute(f"UPDATE lock SET fence=0 WHERE {_BEGINS}", begins)  # noqa: S608  # a constant
            _report(cursor, None)

        self._change("dropping", drop)

    @contextmanager
    def lock(self, name: str, *, ttl_seconds: float, wait_seconds: float) -> Iterator[int]:
        """Hold the lock of `name` for the block, `ttl_seconds` at most, and give its fencing token.

        Raises:
            ConflictError: Another held it for all of `wait_seconds`.
        """
        process = os.getpid()
        token = self._acquire(name, ttl_seconds, wait_seconds)
        try:
            yield token
        finally:
            if os.getpid() == process:  # a forked child leaves it to its parent
                with suppress(BackendUnavailableError):  # it ends by itself, and what was done is done
                    self._change(
                        "unlocking",
                        lambda cursor: cursor.execute(
                            "UPDATE lock SET until=?, ends=? WHERE name=? AND token=?",
                            (self._now(), self._up()[1], name, token),
                        ),
                    )

    def subscribe(self, callback: Callable[[str | None], object]) -> Watcher:
        """Call `callback` with each name that anybody drops, None for any, from a thread of its own.

        It looks ten times a second.
        """
        watcher = Watcher(lambda: open_cache(self._path, self._timeout), self._place, callback)
        self._watchers.append(watcher)
        return watcher

    def close(self) -> None:
        """End all subscriptions, and close the file; any call opens it again."""
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            watcher.close()
        with self._lock:
            self._let_go()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        connections = getattr(self, "_connections", None)  # there are none if an option was refused
        if connections is not None:
            connections.close_unused()

    def __repr__(self) -> str:
        return f"<FileCacheStore {self._place!r}>"

    def _begin_again(self) -> None:
        self._lock = SingleEntryLock(f"the cache {self._place}")
        self._connection = None
        self._connections = None
        self._identity = None
        self._watchers = []
        self._uncounted = 0

    def _rest(self, take: Take) -> None:
        """Close the file before a fork, as its `Connections` would, which find the lock taken here."""
        if take(self._lock):
            self._let_go()
        for watcher in self._watchers:
            watcher.rest(take)

    def _now(self) -> int:
        return int(self._clock() * 1_000_000)

    def _up(self) -> tuple[bytes, int]:
        boot, seconds = self._uptime()
        return boot.encode(), int(seconds * 1_000_000)

    def _put(self, cursor: sqlite3.Cursor, name: str, data: bytes, ttl_seconds: float) -> bool:
        """Replace the data of a name; return whether the new data is kept."""
        if ttl_seconds <= 0:
            cursor.execute("DELETE FROM entry WHERE name=?", (name,))
            return False
        life = int(min(ttl_seconds, _LONGEST_LIFE) * 1_000_000)
        boot, up = self._up()
        cursor.execute(_PUT, (name, data, self._now() + life, boot, up + life))
        self._make_room(cursor)
        return True

    def _make_room(self, cursor: sqlite3.Cursor) -> None:
        """Drop entries beyond the limit. Counting is slow, so a large cache is not counted at each write."""
        self._uncounted += 1
        if self._uncounted <= self._max_entries // 100:
            return
        now = self._now()
        boot, up = self._up()
        cursor.execute(
            "DELETE FROM entry WHERE expires<=? OR (boot=? AND boot<>x'' AND ends<=?)", (now, boot, up)
        )
        cursor.execute(
            "DELETE FROM lock WHERE until<? AND (boot<>? OR boot=x'' OR ends<?)",
            (now - _FENCE_MICROSECONDS, boot, up - _FENCE_MICROSECONDS),
        )
        (count,) = cursor.execute("SELECT count(*) FROM entry").fetchone()
        cursor.execute(
            "DELETE FROM entry WHERE name IN (SELECT name FROM entry ORDER BY expires LIMIT ?)",
            (max(count - self._max_entries, 0),),
        )
        self._uncounted = 0

    def _acquire(self, name: str, ttl_seconds: float, wait_seconds: float) -> int:
        end, pause = time.monotonic() + wait_seconds, _SHORTEST_WAIT
        life = max(int(min(ttl_seconds, _LONGEST_LIFE) * 1_000_000), 1)

        def take(cursor: sqlite3.Cursor) -> int | None:
            now = self._now()
            boot, up = self._up()
            columns = "SELECT since, until, boot, ends FROM lock WHERE name=?"
            row = cursor.execute(columns, (name,)).fetchone()
            if row is not None:
                since, until, of, ends = row
                # By the clock, one that begins in the future is of a clock that was set back since: nobody
                # knows when it ends.
                if (up < ends) if of == boot != b"" else since <= now < until:
                    return None
            # By the time too, so that tokens grow past the loss of the file.
            (token,) = cursor.execute(_NEXT, (now,)).fetchone()
            cursor.execute(_LOCK, (name, token, token, now, now + life, boot, up + life))
            return int(token)

        while True:
            token = self._change("locking", take)
            if token is not None:
                return token
            left = end - time.monotonic()
            if left <= 0:
                raise ConflictError(
                    f"the lock was held by another for {wait_seconds:g} s",
                    provider="file.cache",
                    hint="try again later",
                )
            time.sleep(min(left, random.uniform(pause / 2, pause)))  # noqa: S311  # spreads the askers
            pause = min(pause * 2, _LONGEST_WAIT)

    def _change(self, doing: str, work: Callable[[sqlite3.Cursor], T]) -> T:
        """Return what `work` returns, done in one transaction."""

        def change(cursor: sqlite3.Cursor) -> T:
            with cursor.connection:
                begin(cursor)
                return work(cursor)

        return self._call(doing, change)

    def _call(self, doing: str, work: Callable[[sqlite3.Cursor], T]) -> T:
        if self._connection is not None:
            return self._called(doing, work)
        with forks_wait():  # one that is under way may not know this store yet, and would not close the file
            return self._called(doing, work)

    def _called(self, doing: str, work: Callable[[sqlite3.Cursor], T]) -> T:
        """Return the result of `work` on the file, or on a new one if it is damaged."""
        if not self._lock.acquire(timeout=self._timeout):
            raise unavailable(f"{doing} waited {self._timeout:g} s for other threads")
        try:
            for _ in range(_ATTEMPTS):
                try:
                    return work(self._opened().cursor())
                except DAMAGE as error:
                    why = damage_of(error)
                    if why is None:
                        failure = unavailable(f"{doing} failed: {error} ({self._place})")
                        break
                except BackendUnavailableError as error:
                    failure = error
                    break
                except StrongroomError as error:  # of a file that may not be used
                    failure = unavailable(error.message, error.hint)
                    break
                failure = unavailable(f"{doing} failed: {self._place} is damaged again and again")
                self._start_over(why)
        finally:
            self._lock.release()
        raise failure

    def _opened(self) -> sqlite3.Connection:
        """Return the connection to the file that is there now."""
        if self._connection is None or identity_of(self._place) != self._identity:
            self._let_go()
            connection, self._identity = open_cache(self._path, self._timeout)
            self._connections = Connections(self._lock, connections=[connection])
            self._connection = connection
        return self._connection

    def _start_over(self, why: str) -> None:
        damaged = self._identity if self._connection is not None else identity_of(self._place)
        self._let_go()
        with suppress(OSError):
            set_aside(self._path, damaged, why)

    def _let_go(self) -> None:
        connections, self._connections, self._connection, self._identity = self._connections, None, None, None
        if connections is not None:
            connections.close()


def _no_uptime() -> Uptime:
    return Uptime("", 0.0)


def _report(cursor: sqlite3.Cursor, name: str | None) -> None:
    cursor.execute("INSERT INTO dropped (name) VALUES (?)", (name,))
    cursor.execute("DELETE FROM dropped WHERE id<=?", ((cursor.lastrowid or 0) - _MOST_DROPS,))
