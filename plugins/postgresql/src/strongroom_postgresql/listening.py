"""Listens for changes of others, by a thread with its own connection and LISTEN."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from typing import Final

import psycopg
from strongroom.deadlines import Deadline
from strongroom.errors import AuthenticationError, PermissionDeniedError
from strongroom.parallel import never_collect, renew_after_fork, start_thread

from strongroom_postgresql.connection import Connection, Statement

__all__ = ["Listener", "payload"]

_log = logging.getLogger("strongroom.postgresql")
_MANY: Final = b"*"
_LONGEST: Final = 7000
"""Bytes of a notification; PostgreSQL takes fewer than 8,000."""
_PING_SECONDS: Final = 30.0
_CONNECT_SECONDS: Final = 10.0
_PAUSES: Final = (0.1, 5.0)
_PING = Statement("strongroom_ping", b"SELECT 1::bigint", ())


Written = list[tuple[bytes, bytes | None]]


def payload(names: Sequence[bytes]) -> bytes:
    """Return the notification of a transaction: sealed names, or a sign that they were many; never empty."""
    text = b",".join(one.hex().encode() for one in names)
    return text if len(text) <= _LONGEST else _MANY


class Listener:
    """A subscription that ends at `close`. If it is cut off, it connects again until it succeeds.

    Args:
        connect: Opens a connection before a deadline.
        channel: The channel's name.
        changed: Called with the names of each transaction, or with None where some may have been missed.
        connection: The first connection.
        deadline: When the subscription must have begun.
    """

    def __init__(
        self,
        connect: Callable[[Deadline], Connection],
        channel: bytes,
        changed: Callable[[Written | None], object],
        connection: Connection,
        deadline: Deadline,
    ) -> None:
        self._connect = connect
        self._channel = channel.decode()
        self._changed = changed
        self._refused = False
        self._ended = threading.Event()
        self._connection: Connection | None = connection
        self._process = os.getpid()
        try:
            self._listen(connection, deadline)
        except BaseException:
            connection.close()
            raise
        self._wake_reader, self._wake = os.pipe()
        self._waking = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="strongroom-postgresql", daemon=True)
        renew_after_fork(self, Listener._after_fork)
        try:
            start_thread(self._thread)
        except RuntimeError:  # the machine has no more threads
            self._end()
            raise

    @property
    def ended(self) -> bool:
        """Whether it was closed, or is that of the process from which this one was forked."""
        return self._ended.is_set() or os.getpid() != self._process

    def close(self) -> None:
        """End it; a second call is harmless."""
        if self.ended:
            return
        with self._waking:  # a notice may end the thread first; its pipe's number may be another file's then
            if not self._ended.is_set():
                self._ended.set()
                os.write(self._wake, b"x")
        if threading.current_thread() is not self._thread:
            self._thread.join(_CONNECT_SECONDS)

    def _listen(self, connection: Connection, deadline: Deadline) -> None:
        statement = Statement("", f'LISTEN "{self._channel}"'.encode(), ())
        connection.run(statement, (), deadline)

    def _run(self) -> None:
        pause = _PAUSES[0]
        while not self._ended.is_set():
            connection = self._connection
            try:
                if connection is None:
                    deadline = Deadline(_CONNECT_SECONDS)
                    connection = self._connection = self._connect(deadline)
                    self._listen(connection, deadline)
                    pause = _PAUSES[0]
                    if self._refused:
                        self._refused = False
                        _log.warning("notices of changes come again")
                    self._report(None)
                self._hear(connection)
            except BaseException as error:  # noqa: BLE001  # whatever ended it, also an exit: it is tried again
                self._stopped(error)
            self._let_go()
            if not self._ended.wait(pause):
                pause = min(pause * 2, _PAUSES[1])
        self._end()

    def _end(self) -> None:
        """Give back what is held, even if it was closed before its thread began, or got none."""
        self._ended.set()
        self._let_go()
        with self._waking:
            os.close(self._wake_reader)
            os.close(self._wake)

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _stopped(self, error: BaseException) -> None:
        """Log once that the permission is gone, and have the subscribers look, so that they get the error."""
        if not isinstance(error, AuthenticationError | PermissionDeniedError):
            _log.info("notices of changes stopped: %s", type(error).__name__)
        elif not self._refused:
            self._refused = True
            _log.warning(
                "notices of changes do not come (%s: %s); it is tried again", type(error).__name__, error
            )
            self._report(None)

    def _hear(self, connection: Connection) -> None:
        """Pass on notifications until the connection is lost, or this listener closed."""
        import select

        pg = connection.pg
        poll = select.poll()
        poll.register(pg.socket, select.POLLIN)
        poll.register(self._wake_reader, select.POLLIN)
        while not self._ended.is_set():
            while (found := pg.notifies()) is not None:
                self._report(_names(found.extra))
            if not poll.poll(_PING_SECONDS * 1000):
                # A connection that a firewall has forgotten is silent for ever.
                connection.run(_PING, (), Deadline(_CONNECT_SECONDS))
            elif not self._ended.is_set():
                pg.consume_input()
                if connection.closed:
                    raise psycopg.OperationalError("the connection was lost")

    def _report(self, names: Written | None) -> None:
        if self._ended.is_set():
            return
        try:
            self._changed(names)
        except BaseException as error:  # noqa: BLE001  # also an exit: the next change must arrive all the same
            _log.warning("a listener of postgresql failed: %s", type(error).__name__)

    def _after_fork(self) -> None:
        """Drop it in a forked child, which does not have its thread."""
        never_collect(self._connection)
        self._connection = None


def _names(text: bytes) -> Written | None:
    try:
        return [(bytes.fromhex(one), None) for one in text.decode().split(",")]
    except ValueError:
        return None
