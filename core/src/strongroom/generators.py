"""Random values from the operating system: passwords, and what a declaration may ask for."""

from __future__ import annotations

import inspect
import secrets
import string
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from strongroom.errors import ConfigurationError

__all__ = ["GENERATORS", "Generator", "generate_password", "generator_of"]

CHARACTER_CLASSES = {
    "lower": string.ascii_lowercase,
    "upper": string.ascii_uppercase,
    "digit": string.digits,
    "symbol": "!#%&()*+,-./:;<=>?@[]^_{|}~",
}
_TRIES = 1000
_DEFAULT_ALPHABET = string.ascii_letters + string.digits


def generate_password(
    length: int = 32,
    *,
    alphabet: str = _DEFAULT_ALPHABET,
    require: Iterable[str] = (),
) -> str:
    """Return a random password; all that are allowed are equally likely.

    Args:
        length: Characters, at least 1.
        alphabet: The characters to choose from; letters and digits by default, which survive every
            shell, URL and file format unquoted.
        require: Classes of which at least one character must occur: `lower`, `upper`, `digit`, `symbol`, or a
            text of your own characters. A class of which the alphabet has none is added to it.

    Raises:
        ConfigurationError: No such password exists.
        TypeError: `length` is not a whole number, or `require` is one text, whose letters would be classes.
    """
    _check_types(length, require)
    classes = []
    characters = dict.fromkeys(alphabet)
    for wanted in require:
        group = CHARACTER_CLASSES.get(wanted, wanted)
        if not group:
            raise ConfigurationError("generate_password: a required class is empty")
        usable = [character for character in group if character in characters]
        if not usable:
            characters.update(dict.fromkeys(group))
            usable = list(group)
        classes.append(frozenset(usable))
    if not characters:
        raise ConfigurationError("generate_password: the alphabet is empty")
    if length < 1:
        raise ConfigurationError(f"generate_password: a password has at least 1 character, not {length}")
    if length < len(classes):
        raise ConfigurationError(
            f"generate_password: length {length} cannot hold {len(classes)} required classes"
        )
    pool = tuple(characters)
    # Rejection keeps the distribution uniform; placing one of each class first would not, and is
    # left for demands so narrow that chance alone would not meet them.
    for _ in range(_TRIES):
        password = "".join(secrets.choice(pool) for _ in range(length))
        if all(not group.isdisjoint(password) for group in classes):
            return password
    drawn = [secrets.choice(tuple(group)) for group in classes]
    drawn += [secrets.choice(pool) for _ in range(length - len(drawn))]
    secrets.SystemRandom().shuffle(drawn)
    return "".join(drawn)


def _check_types(length: object, require: object) -> None:
    if type(length) is not int:  # True would be a password of one character
        message = f"generate_password: length must be int, got {type(length).__name__}"
        raise TypeError(message)
    if isinstance(require, str):
        message = 'generate_password: require is a list of classes, such as ["lower", "digit"], not one text'
        raise TypeError(message)


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
    import uuid  # it brings `platform` along

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
"""By name: a password; random bytes in hexadecimal or URL-safe text; a version 4 UUID (RFC 9562); a
private key in PEM (PKCS #8)."""


def generator_of(kind: str = "password", **options: Any) -> Generator:
    """Return a generator for `SecretRotation`.

    Args:
        kind: One of `GENERATORS`.
        options: Of `password`: `length`, `alphabet`, `require`, see `strongroom.generate_password`;
            of `hex` and `urlsafe`: `count`, the bytes; of `rsa`: `bits`, at least 2048.

    Raises:
        ConfigurationError: There is no such kind or option, or a number is out of range.
    """
    make = GENERATORS.get(kind)
    if make is None:
        raise ConfigurationError(f"no generator {kind!r}", hint=f"there are: {', '.join(sorted(GENERATORS))}")
    if options.get("bits", _LEAST_RSA_BITS) < _LEAST_RSA_BITS or options.get("count", 16) < 16:  # noqa: PLR2004  # said below
        raise ConfigurationError("a key has at least 2048 bits, and a token at least 16 bytes")
    known = inspect.signature(make).parameters
    unknown = sorted(options.keys() - known)
    if unknown:
        raise ConfigurationError(
            f"the generator {kind!r} has no option {', '.join(unknown)}",
            hint=f"it has: {', '.join(known) or 'none'}",
        )
    if kind == "password":
        make(**options)  # raises if there is no such password
    return lambda _key, _old: make(**options)
