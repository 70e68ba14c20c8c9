"""Secrets in a PostgreSQL database, sealed before they reach it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from math import ceil
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from strongroom.deadlines import DeadlineExceededError, check_limits
from strongroom.errors import AuthenticationError, ConfigurationError
from strongroom.parallel import forks_wait
from strongroom.plugins.credentials import newest
from strongroom.sealed import SealedSecretProvider, StoreKeySource

from strongroom_postgresql.errors import check_url

if TYPE_CHECKING:
    import psycopg

    from strongroom_postgresql.backend import PostgreSQLBackend

__all__ = ["MAX_VALUE_BYTES", "PostgreSQLSecretProvider"]

MAX_VALUE_BYTES: Final = 64 * 1024 * 1024
"""The longest value, in bytes of UTF-8."""
_URL: Final = re.compile(r"postgres(?:ql)?://(?:(?P<user>[^@/?]*)@)?(?P<rest>.*)", re.DOTALL)
_KEEPALIVES: Final = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
"""Seconds of silence, seconds between questions, and questions. The server closes no idle connection, but
balancers and firewalls forget it within minutes, and the system would only ask after two hours."""
_SCHEMA: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")


def _now() -> datetime:
    return datetime.now(UTC)


class PostgreSQLSecretProvider(SealedSecretProvider["PostgreSQLBackend"]):
    """Secrets in a schema of a PostgreSQL database, for many hosts, with every capability.

    Args:
        url: A connection URI of libpq. The environment variables and files that libpq knows count where the
            URL leaves something out.
        username: The role; by default the URL's.
        password: Its password; by default the URL's.
        schema: The schema that holds the tables; the first write makes it where the role may.
        encryption_key: Text of `generate_key`, 32 bytes, a Fernet key, or a passphrase.
        key_file: A file that holds one of these as text.
        older_keys: Keys that open the store as well.
        max_versions: Versions kept of each secret, 1 to 1,000; current and pending ones are never dropped.
        destroy_on_delete: Whether a delete drops all versions for good; else `recover_secret` brings it back.
        timeout: Seconds for one get, set, delete or page.
        deadline: Seconds for a whole list or batch; None: no limit.
        max_connections: Connections of this process at most; a subscription to changes has one more.
        pooler: Whether a pooler such as pgbouncer is in between; None detects it.
        migrate: Whether to make and upgrade the tables where they are not there.
        clock: Gives the aware time now.

    Raises:
        ConfigurationError: There is no key, or two; a key or the URL is not one; an option is out of bounds.
    """

    type_name = "postgresql"

    def __init__(
        self,
        url: str,
        *,
        username: str | None = None,
        password: str | None = None,
        schema: str = "strongroom",
        encryption_key: str | bytes | None = None,
        key_file: str | os.PathLike[str] | None = None,
        older_keys: Iterable[str | bytes] = (),
        max_versions: int = 100,
        destroy_on_delete: bool = False,
        timeout: float = 10.0,
        deadline: float | None = None,
        max_connections: int = 8,
        pooler: bool | None = None,
        migrate: bool = True,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        check_limits(self.type_name, counts={"max_connections": max_connections}, timeout=timeout)
        match = _URL.fullmatch(url) if isinstance(url, str) else None
        if match is None:
            raise ConfigurationError(
                "postgresql: the url must begin with postgresql://",
                provider=self.type_name,
                hint="postgresql://user@host:5432/database?sslmode=verify-full",
            )
        check_url(url)
        if not isinstance(schema, str) or not _SCHEMA.fullmatch(schema):
            raise ConfigurationError(
                "postgresql: the schema must be a letter or _, then letters, digits and _, 63 at most",
                provider=self.type_name,
            )
        _, _, own = (match["user"] or "").partition(":")
        self._where = match["rest"].partition("?")[0] or "the local server"
        self._url, self._given = url, (url, username, password)
        self._login = self._given
        self._hidden = [password, own or None, unquote(own) or None]
        self._schema = schema
        self._most = max_connections
        self._pooler = pooler
        self._migrate = migrate
        super().__init__(
            StoreKeySource(self.type_name, encryption_key, key_file, older_keys),
            max_value_bytes=MAX_VALUE_BYTES,
            max_versions=max_versions,
            destroy_on_delete=destroy_on_delete,
            timeout=timeout,
            deadline=deadline,
            clock=clock,
        )

    def address(self) -> dict[str, str]:
        """Return what decides which secret is meant."""
        return {"url": self._url, "schema": self._schema}

    def diagnose(self) -> dict[str, str]:
        """Return the facts for `doctor`: server, role, whether it is a replica, or behind a pooler."""
        try:
            return self._backend.server(self._deadline())
        except DeadlineExceededError:
            raise self._late("look at the server") from None

    def _connect_backend(self) -> PostgreSQLBackend:
        with forks_wait():
            try:
                from strongroom_postgresql.backend import PostgreSQLBackend
                from strongroom_postgresql.connection import Pool
            except ImportError as error:
                failed = str(error)
            else:
                pool = Pool(self._connected, self._most, self._where, self._hidden, self._pooler)
                return PostgreSQLBackend(pool, self._schema, migrate=self._migrate, shown=self._where)
        raise ConfigurationError(
            f"postgresql: psycopg cannot be loaded: {failed}",
            provider=self.type_name,
            hint="pip install 'psycopg[binary]'",
        )

    def _connected(self, seconds: float) -> psycopg.Connection[Any]:
        """Connect; if the login is refused, once more with the present values of its references."""
        import psycopg

        from strongroom_postgresql.errors import connect_error

        used = self._login
        try:
            return self._logged_in(used, seconds)
        except psycopg.OperationalError as error:
            if not isinstance(connect_error(str(error), ""), AuthenticationError):
                raise
            newer = newest(self._given)
            if newer == used:
                raise
        check_url(newer[0])
        _, _, own = (match["user"] if (match := _URL.fullmatch(newer[0])) else "").partition(":")
        self._hidden += [newer[2], own or None, unquote(own) or None]
        self._login = newer
        return self._logged_in(newer, seconds)

    def _logged_in(
        self, login: tuple[str, str | None, str | None], seconds: float
    ) -> psycopg.Connection[Any]:
        import psycopg

        url, username, password = login
        given = {"user": username, "password": password}
        options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        defaults = {"connect_timeout": max(2, ceil(seconds)), **_KEEPALIVES}
        options |= {name: one for name, one in defaults.items() if f"{name}=" not in url}
        return psycopg.Connection.connect(
            url,
            autocommit=True,
            prepare_threshold=None,
            fallback_application_name="strongroom",
            **options,
        )

    def _shown(self) -> str:
        return f"{self._where}, schema {self._schema}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._where!r} schema={self._schema!r}>"
