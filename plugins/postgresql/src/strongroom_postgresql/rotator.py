"""The rotator `postgresql`: the password of a role, or of two that take turns.

A password goes to the server as its SCRAM verifier alone, so that no log of the server holds it.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from strongroom import generate_password
from strongroom.errors import ConfigurationError, RotationError
from strongroom.parallel import start_thread
from strongroom.rotation import UserRotator, current_step, redact

from strongroom_postgresql.connection import LONGEST_POLL
from strongroom_postgresql.errors import check_url
from strongroom_postgresql.userlist import check_password, remove_user, write_user
from strongroom_postgresql.verifiers import encrypted, fits

__all__ = ["PostgreSQLRotator"]

_log = logging.getLogger("strongroom.rotation")
_THROWAWAY_LIFE: Final = timedelta(hours=1)
_SHOWN: Final = 300
_MARGIN: Final = 1.0
"""Seconds that an answer may take beyond the time in which the server itself ends a statement."""
_ROLE: Final = """
    SELECT rolcanlogin, rolvaliduntil <= now(), rolvaliduntil::text, {} FROM pg_catalog.{} WHERE rolname = %s
"""
_WITH_VERIFIER: Final = _ROLE.format("rolpassword", "pg_authid")
_WITHOUT_VERIFIER: Final = _ROLE.format("NULL", "pg_roles")
_SEES_VERIFIERS: Final = "SELECT has_column_privilege('pg_catalog.pg_authid', 'rolpassword', 'SELECT')"


class PostgreSQLRotator(UserRotator):
    """Changes the password of a role of PostgreSQL, and tries it by a login.

    Nothing is kept open between two calls. The secret is the password alone, or a JSON object with `username`
    and `password`; where two roles take turns it is the latter, and the new value names the other one.

    Args:
        url: Where an administrator logs in: a superuser, or a role that may alter the others.
        role: The role.
        role_b: The other one, for `alternating`.
        strategy: `single`: the role gets another password, and logins with the old one fail from then on
            until readers have the new one. `alternating`: the other role gets one, so that none fail.
        username: The administrator; by default the URL's.
        password: Its password; by default the URL's. If it is the very secret that is rotated, the old and
            the new one are tried too.
        login: URLs where applications log in, each tried by `verify`; without them that of `url`.
        userlist: The `auth_file` of a pgbouncer here, in which the password is changed too.
        pgbouncer: The URL of its console, for RELOAD.
        timeout_seconds: How long one login or change may take.

    Raises:
        ConfigurationError: An option is not what it has to be.
    """

    def __init__(
        self,
        url: str,
        role: str,
        *,
        role_b: str | None = None,
        strategy: Literal["single", "alternating"] = "single",
        username: str | None = None,
        password: str | None = None,
        login: Iterable[str] = (),
        userlist: Path | None = None,
        pgbouncer: str | None = None,
        timeout_seconds: float = 30,
    ) -> None:
        roles = [one for one in (role, role_b) if one is not None]
        super().__init__("postgresql", roles, alternating=strategy == "alternating")
        self._admin = _settings(url)
        self._admin |= {name: one for name, one in {"user": username, "password": password}.items() if one}
        database = self._admin.get("dbname") or self._admin.get("user") or "postgres"
        self._addresses = [
            {"dbname": database, **_address(one)} for one in [*map(_settings, login)] or [self._admin]
        ]
        self._userlist = userlist
        self._console = None if pgbouncer is None else _settings(pgbouncer)
        self._timeout = timeout_seconds

    def __repr__(self) -> str:
        return f"<PostgreSQLRotator of {' and '.join(self.users)} at {_shown(self._admin)}>"

    # --- the steps ---

    def apply(self, key: str, old: str, new: str) -> None:
        """Set the password of the role that `new` names; a second call changes nothing.

        Raises:
            RotationError: The server refuses it, or there is no such role.
        """
        role, password = self.login_of(key, new)
        if self._userlist is not None:
            check_password(self._userlist, password)  # before the role has it
        with self._administrator(key, old, new) as connection:
            verifier = self._verifier_of(connection, role)
            step = current_step()
            first = step is not None and not step.repeated
            if first or verifier is None or not fits(verifier, password):
                verifier = encrypted(connection, role, password)
                self._alter(connection, role, verifier)
        if self._userlist is not None:
            write_user(self._userlist, role, password=password, verifier=verifier, seconds=self._timeout)
            self._reload()

    def verify(self, key: str, new: str) -> None:
        """Log in by the new password, wherever applications do, and ask for something.

        Raises:
            RotationError: One address does not take it.
        """
        role, password = self.login_of(key, new)
        for address in self._addresses:
            if not self._logs_in(address, role, password):
                self._compare(key, new, role, password, address)

    def prepare_rehearsal(self, key: str, old: str) -> None:
        """Raise if the administrator may not change the roles, and drop the roles of killed rehearsals.

        Raises:
            RotationError: There is no such role, or the server refuses it.
        """
        with self._administrator(key, old) as connection:
            self._sweep(connection)
            for role in self.users:
                self._verifier_of(connection, role)
                self._alter(connection, role, encrypted(connection, role, generate_password()), undo=True)

    def make_throwaway(self, key: str, old: str, names: dict[str, str], password: str) -> None:
        """Make roles that may log in for an hour and have no rights.

        Raises:
            RotationError: The server refuses it.
        """
        with self._administrator(key, old) as connection:
            for name in names:
                self._make(connection, name, encrypted(connection, name, password))

    def remove_throwaway(self, key: str, old: str, names: Sequence[str]) -> None:
        """Drop those roles, also from a pooler's file.

        Raises:
            RotationError: The server refuses it.
        """
        with self._administrator(key, old) as connection:
            for name in names:
                self._drop(connection, name)
        if self._userlist is not None:
            for name in names:
                remove_user(self._userlist, name, seconds=self._timeout)
            self._reload()

    # --- as the administrator ---

    @contextmanager
    def _administrator(self, key: str, *values: str) -> Iterator[psycopg.Connection[Any]]:
        connection = self.as_administrator(
            self._connected, self._admin.get("user"), self._admin.get("password"), key, values
        )
        try:
            yield connection
        finally:
            connection.close()

    def _connected(self, password: str | None) -> psycopg.Connection[Any]:
        settings = {**self._admin, **({} if password is None else {"password": password})}
        try:
            return psycopg.connect(**settings, connect_timeout=self._seconds(), autocommit=True)
        except (psycopg.Error, OSError, UnicodeError) as error:
            said = self._message_of(error, settings)
        raise RotationError(f"postgresql: the administrator cannot log in at {_shown(self._admin)}: {said}")

    def _verifier_of(self, connection: psycopg.Connection[Any], role: str) -> str | None:
        """Return the verifier of a role, if the administrator may see it.

        Raises:
            RotationError: There is no such role, or a new password of it could not work.
        """
        doing = f"looking at {role!r}"
        superuser = connection.info.parameter_status("is_superuser") == "on"
        sees = superuser or self._execute(connection, _SEES_VERIFIERS, doing).fetchone() == (True,)
        question = _WITH_VERIFIER if sees else _WITHOUT_VERIFIER
        row = self._execute(connection, question, doing, role).fetchone()
        if row is None:
            raise RotationError(f"postgresql: there is no role {role!r} at {_shown(self._admin)}")
        if not row[0]:
            raise RotationError(
                f"postgresql: the role {role!r} may not log in",
                hint=f"ALTER ROLE {sql.Identifier(role).as_string()} LOGIN",
            )
        if row[1]:  # a new password does not change it, and would be refused as well
            raise RotationError(
                f"postgresql: the password of {role!r} was valid only until {row[2]}",
                hint=f"ALTER ROLE {sql.Identifier(role).as_string()} VALID UNTIL 'infinity'",
            )
        verifier: str | None = row[3]
        return verifier

    def _alter(
        self, connection: psycopg.Connection[Any], role: str, verifier: str, *, undo: bool = False
    ) -> None:
        # In one round trip; the limit ends with the transaction, for behind a pooler others get the session.
        statement = sql.SQL("BEGIN; SET LOCAL statement_timeout = {}; ALTER ROLE {} PASSWORD {}; {}").format(
            sql.Literal(int(self._timeout * 1000)),
            sql.Identifier(role),
            sql.Literal(verifier),
            sql.SQL("ROLLBACK" if undo else "COMMIT"),
        )
        self._execute(connection, statement, f"changing the password of {role!r}", hidden=verifier)

    def _make(self, connection: psycopg.Connection[Any], name: str, verifier: str) -> None:
        until = sql.Literal((datetime.now(UTC) + _THROWAWAY_LIFE).isoformat())
        statement = sql.SQL(
            "CREATE ROLE {} LOGIN NOINHERIT CONNECTION LIMIT 8 VALID UNTIL {} PASSWORD {}"
        ).format(sql.Identifier(name), until, sql.Literal(verifier))
        self._execute(connection, statement, "making a throwaway role", hidden=verifier)

    def _sweep(self, connection: psycopg.Connection[Any]) -> None:
        """Drop the roles of killed rehearsals, which cannot log in any more."""
        leftovers = self._execute(
            connection,
            "SELECT rolname FROM pg_catalog.pg_roles"
            " WHERE starts_with(rolname, 'strongroom_rehearsal_') AND rolvaliduntil < now()",
            "looking for what rehearsals have left",
        ).fetchall()
        for (name,) in leftovers:
            if self.is_left_over(name):
                self._drop(connection, name)

    def _drop(self, connection: psycopg.Connection[Any], name: str) -> None:
        statement = sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name))
        self._execute(connection, statement, "dropping a throwaway role")

    def _execute(
        self,
        connection: psycopg.Connection[Any],
        statement: Any,
        doing: str,
        *values: object,
        hidden: str | None = None,
    ) -> psycopg.Cursor[Any]:
        late = threading.Event()
        try:
            with _cut_after(connection, self._timeout + _MARGIN, late):
                return connection.execute(statement, values or None, prepare=False)
        except psycopg.Error as error:
            # Not its whole text, which may show the statement; another server may quote more.
            code, primary = error.sqlstate or "", error.diag.message_primary or ""
            known = [one for one in (self._admin.get("password"), connection.info.password, hidden) if one]
            words = redact(known, primary, shown=_SHOWN) or type(error).__name__
        if late.is_set():
            raise RotationError(f"postgresql: {doing}: no answer within {self._timeout:g} s")
        raise RotationError(f"postgresql: {doing} was refused: {words} {code}".rstrip())

    def _reload(self) -> None:
        if self._console is None:
            return
        try:
            # pgbouncer's console takes simple queries alone.
            with psycopg.connect(
                **self._console, connect_timeout=self._seconds(), autocommit=True
            ) as connection:
                self._ask(connection, b"RELOAD")
        except (psycopg.Error, OSError, UnicodeError) as error:
            said = self._message_of(error, self._console)
        else:
            return
        raise RotationError(f"pgbouncer at {_shown(self._console)} did not read its auth_file again: {said}")

    # --- as the role ---

    def _logs_in(self, address: dict[str, Any], role: str, password: str) -> bool:
        """Log in; return whether the server has asked for the password."""
        settings = {**address, "user": role, "password": password}
        try:
            with psycopg.connect(**settings, connect_timeout=self._seconds(), autocommit=True) as connection:
                # A pooler may let in whom the server behind it refuses.
                self._ask(connection, b"SELECT 1")
                return bool(connection.pgconn.used_password)
        except (psycopg.Error, OSError, UnicodeError) as error:
            said = self._message_of(error, settings)
        raise RotationError(f"postgresql: {role!r} cannot log in at {_shown(address)}: {said}")

    def _compare(self, key: str, new: str, role: str, password: str, address: dict[str, Any]) -> None:
        """Compare the password with the server's verifier, if the role logs in without its password."""
        with self._administrator(key, new) as connection:
            verifier = self._verifier_of(connection, role)
        if verifier is None or not password.isascii():  # which libpq alone can compare
            _log.warning(
                "postgresql: %s lets %s in without its password, so the new password was not tested",
                _shown(address),
                role,
            )
        elif not fits(verifier, password):
            raise RotationError(f"postgresql: the password of {role!r} is not the new one")

    def _ask(self, connection: psycopg.Connection[Any], statement: bytes) -> None:
        """Send a simple query, and raise if no good answer comes in time."""
        raw = connection.pgconn
        until = time.monotonic() + self._timeout
        poll = select.poll()  # not `select`, which takes no descriptor beyond 1023
        poll.register(raw.socket, select.POLLIN)
        raw.send_query(statement)
        while True:
            raw.flush()
            left = until - time.monotonic()
            if left <= 0 or not poll.poll(min(left, LONGEST_POLL) * 1000):
                raise psycopg.OperationalError(f"no answer within {self._timeout:g} s")
            raw.consume_input()
            while not raw.is_busy():
                result = raw.get_result()
                if result is None:
                    return
                if result.status == psycopg.pq.ExecStatus.FATAL_ERROR:
                    raise psycopg.OperationalError(result.get_error_message())

    def _seconds(self) -> int:
        return max(2, round(self._timeout))  # what libpq takes at least

    def _message_of(self, error: BaseException, settings: dict[str, Any]) -> str:
        known = [str(one) for one in (settings.get("password"), self._admin.get("password")) if one]
        return redact(known, str(error), shown=_SHOWN) or type(error).__name__


@contextmanager
def _cut_after(connection: psycopg.Connection[Any], seconds: float, late: threading.Event) -> Iterator[None]:
    """Cut the connection, and set `late`, if the block takes longer: its statement ends with an error then.

    libpq itself waits as long as nothing comes, as from a host that is gone or behind a firewall that drops.
    """

    def cut() -> None:
        late.set()
        with suppress(OSError):
            opened.shutdown(socket.SHUT_RDWR)

    with socket.socket(fileno=os.dup(connection.fileno())) as opened:
        timer = threading.Timer(seconds, cut)
        timer.daemon = True
        start_thread(timer)
        try:
            yield
        finally:
            timer.cancel()


def _settings(url: str) -> dict[str, Any]:
    check_url(url)
    settings: dict[str, Any] | None = None
    with suppress(psycopg.Error, ValueError):
        settings = dict(conninfo_to_dict(url))
    if settings is None:  # outside the `except` block: libpq's words may show the URL
        raise ConfigurationError(
            "rotator postgresql: a URL is not one that libpq takes",
            hint="write postgresql://USER@HOST:PORT/DATABASE, with %-codes for what a URL cannot hold; the "
            "password may be in the option `password`",
        )
    settings.pop("connect_timeout", None)
    return {"application_name": "strongroom", **settings}


def _address(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the address to log in at, without the user."""
    own = {"user", "password", "passfile", "sslcert", "sslkey", "sslpassword"}
    return {name: one for name, one in settings.items() if name not in own}


def _shown(settings: dict[str, Any]) -> str:
    host = settings.get("host") or settings.get("hostaddr") or "the local socket"
    port = settings.get("port")
    return f"{host}:{port}" if port else str(host)
