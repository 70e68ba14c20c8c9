"""Hashes of passwords as MariaDB stores them, made here, so that the password itself is not sent."""

from __future__ import annotations

import base64
import hashlib
from contextlib import suppress
from typing import Any

from strongroom.errors import RotationError

__all__ = ["PLUGINS", "hashed"]

PLUGINS = frozenset({"mysql_native_password", "mysql_old_password", "ed25519"})
"""Those that go by a password of the user's own; of these the second is not set."""


def hashed(password: str, plugin: str) -> str:
    """Return the `authentication_string` of a user of `plugin`.

    Raises:
        RotationError: The plugin is another one, or what it needs is not installed.
    """
    if plugin == "mysql_native_password":
        once = hashlib.sha1(password.encode()).digest()  # noqa: S324  # it is that plugin's
        return f"*{hashlib.sha1(once).hexdigest().upper()}"  # noqa: S324  # as above
    if plugin == "ed25519":
        return _ed25519(password)
    raise RotationError(
        f"mariadb: a password of the plugin {plugin!r} cannot be set",
        hint="give the user mysql_native_password or ed25519",
    )


def _ed25519(password: str) -> str:
    """Return the public key whose private one is made of the password.

    Source: MariaDB's documentation of the plugin ed25519: a password of any length stands for the seed.
    """
    bindings: Any = None
    with suppress(ImportError):
        from nacl import bindings
    if bindings is None:
        raise RotationError(
            "mariadb: users of ed25519 need PyNaCl", hint="pip install 'strongroom-mariadb[ed25519]'"
        )
    scalar = bytearray(hashlib.sha512(password.encode()).digest()[:32])
    scalar[0] &= 248
    scalar[31] = scalar[31] & 127 | 64
    return (
        base64.b64encode(bindings.crypto_scalarmult_ed25519_base_noclamp(bytes(scalar))).decode().rstrip("=")
    )
