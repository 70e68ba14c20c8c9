"""The calls of a sealed store on PostgreSQL: each is one statement, and so one transaction and round trip."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from struct import pack
from typing import Final

from strongroom.clients import redact_message
from strongroom.deadlines import Deadline
from strongroom.errors import (
    BackendUnavailableError,
    ConfigurationError,
    SecretTooLargeError,
    StrongroomError,
    TamperedError,
    UnsupportedOperationError,
)
from strongroom.providers import Closeable
from strongroom.sealed import Change, Found, StoreGoneError

from strongroom_postgresql.connection import (
    BYTEA,
    INT8,
    TEXT,
    Connection,
    LostError,
    Pool,
    Rows,
    Statement,
    array,
    int8,
    number_of,
)
from strongroom_postgresql.errors import READ_ONLY, TYPE_NAME, UNDEFINED, UNIQUE, ServerError, translate
from strongroom_postgresql.listening import Listener, Written, payload
from strongroom_postgresql.statements import FORMAT, MIGRATIONS, Statements

__all__ = ["PostgreSQLBackend"]

_PAGE: Final = 2000
_BEYOND: Final = b"\xff" * 32
_TAG: Final = 16
_BATCH_BYTES: Final = 256 * 1024 * 1024
_CONFLICTS: Final = 3
_LONGEST_LOCK: Final = 1e12
"""Seconds: some thirty thousand years, whose end PostgreSQL can still write."""


class PostgreSQLLock:
    """A lock for one holder: a row with its end, by the server's clock."""

    def __init__(
        self, run: Callable[..., Rows], statements: Statements, name: bytes, ttl_seconds: float
    ) -> None:
        self._run, self._sql, self._name = run, statements, name
        self._holder, self._ttl = os.urandom(16), pack(">d", min(ttl_seconds, _LONGEST_LOCK))

    def acquire(self, deadline: Deadline) -> int | None:
        """Return its fencing token; None if another holder has it."""
        rows = self._run("lock", self._sql.acquire, (self._name, self._holder, self._ttl), deadline)
        return number_of(rows[0][0]) if rows else None

    def release(self, deadline: Deadline) -> None:
        """Give it back."""
        self._run("unlock", self._sql.release, (self._name, self._holder), deadline)


class PostgreSQLBackend:
    """A sealed store in one schema of a database.

    Args:
        pool: Where connections come from.
        schema: The schema's name.
        migrate: Whether to make and upgrade the tables.
        shown: The address, for messages.
    """

    def __init__(self, pool: Pool, schema: str, *, migrate: bool, shown: str) -> None:
        self._pool = pool
        self._schema = schema
        self._migrate = migrate
        self._shown = shown
        self._sql = Statements(schema)
        self._channel = f"strongroom_{schema}".encode()[:63]
        self._listeners: list[Listener] = []

    # --- the store ---

    def header(self, deadline: Deadline) -> bytes:
        rows = self._run("read the header", self._sql.header, (), deadline)
        if not rows:
            raise StoreGoneError
        return self._header_of(rows)

    def create(self, header: bytes, deadline: Deadline) -> bytes:
        def work(connection: Connection) -> bytes:
            try:
                return self._created(connection, header, deadline)
            except BaseException:
                connection.close()  # which undoes what was begun
                raise

        try:
            return self._pool.use("make the store", work, deadline)
        except ServerError as error:
            failed = translate(error, f"make the store in the schema {self._schema}")
        raise failed

    def _created(self, connection: Connection, header: bytes, deadline: Deadline) -> bytes:
        """Make schema, tables and header if they are missing, in one transaction, one host at a time."""

        def run(sql: str, *values: tuple[int, bytes]) -> Rows:
            types = tuple(kind for kind, _ in values)
            statement = Statement("", sql.replace("{schema}", f'"{self._schema}"').encode(), types)
            return connection.run(statement, [value for _, value in values], deadline)

        def is_there(function: str, name: str) -> bool:
            found = run(f"SELECT ({function}($1) IS NOT NULL)::int::bigint", (TEXT, name.encode()))
            return bool(number_of(found[0][0]))

        run("BEGIN")
        # One host after the other; the lock ends with the transaction, also behind a pooler.
        run(
            "SELECT pg_advisory_xact_lock(hashtext($1))::text::bytea",
            (TEXT, f"strongroom {self._schema}".encode()),
        )
        if not is_there("to_regclass", f'"{self._schema}".store'):
            if not self._migrate:
                raise ConfigurationError(
                    f"{TYPE_NAME}: there is no store in the schema {self._schema} of {self._shown}",
                    provider=TYPE_NAME,
                    hint="make it as docs/how-to/backends/postgresql.md says, or set migrate: true",
                )
            if not is_there("to_regnamespace", f'"{self._schema}"'):
                run("CREATE SCHEMA {schema}")
            for step in MIGRATIONS:
                for one in step.split(";"):
                    run(one)
        rows = run("SELECT header, format::bigint FROM {schema}.store")
        if rows:
            header = self._header_of(rows)
        else:
            run(
                "INSERT INTO {schema}.store VALUES (1, $1::bigint, $2)", (INT8, int8(FORMAT)), (BYTEA, header)
            )
        run("COMMIT")
        return header

    @staticmethod
    def _header_of(rows: Rows) -> bytes:
        header, version = rows[0]
        if number_of(version) > FORMAT:
            raise ConfigurationError(
                f"{TYPE_NAME}: the tables have format {number_of(version)}, this version knows {FORMAT}",
                provider=TYPE_NAME,
                hint="install the version of strongroom-postgresql that the other hosts have",
            )
        return header or b""

    def replace_header(self, before: bytes, after: bytes, deadline: Deadline) -> bool:
        return bool(self._run("replace the header", self._sql.replace_header, (before, after), deadline))

    # --- reading ---

    def read(self, names: Sequence[bytes], deadline: Deadline) -> dict[bytes, Found]:
        if len(names) == 1:
            rows = self._run("read", self._sql.read, names, deadline)
        else:
            rows = self._run("read", self._sql.read_many, (array(BYTEA, names),), deadline)
        if len(rows) == 1:
            name, head, number, body = rows[0]
            assert name is not None  # noqa: S101  # the column's constraint
            assert head is not None  # noqa: S101  # as above
            return {name: Found(head, () if body is None else ((number_of(number), body),))}
        by_name: dict[bytes, tuple[bytes, list[tuple[int, bytes]]]] = {}
        for name, head, number, body in rows:
            _, bodies = by_name.setdefault(name or b"", (head or b"", []))
            if body is not None:
                bodies.append((number_of(number), body))
        return {name: Found(head, sorted(bodies)) for name, (head, bodies) in by_name.items()}

    def heads(self, names: Sequence[bytes], deadline: Deadline) -> dict[bytes, Found]:
        rows = self._run("read", self._sql.heads, (array(BYTEA, names),), deadline)
        return dict(_last(rows))

    def row(self, name: bytes, number: int, deadline: Deadline) -> bytes | None:
        rows = self._run("read a version", self._sql.row, (name, int8(number)), deadline)
        return rows[0][0] if rows else None

    def scan(
        self, start: bytes, part: Callable[[], Deadline], after: bytes | None = None
    ) -> Iterator[list[tuple[bytes, Found]]]:
        least = start if after is None else after + b"\0"
        end = start + _BEYOND
        while True:
            rows = self._run("list", self._sql.scan, (least, end, int8(_PAGE)), part())
            page = _last(rows)
            if page:
                yield page
            if len(rows) < _PAGE:
                return
            least = page[-1][0] + b"\0"

    # --- writing ---

    def write(self, changes: Sequence[Change], deadline: Deadline) -> dict[bytes, bytes | None] | None:
        for _ in range(_CONFLICTS):
            try:
                return self._written(changes, deadline)
            except ServerError as error:
                if error.sqlstate != UNIQUE:
                    raise translate(error, "write") from None
            conflicts = self._differing(changes, deadline)
            if conflicts:
                return conflicts
            # Another host's transaction was under way, and has been undone since.
        raise TamperedError(
            f"{TYPE_NAME}: the store has versions that belong to no secret",
            provider=TYPE_NAME,
            hint="rows of `secret` were removed or put back: restore a backup",
        )

    def _written(self, changes: Sequence[Change], deadline: Deadline) -> dict[bytes, bytes | None] | None:
        notification = payload([one.name for one in changes if one.visible])
        if len(changes) > 1:
            return self._written_together(changes, notification, deadline)
        one = changes[0]
        drops = min(len(one.dropped), 2)
        numbers = [int8(number) for number in one.dropped]
        dropped = array(INT8, numbers) if drops > 1 else numbers[0] if numbers else None
        values: list[bytes | None] = [one.name, int8(one.number), int8(one.low), one.head, one.body, dropped]
        values += (self._channel, notification)
        if one.before is None:  # of what is new there is nothing to drop
            rows = self._checked("write", self._sql.insert, values, deadline)
        else:
            statement = self._sql.updates[drops]
            rows = self._checked("write", statement, [*values, one.before[-_TAG:]], deadline)
        added, head = rows[0]
        return None if number_of(added) else {one.name: head}

    def _written_together(
        self, changes: Sequence[Change], notification: bytes, deadline: Deadline
    ) -> dict[bytes, bytes | None] | None:
        if sum(len(one.head) + len(one.body) for one in changes) > _BATCH_BYTES:
            raise SecretTooLargeError(
                "",
                f"{TYPE_NAME}: a batch is longer than {_BATCH_BYTES} bytes",
                provider=TYPE_NAME,
            )
        drops = [(one.name, number) for one in changes for number in one.dropped]
        values = [
            array(BYTEA, [one.name for one in changes]),
            array(INT8, [int8(one.number) for one in changes]),
            array(INT8, [int8(one.low) for one in changes]),
            array(BYTEA, [one.head for one in changes]),
            array(BYTEA, [one.body for one in changes]),
            array(BYTEA, [None if one.before is None else one.before[-_TAG:] for one in changes]),
            array(BYTEA, [name for name, _ in drops]),
            array(INT8, [int8(number) for _, number in drops]),
            self._channel,
            notification,
        ]
        rows = self._checked("write", self._sql.write_many, values, deadline)
        if rows == [(None, None)]:
            return None
        heads = {name or b"": head for name, head in rows}
        return {one.name: heads.get(one.name) for one in changes if heads.get(one.name) != one.before}

    def _differing(self, changes: Sequence[Change], deadline: Deadline) -> dict[bytes, bytes | None]:
        found = self.heads([one.name for one in changes], deadline)
        heads = {one.name: found[one.name].head if one.name in found else None for one in changes}
        return {one.name: heads[one.name] for one in changes if heads[one.name] != one.before}

    # --- the rest ---

    def subscribe(self, changed: Callable[[Written | None], object], deadline: Deadline) -> Closeable:
        connection = self._pool.open(deadline)
        if self._pool.pooler:
            connection.close()
            raise UnsupportedOperationError(
                f"{TYPE_NAME}: no notice of changes comes through a pooler",
                provider=TYPE_NAME,
                hint="give the server's own address, or let changes be polled for",
            )
        try:
            listener = Listener(self._pool.open, self._channel, changed, connection, deadline)
        except ServerError as error:
            failed = _not_heard() if error.sqlstate == READ_ONLY else translate(error, "subscribe")
        except LostError as error:
            said = f"the connection to {self._shown} was lost: {redact_message(str(error))}"
            failed = BackendUnavailableError(f"{TYPE_NAME}: subscribe: {said}", provider=TYPE_NAME)
        else:
            self._listeners.append(listener)
            for one in [one for one in self._listeners if one.ended]:  # it holds what its callback does
                with suppress(ValueError):
                    self._listeners.remove(one)
            return listener
        raise failed

    def lock(self, name: bytes, ttl_seconds: float, _deadline: Deadline) -> PostgreSQLLock:
        """Return the lock of a sealed name, timed by the server's clock; this makes no request."""
        return PostgreSQLLock(self._run, self._sql, name, ttl_seconds)

    def close(self) -> None:
        listeners, self._listeners = self._listeners, []
        for one in listeners:
            one.close()
        self._pool.close()

    def _run(
        self, doing: str, statement: Statement, values: Sequence[bytes | None], deadline: Deadline
    ) -> Rows:
        try:
            return self._checked(doing, statement, values, deadline)
        except ServerError as error:
            failed = translate(error, doing)
        raise failed

    def _checked(
        self, doing: str, statement: Statement, values: Sequence[bytes | None], deadline: Deadline
    ) -> Rows:
        """Run a statement; a missing table means that there is no store."""
        try:
            return self._pool.run(doing, statement, values, deadline)
        except ServerError as error:
            if error.sqlstate not in UNDEFINED:
                raise
        raise StoreGoneError

    def server(self, deadline: Deadline) -> dict[str, str]:
        """Return the server's facts for `doctor`, and the rights of this role."""
        rows = self._run(
            "look at the server",
            Statement(
                "strongroom_server",
                b"SELECT convert_to(current_setting('server_version'), 'UTF8'),"
                b" convert_to(current_user::text, 'UTF8'), pg_is_in_recovery()::int::bigint,"
                b" (found IS NOT NULL)::int::bigint, (CASE WHEN found IS NOT NULL THEN"
                b" has_table_privilege(found, 'INSERT') WHEN to_regnamespace($2) IS NOT NULL THEN"
                b" has_schema_privilege(to_regnamespace($2), 'CREATE')"
                b" ELSE has_database_privilege(current_database(), 'CREATE') END)::int::bigint"
                b" FROM to_regclass($1) found",
                (TEXT, TEXT),
            ),
            (f'"{self._schema}".version'.encode(), f'"{self._schema}"'.encode()),
            deadline,
        )
        version, role, replica, store, may = rows[0]
        if number_of(store):
            there = "there"
        elif not self._migrate:
            there = "not there: make it as docs/how-to/backends/postgresql.md says, or set migrate: true"
        elif not number_of(may):
            there = "not there, and this role may not make it: docs/how-to/backends/postgresql.md says how"
        else:
            there = "made by the first write"
        return {
            "server": (version or b"").decode(),
            "role": (role or b"").decode(),
            "replica": "yes" if number_of(replica) else "no",
            "pooler": "yes" if self._pool.pooler else "no",
            "writes": "allowed" if number_of(may) and not number_of(replica) else "not allowed",
            "store": there,
        }


def _not_heard() -> StrongroomError:
    """Return the error of a server that takes no LISTEN, as it only follows another one."""
    return UnsupportedOperationError(
        f"{TYPE_NAME}: a replica does not report changes",
        provider=TYPE_NAME,
        hint="give the address of the primary, or let changes be polled for",
    )


def _last(rows: Rows) -> list[tuple[bytes, Found]]:
    return [
        (name or b"", Found(head or b"", () if last is None else ((number_of(last), b""),)))
        for name, head, last in rows
    ]
