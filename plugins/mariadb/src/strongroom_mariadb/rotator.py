"""The rotator `mariadb`: the password of a user, or of two that take turns.

A password goes to the server as what the user's plugin keeps of it, so that no log of the server holds it.
"""

from __future__ import annotations

import copy
import json
import os
import re
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

import pymysql
from strongroom import generate_password
from strongroom.errors import ConfigurationError, RotationError, ValidationError, show_key
from strongroom.rotation import Credentials, credentials, with_password, without

from strongroom_mariadb.hashes import PLUGINS, hashed

__all__ = ["MariaDBRotator"]

_REHEARSAL: Final = re.compile(r"strongroom_rehearsal_(\d+)_[0-9a-f]+")
_REHEARSAL_LIFE: Final = 3600
_PORT: Final = 3306
_SHOWN: Final = 300
_NO_LOGIN: Final = (1045, 1698)


class _Account(NamedTuple):
    """A user for some hosts, and the ways by which it logs in: plugin and what it keeps."""

    user: str
    host: str
    ways: tuple[tuple[str, str], ...]


class MariaDBRotator:
    """Changes the password of a user of MariaDB, and tries it by a log-in and a statement.

    Nothing is kept open between two calls. The secret is the password alone, or a JSON object with `username`
    and `password`; where two users take turns it is the latter, and the new value names the other one. A user
    keeps the plugin that it has, and what else it may log in by.

    Args:
        url: Where an administrator logs in: one with CREATE USER, and SELECT on `mysql.global_priv`.
        role: The user: its accounts for all hosts, or that of `name@host`.
        role_b: The other one, for `alternating`.
        strategy: `single`: the user gets another password, and log-ins with the old one fail from then on
            until readers have the new one. `alternating`: the other user gets one, so that none fail.
        username: The administrator; else the URL's.
        password: Its password; else the URL's. Where it is the very secret that is rotated, the old and the
            new one are tried too.
        login: URLs where applications log in, each tried by `verify`; without them that of `url`.
        ca_file: The CA of the server's certificate, PEM; with it TLS is required.
        cert_file: The client's certificate, PEM.
        key_file: Its private key, PEM.
        timeout_seconds: How long one log-in or change may take.

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
        if (strategy == "alternating") != (role_b is not None):
            raise ConfigurationError(
                "rotator mariadb: `alternating` needs a second user, `role_b`, and `single` has none"
            )
        self._accounts = tuple(_account(one) for one in (role, role_b) if one is not None)
        if len({user for user, _ in self._accounts}) != len(self._accounts):
            raise ConfigurationError("rotator mariadb: role and role_b are the same user")
        self._admin = _settings(url)
        self._admin |= {name: one for name, one in {"user": username, "password": password}.items() if one}
        own = {"user", "password"}
        self._addresses = [
            {name: one for name, one in address.items() if name not in own}
            for address in [*map(_settings, login)] or [self._admin]
        ]
        tls = {"ssl_ca": ca_file, "ssl_cert": cert_file, "ssl_key": key_file}
        self._tls: dict[str, Any] = {name: os.fspath(path) for name, path in tls.items() if path is not None}
        if ca_file is not None:
            self._tls |= {"ssl_verify_cert": True, "ssl_verify_identity": True}
        self._timeout = timeout_seconds

    def __repr__(self) -> str:
        return f"<MariaDBRotator of {' and '.join(self._users())} at {_shown(self._admin)}>"

    # --- the steps ---

    def compose(self, key: str, old: str, new: str) -> str:
        """Return `old` with the password `new`, and with the other user's name where two take turns.

        Raises:
            ValidationError: The secret is not for these users.
        """
        before, users = credentials(key, old), self._users()
        if len(users) == 1:
            self._user_of(key, before)
            return with_password(key, old, new)
        if before.username not in users:
            raise ValidationError(
                f"{show_key(key)} does not name the user in use: two take turns, {' and '.join(users)}",
                key=key,
                hint='store a JSON object first: {"username": "' + users[0] + '", "password": "…"}',
            )
        return with_password(key, old, new, username=users[1 - users.index(before.username)])

    def apply(self, key: str, old: str, new: str) -> None:
        """Let the user that `new` names have its password; a second call changes nothing.

        Raises:
            RotationError: The server refuses it, or there is no such user.
        """
        wanted = credentials(key, new)
        user = self._user_of(key, wanted)
        with self._administrator(key, old, new) as connection:
            for account in self._found(connection, user):
                ways = [
                    (plugin, hashed(wanted.password, plugin) if plugin in PLUGINS else kept)
                    for plugin, kept in account.ways
                ]
                if tuple(ways) != account.ways:
                    template = " OR ".join("{} USING %s" if kept else "{}" for _, kept in ways)
                    # The names of plugins come from the server's own table.
                    clause = template.format(*(_name(plugin) for plugin, _ in ways))
                    statement = f"ALTER USER %s@%s IDENTIFIED VIA {clause}"
                    values = (account.user, account.host, *(kept for _, kept in ways if kept))
                    self._execute(connection, f"changing the password of {user!r}", statement, *values)

    def verify(self, key: str, new: str) -> None:
        """Log in by the new password, wherever applications do, and ask for something.

        Raises:
            RotationError: One address does not take it.
        """
        wanted = credentials(key, new)
        user = self._user_of(key, wanted)
        for address in self._addresses:
            settings = {**address, "user": user, "password": wanted.password}
            try:
                with closing(self._connected(settings)) as connection, connection.cursor() as cursor:
                    cursor.execute("SELECT 1")  # an expired password logs in, and is refused here
                    continue
            except (pymysql.MySQLError, OSError, UnicodeError) as error:
                said = self._said(error, wanted.password)
            raise RotationError(f"mariadb: {user!r} cannot log in at {_shown(address)}: {said}")

    @contextmanager
    def rehearsal(self, key: str, old: str) -> Iterator[tuple[MariaDBRotator, str]]:
        """Give a rotator of throwaway users without any right, of which nothing is left at the end.

        Raises:
            RotationError: The administrator may not make users, or there are not the real ones.
        """
        before, password = credentials(key, old), generate_password()
        stem = f"strongroom_rehearsal_{int(time.time())}_{secrets.token_hex(5)}"
        names = [f"{stem}{number}" for number, _ in enumerate(self._accounts)]
        other = copy.copy(self)
        other._accounts = tuple((name, "%") for name in names)  # noqa: SLF001  # of this class
        made = False
        try:
            with self._administrator(key, old) as connection:
                plugins = [self._found(connection, user)[0].ways for user in self._users()]
                self._sweep(connection)
                made = True
                for name, ways in zip(names, plugins, strict=True):
                    plugin = next(one for one, _ in ways if one in PLUGINS)
                    statement = f"CREATE USER %s@'%%' IDENTIFIED VIA {_name(plugin)} USING %s"
                    self._execute(
                        connection, "making a throwaway user", statement, name, hashed(password, plugin)
                    )
            if before.username is None:
                yield other, password
            else:
                yield other, with_password(key, old, password, username=names[0])
        finally:
            if made:
                with self._administrator(key, old) as connection:
                    for name in names:
                        self._drop(connection, name)

    def _users(self) -> tuple[str, ...]:
        return tuple(user for user, _ in self._accounts)

    def _user_of(self, key: str, wanted: Credentials) -> str:
        users = self._users()
        user = wanted.username if wanted.username is not None else users[0]
        if user not in users:
            raise ValidationError(
                f"{show_key(key)} is of {user!r}, and its rotator changes {' and '.join(users)}",
                key=key,
                hint="correct `role` of the rotator, or `username` of the secret",
            )
        return user

    # --- as the administrator ---

    @contextmanager
    def _administrator(self, key: str, *values: str) -> Iterator[Any]:
        connection = self._logged_in(key, values)
        try:
            yield connection
        finally:
            connection.close()

    def _logged_in(self, key: str, values: Iterable[str]) -> Any:
        """Log in as the administrator; where its own password is rotated, by the one that it has by now."""
        tried: list[str] = [self._admin.get("password", "")]
        for value in values:
            found = credentials(key, value)
            if (found.username or self._users()[0]) == self._admin.get("user"):
                tried.append(found.password)
        first = ""
        for password in dict.fromkeys(tried):
            try:
                return self._connected({**self._admin, "password": password})
            except (pymysql.MySQLError, OSError, UnicodeError) as error:
                first = first or self._said(error, password)
                if not (error.args and error.args[0] in _NO_LOGIN):
                    break
        raise RotationError(f"mariadb: the administrator cannot log in at {_shown(self._admin)}: {first}")

    def _found(self, connection: Any, user: str) -> list[_Account]:
        """Return the accounts of a user whose password can be changed.

        Raises:
            RotationError: There is none, or its password does not decide whether it logs in.
        """
        host = dict(self._accounts)[user]
        rows = self._execute(
            connection,
            f"looking at {user!r} in mysql.global_priv",
            "SELECT Host, Priv FROM mysql.global_priv WHERE User = %s AND (%s IS NULL OR Host = %s)",
            *(user, host, host),
        )
        if not rows:
            raise RotationError(f"mariadb: there is no user {user!r} at {_shown(self._admin)}")
        found = []
        for at, text in rows:
            account = json.loads(text)
            if account.get("account_locked"):
                raise RotationError(
                    f"mariadb: the account {user!r} for {at!r} is locked", hint="ALTER USER … ACCOUNT UNLOCK"
                )
            if account.get("is_role"):
                raise RotationError(f"mariadb: {user!r} is a role, which does not log in")
            each = [one or account for one in account.get("auth_or") or [{}]]
            ways = tuple(
                (one.get("plugin", "mysql_native_password"), one.get("authentication_string", ""))
                for one in each
            )
            if sum(plugin in PLUGINS for plugin, _ in ways) != 1:
                raise RotationError(
                    f"mariadb: {user!r} for {at!r} logs in by {' or '.join(plugin for plugin, _ in ways)}: "
                    "it has not just one password",
                    hint="give it one password, by ALTER USER … IDENTIFIED VIA",
                )
            found.append(_Account(user, at, ways))
        return found

    def _sweep(self, connection: Any) -> None:
        """Drop what rehearsals have left that were killed."""
        rows = self._execute(
            connection,
            "looking for what rehearsals have left",
            "SELECT User FROM mysql.global_priv WHERE User LIKE %s",
            "strongroom\\_rehearsal\\_%",
        )
        for (name,) in rows:
            match = _REHEARSAL.fullmatch(name)
            if match is not None and int(match[1]) < time.time() - _REHEARSAL_LIFE:
                self._drop(connection, name)

    def _drop(self, connection: Any, name: str) -> None:
        self._execute(connection, "dropping a throwaway user", "DROP USER IF EXISTS %s@'%%'", name)

    @staticmethod
    def _execute(connection: Any, doing: str, statement: str, *values: object) -> Any:
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement, values)
                return cursor.fetchall()
        except (pymysql.MySQLError, OSError) as error:
            said = _words(error)
        raise RotationError(f"mariadb: {doing} was refused: {said}")

    # --- connections ---

    def _connected(self, settings: dict[str, Any]) -> Any:
        connection = pymysql.connect(
            **settings,
            **self._tls,
            autocommit=True,
            charset="utf8mb4",
            connect_timeout=max(1, round(self._timeout)),
            read_timeout=self._timeout,
            write_timeout=self._timeout,
        )
        if "MariaDB" not in str(connection.get_server_info()):
            connection.close()
            raise pymysql.OperationalError(0, "it is not a MariaDB server")
        return connection

    def _said(self, error: BaseException, password: str) -> str:
        known = [one for one in (password, self._admin.get("password", "")) if one]
        return without(known, _words(error), shown=_SHOWN) or type(error).__name__


def _words(error: BaseException) -> str:
    """Return number and words of the server's or the system's error."""
    return " ".join(str(one) for one in error.args[:2]) or type(error).__name__


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
        parts = given if given.port != 0 else None
    if parts is None or parts.scheme not in {"mariadb", "mysql"} or set(more) - {"unix_socket"}:
        # Not shown, for it may hold a password.
        raise ConfigurationError(
            "rotator mariadb: a URL is not one that it takes",
            hint="write mariadb://USER@HOST:PORT/DATABASE, with %-codes for what a URL cannot hold, or "
            "?unix_socket=PATH; the password may stand in the option `password`",
        )
    found: dict[str, Any] = {"host": parts.hostname or "localhost", "port": parts.port or _PORT}
    if more:
        found["unix_socket"] = more["unix_socket"][0]
    for name, text in (("user", parts.username), ("password", parts.password), ("database", parts.path[1:])):
        if text:
            found[name] = unquote(text)
    return found


def _shown(settings: dict[str, Any]) -> str:
    return settings.get("unix_socket") or f"{settings['host']}:{settings['port']}"
