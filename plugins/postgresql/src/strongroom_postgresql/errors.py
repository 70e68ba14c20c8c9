"""Strongroom's errors for those of PostgreSQL and psycopg."""

from __future__ import annotations

import re
from typing import Final

from strongroom.clients import redact_message, splits_login
from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    ConfigurationError,
    PermissionDeniedError,
    ReadOnlyError,
    SecretTooLargeError,
    StrongroomError,
    ThrottledError,
)

__all__ = ["TYPE_NAME", "ServerError", "check_url", "connect_error", "translate"]

TYPE_NAME: Final = "postgresql"

UNDEFINED: Final = frozenset({"42P01", "3F000"})
"""There is no such table, or no such schema."""
UNIQUE: Final = "23505"
AGAIN: Final = frozenset({"40001", "40P01"})
"""Serialization failure, deadlock: the same statement may succeed at once."""
UNPREPARED: Final = frozenset({"26000", "42P05", "0A000"})
"""A prepared statement is not there, is there already, or its plan is out of date."""
RESTARTING: Final = frozenset({"57P01", "57P02", "57P03", "25P03", "57P05"})
"""The server ends this session: it restarts, or the session was idle for too long."""
READ_ONLY: Final = "25006"
"""The server takes no writes: it is a replica, perhaps since a moment ago."""


class ServerError(Exception):
    """An error that the server answered.

    Attributes:
        sqlstate: Its five characters (PostgreSQL's documentation, appendix A).
        text: The primary message, shortened; it never holds a parameter.
    """

    def __init__(self, sqlstate: str, text: str) -> None:
        self.sqlstate = sqlstate
        self.text = redact_message(text)
        super().__init__(f"{sqlstate}: {self.text}")


def check_url(url: str) -> None:
    """Check that libpq takes no part of a password for a host or a database, which errors name.

    Raises:
        ConfigurationError: The password holds a sign that ends it.
    """
    place = url.partition("://")[2].partition("/")[0].partition("?")[0]
    if splits_login(url) or place.count("@") > 1:
        raise ConfigurationError(
            f"{TYPE_NAME}: the password in the url holds an @, a / or a ?",
            provider=TYPE_NAME,
            hint="write %40, %2F and %3F in their place, or give it as the option `password`",
        )


_LASTING: Final[dict[str, tuple[type[StrongroomError], str]]] = {
    "28P01": (AuthenticationError, "check the role and its password"),
    "28000": (AuthenticationError, "check pg_hba.conf and the role's name"),
    "42501": (PermissionDeniedError, "the grants to paste are in docs/how-to/backends/postgresql.md"),
    "3D000": (ConfigurationError, "the database in the URL does not exist"),
    "25P03": (BackendUnavailableError, "the server ended a session that was idle for too long; try again"),
    READ_ONLY: (ReadOnlyError, "this is a replica: give target_session_attrs=read-write in the URL"),
    "42883": (ConfigurationError, "PostgreSQL 13 or newer is needed"),
}
_BY_CLASS: Final[dict[str, tuple[type[StrongroomError], str]]] = {
    "08": (BackendUnavailableError, "the connection was lost; try again"),
    "28": (AuthenticationError, "check the role and its password"),
    "40": (BackendUnavailableError, "others write the same; try again"),
    "42": (ConfigurationError, "the tables are not as this version of strongroom makes them"),
    "53": (BackendUnavailableError, "the server lacks memory or disk space; the write was not made"),
    "57": (BackendUnavailableError, "the server is starting, stopping, or ended the statement; try again"),
    "58": (BackendUnavailableError, "the server has trouble with its files; look at its log"),
}


def translate(error: ServerError, doing: str) -> StrongroomError:
    """Return strongroom's error for an error of the server."""
    state = error.sqlstate
    message = f"{TYPE_NAME}: {doing}: {error}"
    if state == "53300":
        return ThrottledError(message, provider=TYPE_NAME, hint="the server has no connection left")
    if state == "54000":
        return SecretTooLargeError("", message, provider=TYPE_NAME)
    kind, hint = _LASTING.get(state) or _BY_CLASS.get(state[:2]) or (BackendUnavailableError, "see its log")
    return kind(message, provider=TYPE_NAME, hint=hint)


# What libpq or the server says about a connection that could not be opened, the error for it, and its hint.
_UNOPENED: Final[tuple[tuple[str, type[StrongroomError], str], ...]] = (
    (
        (
            r"password authentication failed|no pg_hba\.conf entry|role .* does not exist"
            r"|no password supplied|authentication method|is not permitted to log in"
            r"|SASL authentication failed|certificate authentication"
        ),
        AuthenticationError,
        "check the role, its password and pg_hba.conf",
    ),
    (r"database .* does not exist", ConfigurationError, "make the database, or correct the URL"),
    (
        r"too many clients|remaining connection slots|too many connections|no more connections",
        ThrottledError,
        "the server has no connection left",
    ),
    (
        r"invalid integer value|invalid port number|invalid connection option|could not match \d+",
        ConfigurationError,
        "mend the URL",
    ),
    (  # the login is bound to the certificate by the hash of its signature, and Ed25519 has none
        r"could not find digest for NID",
        ConfigurationError,
        "let ECDSA or RSA sign the server's certificate, or write channel_binding=disable in the URL",
    ),
    (
        (
            r"certificate verify failed|does not support SSL|root certificate file|server certificate for"
            r"|invalid sslmode|could not load|channel binding"
        ),
        ConfigurationError,
        "check sslmode, sslrootcert and channel_binding in the URL",
    ),
    (
        (
            r"could not translate host name|Name or service not known|nodename nor servname"
            r"|No address associated"
        ),
        BackendUnavailableError,
        "the host's name is not known",
    ),
)


def connect_error(text: str, shown: str, *hidden: str | None) -> StrongroomError:
    """Return the error for a connection that could not be opened.

    libpq gives no code for these, just its own words and the server's; a server may say them in another
    language, and then it counts as unavailable.
    """
    reason = redact_message(text, *hidden)
    message = f"{TYPE_NAME}: connect to {shown}: {reason}"
    for pattern, kind, hint in _UNOPENED:
        if re.search(pattern, text):
            return kind(message, provider=TYPE_NAME, hint=hint)
    hint = "is the server running, and is that its port?"
    return BackendUnavailableError(message, provider=TYPE_NAME, hint=hint)
