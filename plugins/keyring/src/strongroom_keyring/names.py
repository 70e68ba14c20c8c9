"""Keys as user names of the keyring, and values as passwords: unchanged wherever that is possible.

Everything that begins with `strongroom:` is strongroom's own; a key or value that begins so itself is
escaped, so that both mappings are injective.
"""

from __future__ import annotations

import base64
import binascii
import re

from strongroom.errors import InvalidKeyError
from strongroom.keys import check_key

__all__ = ["INDEX_NAME", "MARKER", "key_of", "name_of", "password_of", "value_of"]

MARKER = "strongroom:"
INDEX_NAME = f"{MARKER}index"
_ESCAPED_KEY = f"{MARKER}key:"
_ESCAPED_VALUE = f"{MARKER}base64:"
# Printable ASCII without capitals: what a backend that ignores case keeps apart.
_CASELESS = re.compile(r"[ -@\[-~]+")


def name_of(key: str, *, folds_case: bool = False) -> str:
    """Return the user name that `key` is stored under.

    Args:
        key: A valid key.
        folds_case: The backend takes `A` and `a` for the same name.
    """
    if key.startswith(MARKER) or (folds_case and not _CASELESS.fullmatch(key)):
        packed = base64.b32encode(key.encode()).decode("ascii")
        return _ESCAPED_KEY + packed.rstrip("=").lower()
    return key


def key_of(name: str) -> str | None:
    """Return the key stored as user name `name`; None if it is not a key of strongroom's."""
    if name.startswith(_ESCAPED_KEY):
        key = _unpacked(name.removeprefix(_ESCAPED_KEY))
    else:
        key = None if name.startswith(MARKER) else name
    if key is None:
        return None
    try:
        return check_key(key)
    except InvalidKeyError:
        return None  # another tool's user name, which nobody can ask strongroom for


def password_of(value: str) -> str:
    """Return the password that stands for `value`: itself, unless it holds NUL or begins as an escaped one.

    Several backends hand passwords on as C strings, which end at NUL.
    """
    if "\0" in value or value.startswith(_ESCAPED_VALUE):
        return _ESCAPED_VALUE + base64.b64encode(value.encode()).decode("ascii")
    return value


def value_of(password: str) -> str:
    """Return the value of `password`; one that strongroom did not escape is the value itself."""
    if not password.startswith(_ESCAPED_VALUE):
        return password
    try:
        value = base64.b64decode(password.removeprefix(_ESCAPED_VALUE), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return password
    return value if password_of(value) == password else password


def _unpacked(text: str) -> str | None:
    padded = text.upper() + "=" * (-len(text) % 8)
    try:
        return base64.b32decode(padded).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
