"""The rotator `mariadb`: the password of a user, or of two that take turns.

A password goes to the server as what the user's plugin keeps of it, so that no log of the server holds it.
"""

from __future__ import annotations

import json
import os
import re
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, Literal, NamedTuple, NoReturn, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

import pymysql
from strongroom.clients import shut_down_socket, splits_login
from strongroom.deadlines import Deadline, DeadlineExceededError, DeadlineExecutor
from strongroom.errors import ConfigurationError, RotationError
from strongroom.rotation import UserRotator, redact

from strongroom_mariadb.hashes import PLUGINS, hashed

__all__ = ["MariaDBRotator"]

T = TypeVar("T")
_PORT: Final = 3306
_SHOWN: Final = 300


class _Account(NamedTuple):
    """A user for some hosts, and its ways to log in: plugins and what they store."""

    user: str
    host: str
    ways: tuple[tuple[str, str], ...]


class MariaDBRotator(UserRotator):
    """Changes the password of a user of MariaDB, and tries it by a login and a statement.

    Nothing is kept open between two calls. The secret is the password alone, or a JSON object with `username`
    and `password`; where two users take turns it is the latter, and the new value names the other one. A user
    keeps the plugin that it has, and what else it may log in by.

    Args:
        url: Where an administrator logs in: one with CREATE USER, and SELECT on `mysql.global_priv`.
        role: The user: its accounts for all hosts, or that of `name@host`.
        role_b: The other one, for `alternating`.
        strategy: `single`: the user gets another password, and logins with the old one fail from then on
            until readers have the new one. `alternating`: the other user gets one, so that none fail.
        username: The administrator; by default the URL's.
        password: Its password; by default the URL's. If it is the very secret that is rotated, the old and
            the new one are tried too.
        login: URLs where applications log in, each tried by `verify`; without them that of `url`.
        ca_file: The CA of the server's certificate, PEM; with it TLS is required.
        cert_file: The client's certificate, PEM.
        key_file: Its private key, PEM.
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
        ca_file: str | os.PathLike[str] | None = None,
        cert_file: str | os.PathLike[str] | None = None,
        key_file: str | os.PathLike[str] | None = None,
        timeout_seconds: float = 30,
    ) -> None:
        self._hosts = dict(_account(one) for one in (role, role_b) if one is not None)
        users = [_account(one)[0] for one in (role, role_b) if one is not None]
        super().__init__("mariadb", users, alternating=strategy == "alternating")
        self._admin = _settings(url)
        self._admin |= {name: one for name, one in {"user": username, "password": password}.items() if one}
        own = {"user", "password"}
        self._addresses = [
            {name: one for name, one in address.items() if name not in own}
            for address in [*map(_settings, login)] or [self._admin]
        ]
        tls = {"ssl_ca": ca_file, "ssl_cert": cert_file, "ssl_key": key_file}
        self._tls: dict[str, Any] = {name: os.fspath(path) for name, path in tls.items() if path is not None}
        if cert_file is not None:
            self._tls["ssl_key_password"] = ""  # else OpenSSL asks for it at the terminal
        if ca_file is not None:
            self._tls |= {"ssl_verify_cert": True, "ssl_verify_identity": True}
        self._timeout = timeout_seconds
        self._runner = DeadlineExecutor()
        self._abandoned: weakref.WeakSet[Any] = weakref.WeakSet()
        self._is_verified = ca_file is not None

    def __repr__(self) -> str:
        return f"<MariaDBRotator of {' and '.join(self.users)} at {_shown(self._admin)}>"

    # --- the steps ---

    def apply(self, key: str, old: str, new: str) -> None:
        """Set the password of the user that `new` names; a second call changes nothing.

        Raises:
            RotationError: The server refuses it, or there is no such user.
        """
        user, password = self.login_of(key, new)
        with self._administrator(key, old, new) as connection:
            for account in self._found(connection, user):
                ways = [
                    (plugin, hashed(password, plugin) if plugin in PLUGINS else digest)
                    for plugin, digest in account.ways
                ]
                if tuple(ways) != account.ways:
                    template = " OR ".join("{} USING %s" if digest else "{}" for _, digest in ways)
                    # The names of plugins come from the server's own table.
                    clause = template.format(*(_name(plugin) for plugin, _ in ways))
                    statement = f"ALTER USER %s@%s IDENTIFIED VIA {clause}"
                    digests = [digest for _, digest in ways if digest]
                    doing = f"changing the password of {user!r}"
                    self._execute(
                        *(connection, doing, statement, account.user, account.host, *digests), hidden=digests
                    )

    def verify(self, key: str, new: str) -> None:
        """Log in by the new password, wherever applications do, and ask for something.

        Raises:
            RotationError: One address does not take it.
        """
        user, password = self.login_of(key, new)
        for address in self._addresses:
            settings = {**address, "user": user, "password": password}
            try:
                connection = self._connected(settings)
                try:
                    self._rows(connection, "SELECT 1")  # an expired password logs in, and is refused here
                    continue
                finally:
                    self._close(connection)
            except Exception as error:  # noqa: BLE001  # as for an administrator's
                said = self._message_of(error, password)
            raise RotationError(f"mariadb: {user!r} cannot log in at {_shown(address)}: {said}")

    def prepare_rehearsal(self, key: str, old: str) -> None:
        """Raise if the users are missing, and drop the users of killed rehearsals.

        Raises:
            RotationError: Their passwords cannot be changed, or the server refuses it.
        """
        with self._administrator(key, old) as connection:
            for user in self.users:
                self._found(connection, user)
            self._sweep(connection)

    def make_throwaway(self, key: str, old: str, names: dict[str, str], password: str) -> None:
        """Make users with the plugins of the real ones and no rights.

        Raises:
            RotationError: The server refuses it.
        """
        with self._administrator(key, old) as connection:
            for name, user in names.items():
                ways = self._found(connection, user)[0].ways
                plugin = next(one for one, _ in ways if one in PLUGINS)
                statement = f"CREATE USER %s@'%%' IDENTIFIED VIA {_name(plugin)} USING %s"
                digest = hashed(password, plugin)
                self._execute(connection, "making a throwaway user", statement, name, digest, hidden=[digest])

    def remove_throwaway(self, key: str, old: str, names: Sequence[str]) -> None:
        """Drop those users.

        Raises:
            RotationError: The server refuses it.
        """
        with self._administrator(key, old) as connection:
            for name in names:
                self._drop(connection, name)

    # --- as the administrator ---

    @contextmanager
    def _administrator(self, key: str, *values: str) -> Iterator[Any]:
        connection = self.as_administrator(
            self._logged_in, self._admin.get("user"), self._admin.get("password", ""), key, values
        )
        try:
            yield connection
        finally:
            self._close(connection)

    def _logged_in(self, password: str | None) -> Any:
        try:
            return self._connected({**self._admin, "password": password})
        except Exception as error:  # noqa: BLE001  # PyMySQL's, the socket's, and what a bad answer makes of it
            said = self._message_of(error, password or "")
        raise RotationError(f"mariadb: the administrator cannot log in at {_shown(self._admin)}: {said}")

    def _found(self, connection: Any, user: str) -> list[_Account]:
        """Return the accounts of a user whose password can be changed.

        Raises:
            RotationError: There is none, or its password does not decide whether it logs in.
        """
        host = self._hosts.get(user, "%")  # of a throwaway user
        rows = self._execute(
            connection,
            f"looking at {user!r} in mysql.global_priv",
            "SELECT Host, Priv FROM mysql.global_priv WHERE User = %s AND (%s IS NULL OR Host = %s)",
            *(user, host, host),
            columns=2,
        )
        if not rows:
            raise RotationError(f"mariadb: there is no user {user!r} at {_shown(self._admin)}")
        return [_read(user, at, text) for at, text in rows]

    def _sweep(self, connection: Any) -> None:
        """Drop the users of killed rehearsals."""
        rows = self._execute(
            connection,
            "looking for what rehearsals have left",
            "SELECT User FROM mysql.global_priv WHERE User LIKE %s",
            "strongroom\\_rehearsal\\_%",
            columns=1,
        )
        for (name,) in rows:
            if self.is_left_over(name):
                self._drop(connection, name)

    def _drop(self, connection: Any, name: str) -> None:
        self._execute(connection, "dropping a temporary user", "DROP USER IF EXISTS %s@'%%'", name)

    def _execute(
        self,
        connection: Any,
        doing: str,
        statement: str,
        *values: object,
        hidden: Sequence[str] = (),
        columns: int | None = None,
    ) -> Any:
        """Return the rows of a statement, of so many columns; no error shows `hidden`.

        Raises:
            RotationError: The server refuses the statement, or its answer is not one to it.
        """
        try:
            rows = self._rows(connection, statement, values)
            if columns is None or all(len(row) == columns for row in rows):
                return rows
            reason = "the answer is not one to that statement"
        except Exception as error:  # noqa: BLE001  # as for a login
            # A server's words on a statement show parts of it, and may show more.
            reason = self._message_of(error, bytes(connection.password).decode(), *hidden)
        raise RotationError(f"mariadb: {doing} was refused: {reason}")

    # --- connections ---

    def _connected(self, settings: dict[str, Any]) -> Any:
        is_trusted = self._is_verified or "unix_socket" in settings
        # Of text, PyMySQL would send Latin-1; the server keeps, and other clients send, UTF-8.
        connection = pymysql.connect(
            **settings | {"password": (settings.get("password") or "").encode()},
            **self._tls,
            auth_plugin_map={} if is_trusted else _REFUSED,
            autocommit=True,
            charset="utf8mb4",
            connect_timeout=max(1, round(self._timeout)),
            read_timeout=self._timeout,
            write_timeout=self._timeout,
            defer_connect=True,
        )
        self._within(connection, connection.connect, lambda _: connection.close())
        if "MariaDB" not in str(connection.get_server_info()):
            connection.close()
            raise pymysql.OperationalError(0, "it is not a MariaDB server")
        return connection

    def _rows(self, connection: Any, statement: str, values: Sequence[object] = ()) -> Any:
        def ask() -> Any:
            with connection.cursor() as cursor:
                cursor.execute(statement, values)
                return cursor.fetchall()

        return self._within(connection, ask)

    def _within(
        self, connection: Any, call: Callable[[], T], discard: Callable[[T], object] | None = None
    ) -> T:
        """Return what `call` returns; raise PyMySQL's error if that takes too long.

        What comes too late is given to `discard`. PyMySQL has timeouts for each read of the socket: an answer
        that trickles in could take for ever.
        """
        try:
            return self._runner.run(call, Deadline(self._timeout), discard)
        except DeadlineExceededError:
            self._abandoned.add(connection)
            shut_down_socket(connection._sock)  # noqa: SLF001  # nothing else ends a call of another thread
        raise pymysql.OperationalError(0, f"timed out: no answer within {self._timeout:g} s")

    def _close(self, connection: Any) -> None:
        """Close a connection, unless the thread of an abandoned call uses it: PyMySQL closes it there then.

        Closing says goodbye to the server, and OpenSSL allows no two threads on one connection.
        """
        if connection not in self._abandoned:
            connection.close()

    def _message_of(self, error: BaseException, *hidden: str) -> str:
        """Return the message of the server or system, without the administrator's password and `hidden`."""
        if not isinstance(error, (pymysql.MySQLError, OSError)):
            return f"the answer is not MariaDB's ({type(error).__name__})"
        known = [one for one in (*hidden, self._admin.get("password", "")) if one]
        words = " ".join(str(one) for one in error.args[:2])  # its number, and its words
        return redact(known, words, shown=_SHOWN) or type(error).__name__


class _Refuses:
    """Answers a server that asks for the password itself, unencrypted or under a key of its own."""

    def __init__(self, connection: Any) -> None:
        pass

    def authenticate(self, packet: Any) -> NoReturn:  # noqa: ARG002  # whatever it says
        raise pymysql.OperationalError(
            0, "it asks for the password itself, which is sent only with ca_file or over unix_socket"
        )


_REFUSED: Final = dict.fromkeys(
    (b"mysql_clear_password", b"dialog", b"sha256_password", b"caching_sha2_password"), _Refuses
)
"""The plugins by which any program that listens there would get the password; others send a proof of it."""


def _read(user: str, at: object, text: object) -> _Account:
    """Return the account that a row of `mysql.global_priv` is of, whose password can be changed.

    Raises:
        RotationError: Its password does not decide whether it logs in, or the row is not such a one.
    """
    account: Any = None
    with suppress(ValueError, TypeError, RecursionError):
        account = json.loads(text)  # type: ignore[arg-type]  # a TypeError is what other things are
    if not isinstance(at, str) or not isinstance(account, dict):
        raise _unreadable(user)
    if account.get("account_locked"):
        raise RotationError(
            f"mariadb: the account {user!r} for {at!r} is locked", hint="ALTER USER … ACCOUNT UNLOCK"
        )
    if account.get("is_role"):
        raise RotationError(f"mariadb: {user!r} is a role, which does not log in")
    ways = []
    listed = account.get("auth_or") or [{}]
    for one in listed if isinstance(listed, list) else [None]:
        if not isinstance(one, dict):
            raise _unreadable(user)
        way = one or account
        plugin, digest = way.get("plugin", "mysql_native_password"), way.get("authentication_string", "")
        if not isinstance(plugin, str) or not isinstance(digest, str):
            raise _unreadable(user)
        ways.append((plugin, digest))
    if sum(plugin in PLUGINS for plugin, _ in ways) != 1:
        raise RotationError(
            f"mariadb: {user!r} for {at!r} logs in by {' or '.join(plugin for plugin, _ in ways)}: "
            "it has not just one password",
            hint="give it one password, by ALTER USER … IDENTIFIED VIA",
        )
    return _Account(user, at, tuple(ways))


def _unreadable(user: str) -> RotationError:
    return RotationError(
        f"mariadb: what mysql.global_priv says of {user!r} is not an account",
        hint="compare with SHOW CREATE USER; is it MariaDB that answers there?",
    )


def _name(plugin: str) -> str:
    """Return a plugin's name for a statement, in which it cannot be a parameter."""
    if not re.fullmatch(r"\w+", plugin, re.ASCII):
        raise RotationError("mariadb: a plugin has a name that is not of letters, digits and `_`")
    return plugin


def _account(text: str) -> tuple[str, str | None]:
    user, at, host = text.partition("@")
    return user, host if at else None


def _settings(url: str) -> dict[str, Any]:
    parts: Any = None
    more: dict[str, list[str]] = {}
    with suppress(ValueError):
        given = urlsplit(url)
        more = parse_qs(given.query, strict_parsing=bool(given.query))
        # From a bare #, / or ? in it on, a password would be no part of the login any more.
        parts = given if given.port != 0 and "#" not in url and not splits_login(url) else None
    if parts is None or parts.scheme not in {"mariadb", "mysql"} or set(more) - {"unix_socket"}:
        # Not shown, for it may hold a password.
        raise ConfigurationError(
            "rotator mariadb: a URL is not one that it takes",
            hint="write mariadb://USER@HOST:PORT/DATABASE, with %-codes for what a URL cannot hold, or "
            "?unix_socket=PATH; the password may be in the option `password`",
        )
    settings: dict[str, Any] = {"host": parts.hostname or "localhost", "port": parts.port or _PORT}
    if more:
        settings["unix_socket"] = more["unix_socket"][0]
    for name, text in (("user", parts.username), ("password", parts.password), ("database", parts.path[1:])):
        if text:
            settings[name] = unquote(text)
    return settings


def _shown(settings: dict[str, Any]) -> str:
    return settings.get("unix_socket") or f"{settings['host']}:{settings['port']}"
