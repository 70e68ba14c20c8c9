"""Connections: statements with a deadline, and a pool that survives forks and restarts of the server."""

from __future__ import annotations

import select
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from struct import Struct
from typing import Any, Final, NamedTuple, TypeVar

import psycopg
from psycopg import pq
from strongroom.clients import redact_message
from strongroom.deadlines import Deadline, DeadlineExceededError, DeadlineExecutor, Slots
from strongroom.errors import BackendUnavailableError, ConfigurationError
from strongroom.parallel import never_collect, renew_after_fork

from strongroom_postgresql.errors import (
    AGAIN,
    READ_ONLY,
    RESTARTING,
    TYPE_NAME,
    UNPREPARED,
    ServerError,
    connect_error,
)

__all__ = ["BYTEA", "INT8", "LONGEST_POLL", "Connection", "LostError", "Pool", "Statement", "array", "int8"]

T = TypeVar("T")
BYTEA, INT8, BYTEA_ARRAY, INT8_ARRAY, TEXT, FLOAT8 = 17, 20, 1001, 1016, 25, 701
_INT8 = Struct(">q")
_LENGTH = Struct(">i")
_ARRAY_HEAD = Struct(">iiIii")
_BINARY: Final = pq.Format.BINARY
_FATAL: Final = (pq.ExecStatus.FATAL_ERROR, pq.ExecStatus.BAD_RESPONSE, pq.ExecStatus.NONFATAL_ERROR)
_STALE_SECONDS: Final = 30.0
_RETRIES: Final = 5
LONGEST_POLL: Final = 1e6
"""Seconds: the timeout of `poll` is an int of C, in milliseconds."""

Rows = list[tuple[bytes | None, ...]]


class LostError(Exception):
    """The connection ended before the answer came."""


class Statement(NamedTuple):
    """A statement, with the types of its parameters; parameters and results are binary."""

    name: str
    sql: bytes
    types: tuple[int, ...]


def int8(number: int) -> bytes:
    """Return a bigint as a parameter."""
    return _INT8.pack(number)


def number_of(data: bytes | None) -> int:
    """Return a bigint of a result; 0, which no row has, if it is NULL."""
    return 0 if data is None else int(_INT8.unpack(data)[0])


def array(element: int, items: Sequence[bytes | None]) -> bytes:
    """Return a one-dimensional array of elements that are binary already."""
    parts = [
        _ARRAY_HEAD.pack(1 if items else 0, int(None in items), element, len(items), 1)[
            : None if items else 12
        ]
    ]
    for item in items:
        if item is None:
            parts.append(_LENGTH.pack(-1))
        else:
            parts += (_LENGTH.pack(len(item)), item)
    return b"".join(parts)


class Connection:
    """One session, used by one thread at a time; any error but the server's own ends it.

    Args:
        opened: The connection of psycopg.
        prepare: Whether statements are prepared once for the session: not behind a pooler.
    """

    __slots__ = ("_poll", "_prepared", "opened", "pg", "prepare", "used")

    def __init__(self, opened: psycopg.Connection[Any], *, prepare: bool) -> None:
        self.opened = opened
        self.pg = opened.pgconn
        self.prepare = prepare
        self.used = time.monotonic()
        self._prepared: set[str] = set()
        self._poll = select.poll()
        self._poll.register(self.pg.socket, select.POLLIN)

    def run(self, statement: Statement, values: Sequence[bytes | None], deadline: Deadline) -> Rows:
        """Return the rows of one statement, which is a transaction of its own.

        Raises:
            ServerError: The server answered with an error; the session goes on.
            LostError: The connection ended.
            DeadlineExceededError: There was no answer in time; the session is closed.
        """
        pg = self.pg
        try:
            if not self.prepare or not statement.name:
                pg.send_query_params(statement.sql, values, statement.types, [_BINARY] * len(values), _BINARY)
            else:
                name = statement.name.encode()
                if statement.name not in self._prepared:
                    pg.send_prepare(name, statement.sql, statement.types)
                    self._answer(deadline)
                    self._prepared.add(statement.name)
                pg.send_query_prepared(name, values, [_BINARY] * len(values), _BINARY)
            return self._answer(deadline)
        except psycopg.Error as error:
            reason = str(error)
        except DeadlineExceededError:
            self.close()
            raise
        self.close()
        raise LostError(reason)

    def _answer(self, deadline: Deadline) -> Rows:
        pg = self.pg
        while pg.flush():
            self._wait(deadline, select.POLLIN | select.POLLOUT)
            pg.consume_input()
        result = None
        while True:
            while pg.is_busy():
                self._wait(deadline, select.POLLIN)
                pg.consume_input()
            found = pg.get_result()
            if found is None:
                break
            result = found
        if result is None:
            raise psycopg.OperationalError("no result")
        if result.status in _FATAL:
            raise self._server_error(result)
        columns = range(result.nfields)
        get = result.get_value
        return [tuple([get(row, column) for column in columns]) for row in range(result.ntuples)]

    def _wait(self, deadline: Deadline, events: int) -> None:
        if events != select.POLLIN:
            self._poll.modify(self.pg.socket, events)
        try:
            left = deadline.end - time.monotonic()
            if left <= 0 or not self._poll.poll(min(left, LONGEST_POLL) * 1000):
                raise DeadlineExceededError
        finally:
            if events != select.POLLIN:
                self._poll.modify(self.pg.socket, select.POLLIN)

    def _server_error(self, result: pq.abc.PGresult) -> Exception:
        state = result.error_field(pq.DiagnosticField.SQLSTATE)
        message = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b""
        if state is None:  # libpq's own words: the connection is gone
            return psycopg.OperationalError((result.error_message or b"").decode(errors="replace"))
        error = ServerError(state.decode(), message.decode(errors="replace"))
        if error.sqlstate in RESTARTING:
            self.close()
        elif error.sqlstate in UNPREPARED:
            self._prepared.clear()
        return error

    @property
    def closed(self) -> bool:
        """Whether the session is over."""
        return bool(self.pg.status == pq.ConnStatus.BAD)

    def is_stale(self) -> bool:
        """Return whether the server sent something unasked, mostly that it ends the session."""
        return bool(self._poll.poll(0))

    def close(self) -> None:
        """End the session."""
        self.opened.close()


class Pool:
    """Opens connections, at most `most` at a time, and keeps the free ones.

    A statement on a connection that had been kept, and that turns out to be dead, is sent once more on a new
    one: each of ours may be sent twice, as reads change nothing and writes name the state they change.

    Args:
        connect: Opens a connection before a deadline; it may block for longer.
        most: Connections of this process.
        shown: The address, for messages.
        hidden: Texts that no message may hold.
        pooler: Whether a pooler is in front of the server; None to find out by the first connection.
    """

    def __init__(
        self,
        connect: Callable[[float], psycopg.Connection[Any]],
        most: int,
        shown: str,
        hidden: Sequence[str | None],
        pooler: bool | None,
    ) -> None:
        self._connect = connect
        self._most = most
        self._shown = shown
        self._hidden = hidden
        self.pooler: bool | None = pooler
        self.runner = DeadlineExecutor(most)
        self._closed = False
        self._begin_again()
        renew_after_fork(self, Pool._after_fork)

    def run(
        self, doing: str, statement: Statement, values: Sequence[bytes | None], deadline: Deadline
    ) -> Rows:
        """Return the rows of one statement.

        Raises:
            ServerError: The server's error, which only the caller can judge.
            StrongroomError: Any other failure.
            DeadlineExceededError: There was no answer in time.
        """
        return self.use(doing, lambda connection: connection.run(statement, values, deadline), deadline)

    def use(self, doing: str, work: Callable[[Connection], T], deadline: Deadline) -> T:
        """Return the result of `work` with a connection; it is called again if the connection was dead.

        Raises:
            BackendUnavailableError: The connection was lost, and so was a new one.
        """
        reason = ""
        for _ in range(_RETRIES):
            connection, fresh = self._take(deadline)
            try:
                result = work(connection)
            except LostError as error:
                reason = str(error)
                self._lost()
                if fresh:
                    break
                continue
            except ServerError as error:
                if not self._may_try_again(error, connection, fresh=fresh):
                    raise
                continue
            except BaseException:
                connection.close()
                self._lost()
                raise
            self._give_back(connection)
            return result
        raise BackendUnavailableError(
            f"{TYPE_NAME}: {doing}: the connection to {self._shown} was lost: {redact_message(reason)}",
            provider=TYPE_NAME,
            hint="the outcome of a write is then unknown: read before you repeat it",
        )

    def _may_try_again(self, error: ServerError, connection: Connection, *, fresh: bool) -> bool:
        """Take a connection back on which the server refused; return whether to ask again."""
        if error.sqlstate == READ_ONLY and not fresh:
            # It was the primary when this connection was opened; another server is now.
            connection.close()
        if connection.closed:
            self._lost()
        else:
            self._give_back(connection)
        if error.sqlstate in UNPREPARED and connection.prepare:
            # There is a pooler that the options do not name, or the tables were changed since the planning.
            if error.sqlstate != "0A000":
                self.pooler = True
                self._drop_idle()
            return True
        return error.sqlstate in AGAIN or (error.sqlstate in {READ_ONLY, *RESTARTING} and not fresh)

    def open(self, deadline: Deadline) -> Connection:
        """Open a connection outside the pool.

        Raises:
            ConfigurationError: The URL cannot be understood.
            BackendUnavailableError: The server cannot be reached.
        """
        try:
            return self.runner.run(lambda: self._opened(deadline), deadline, Connection.close)
        except (psycopg.Error, LostError, ServerError) as error:
            reason, wrong = str(error), isinstance(error, psycopg.ProgrammingError)
        if wrong:  # its words may hold a part of the URL, and so of a password
            raise ConfigurationError(
                f"{TYPE_NAME}: the URL cannot be understood",
                provider=TYPE_NAME,
                hint="percent-encode what is special in user and password, or give `password`",
            )
        raise connect_error(reason, self._shown, *self._hidden)

    def _opened(self, deadline: Deadline) -> Connection:
        opened = self._connect(deadline.remaining())
        connection = Connection(opened, prepare=False)
        if not self.pooler:
            # A pooler tells clients a process of its own making, and not that of the server's session.
            pid = opened.pgconn.backend_pid
            values = (int8(pid), int8(0 if self.pooler is None else 1))
            try:
                [(own, _)] = connection.run(_SESSION, values, deadline)
            except BaseException:
                connection.close()
                raise
            if self.pooler is None:
                self.pooler = number_of(own) != pid
        connection.prepare = not self.pooler
        return connection

    def _take(self, deadline: Deadline) -> tuple[Connection, bool]:
        self._slots.take(deadline)
        try:
            while self._idle:
                try:
                    connection = self._idle.pop()
                except IndexError:
                    break
                now = time.monotonic()
                if now - connection.used > _STALE_SECONDS and connection.is_stale():
                    connection.close()
                    continue
                return connection, False
            return self.open(deadline), True
        except BaseException:
            self._slots.give_back()
            raise

    def _give_back(self, connection: Connection) -> None:
        connection.used = time.monotonic()
        self._idle.append(connection)
        self._slots.give_back()
        if self._closed:
            self._drop_idle()

    def _lost(self) -> None:
        # What ended one, such as a failover, ended the others, and each would cost a call one of its tries.
        self._drop_idle()
        self._slots.give_back()

    def _drop_idle(self) -> None:
        _close_all(self._idle)

    def close(self) -> None:
        """Close the free connections; the others, and those of later calls, are closed after their use."""
        self._closed = True
        self._drop_idle()
        self.runner.close()

    def _begin_again(self) -> None:
        self._idle: deque[Connection] = deque()
        # Ends the sessions of a provider that was not closed.
        self._end = weakref.finalize(self, _close_all, self._idle)
        self._end.atexit = False
        self._slots = Slots(self._most)

    def _after_fork(self) -> None:
        """Drop the connections in a forked child: they are its parent's."""
        never_collect(self._idle)
        self._end.detach()
        self._begin_again()


def _close_all(idle: deque[Connection]) -> None:
    while idle:
        try:
            idle.pop().close()
        except IndexError:  # another thread took the last one
            break


_SESSION = Statement(
    "",
    b"SELECT pg_catalog.pg_backend_pid()::bigint, CASE WHEN pg_catalog.pg_backend_pid() = $1 OR $2 = 1 THEN"
    b" pg_catalog.set_config('plan_cache_mode', 'force_generic_plan', false)"
    b" || pg_catalog.set_config('enable_seqscan', 'off', false)"
    b" || pg_catalog.set_config('jit', 'off', false) END",
    (INT8, INT8),
)
"""Asks for the server process and, unless a pooler shares it, sets how it plans.

Each of our statements finds its rows by an index, so one plan is good for all values, and planning each call
would cost a third of a write. A plan made while the tables were small would go through them row by row.
"""
