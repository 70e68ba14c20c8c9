"""SCRAM verifiers of passwords as PostgreSQL keeps them, made here: the password itself is not sent."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import Any, Final

import psycopg

__all__ = ["encrypted", "fits"]

_ITERATIONS: Final = 4096


def encrypted(connection: psycopg.Connection[Any], role: str, password: str) -> str:
    """Return a new SCRAM verifier of a password. Source: RFC 5802, in the form that PostgreSQL keeps."""
    if not password.isascii():  # libpq normalises it first, and has the same answer more slowly
        # In UTF-8, as clients send it, whatever the encoding of this session is.
        return connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode(
            "ascii"
        )
    count = int(connection.info.parameter_status("scram_iterations") or _ITERATIONS)
    salt = secrets.token_bytes(16)
    client, server = _keys_of(password, salt, count)
    salt_text, stored, other = (base64.b64encode(one).decode() for one in (salt, client, server))
    return f"SCRAM-SHA-256${count}:{salt_text}${stored}:{other}"


def fits(verifier: str, password: str) -> bool:
    """Return whether a SCRAM verifier is of this password; False if that is unknown."""
    try:
        kind, salted, keys = verifier.split("$")
        count, salt = salted.split(":")
        stored = base64.b64decode(keys.split(":")[0])
        if kind != "SCRAM-SHA-256" or not password.isascii():
            return False
        client, _ = _keys_of(password, base64.b64decode(salt), int(count))
    except ValueError:
        return False
    return hmac.compare_digest(client, stored)


def _keys_of(password: str, salt: bytes, count: int) -> tuple[bytes, bytes]:
    """Return the two keys that a server stores for an ASCII password."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, count)
    client = hmac.digest(salted, b"Client Key", "sha256")
    return hashlib.sha256(client).digest(), hmac.digest(salted, b"Server Key", "sha256")
