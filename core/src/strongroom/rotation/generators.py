"""What makes new values: passwords by policy, tokens, UUIDs and private keys."""

from __future__ import annotations

import inspect
import secrets
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

from strongroom.errors import ConfigurationError
from strongroom.generators import generate_password

__all__ = ["GENERATORS", "Generator", "generator_of"]

Generator = Callable[[str, str], str]
"""Called with the key and the old value."""

_BYTES: Final = 32
_RSA_BITS: Final = 3072
_LEAST_RSA_BITS: Final = 2048


def _hex(count: int = _BYTES) -> str:
    return secrets.token_hex(count)


def _urlsafe(count: int = _BYTES) -> str:
    return secrets.token_urlsafe(count)


def _uuid() -> str:
    return str(uuid.uuid4())


def _ed25519() -> str:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return _pem(Ed25519PrivateKey.generate())


def _rsa(bits: int = _RSA_BITS) -> str:
    from cryptography.hazmat.primitives.asymmetric import rsa

    return _pem(rsa.generate_private_key(public_exponent=65537, key_size=bits))


def _pem(key: Any) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    text: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return text.decode()


GENERATORS: Final[Mapping[str, Callable[..., str]]] = {
    "password": generate_password,
    "hex": _hex,
    "urlsafe": _urlsafe,
    "uuid": _uuid,
    "rsa": _rsa,
    "ed25519": _ed25519,
}
"""By name: a password; so many random bytes in hexadecimal or URL-safe text; a version 4 UUID (RFC 9562); a
private key in PEM (PKCS #8)."""


def generator_of(kind: str = "password", **options: Any) -> Generator:
    """Return a generator for `SecretRotation`.

    Args:
        kind: One of `GENERATORS`.
        options: Of `password`: `length`, `alphabet`, `require`, as of `strongroom.generate_password`;
            of `hex` and `urlsafe`: `count`, the bytes; of `rsa`: `bits`, at least 2048.

    Raises:
        ConfigurationError: There is no such kind or option, or a number is out of range.
    """
    make = GENERATORS.get(kind)
    if make is None:
        raise ConfigurationError(f"no generator {kind!r}", hint=f"there are: {', '.join(sorted(GENERATORS))}")
    if options.get("bits", _LEAST_RSA_BITS) < _LEAST_RSA_BITS or options.get("count", 16) < 16:  # noqa: PLR2004
        raise ConfigurationError("a key has at least 2048 bits, and a token at least 16 bytes")
    known = inspect.signature(make).parameters
    unknown = sorted(options.keys() - known)
    if unknown:
        raise ConfigurationError(
            f"the generator {kind!r} has no option {', '.join(unknown)}",
            hint=f"it has: {', '.join(known) or 'none'}",
        )
    if kind == "password":
        make(**options)  # tells whether there is such a password
    return lambda _key, _old: make(**options)
