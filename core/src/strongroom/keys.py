"""The rules for keys, the same for every backend.

A key is 1-512 characters: segments joined by `/`, none of them empty, `.` or `..`; no control
character (Unicode category Cc, U+2028, U+2029) and no lone surrogate.
"""

from __future__ import annotations

import re
from functools import lru_cache

from strongroom.errors import InvalidKeyError, ValidationError, show_key

__all__ = [
    "MAX_KEY_CHARACTERS",
    "ROTATION_SEGMENT",
    "begins_no_key",
    "check_key",
    "check_prefix",
    "check_value",
    "is_reserved",
]

MAX_KEY_CHARACTERS = 512
ROTATION_SEGMENT = ".rotation"
"""A key with this segment holds the state of a rotation: kept from users and out of every list."""

_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_BAD_SEGMENTS = frozenset({"", ".", ".."})


# Names are no secrets, so remembering the good ones is harmless and makes the check a look-up.
@lru_cache(maxsize=8192)
def check_key(key: str) -> str:
    """Return `key`, or raise `InvalidKeyError` where it breaks the rules."""
    if not isinstance(key, str):
        raise InvalidKeyError(key, f"invalid key: expected text, got {show_key(key)}")
    if not 0 < len(key) <= MAX_KEY_CHARACTERS:
        what = "it is empty" if not key else f"longer than {MAX_KEY_CHARACTERS} characters"
        raise InvalidKeyError(key, f"invalid key {show_key(key)}: {what}")
    if _FORBIDDEN.search(key):
        raise InvalidKeyError(key, f"invalid key {show_key(key)}: a control character or lone surrogate")
    if not _BAD_SEGMENTS.isdisjoint(key.split("/")):
        raise InvalidKeyError(
            key,
            f"invalid key {show_key(key)}: an empty, '.' or '..' segment",
            hint="join segments with single slashes, as in 'database/password'",
        )
    return key


def check_prefix(prefix: str) -> str:
    """Return `prefix`, the beginning of keys' text, or raise `InvalidKeyError`.

    A prefix may be empty and may end anywhere, also behind a `/` or within a segment.
    """
    if not isinstance(prefix, str):
        raise InvalidKeyError(prefix, f"invalid prefix: expected text, got {show_key(prefix)}")
    if len(prefix) > MAX_KEY_CHARACTERS or _FORBIDDEN.search(prefix):
        raise InvalidKeyError(prefix, f"invalid prefix {show_key(prefix)}")
    return prefix


def begins_no_key(prefix: str) -> bool:
    """Tell whether no key can begin with `prefix`, since a whole segment of it is empty, `.` or `..`."""
    return not _BAD_SEGMENTS.isdisjoint(prefix.split("/")[:-1])


def is_reserved(key: str) -> bool:
    """Tell whether `key` belongs to the state of a rotation, at whatever depth."""
    return ROTATION_SEGMENT in key and ROTATION_SEGMENT in key.split("/")


def check_value(value: str, key: str) -> str:
    """Return `value`, or raise where it is no text (`TypeError`) or no Unicode text (`ValidationError`)."""
    if not isinstance(value, str):
        message = f"the value for {show_key(key)} must be str, got {type(value).__name__}"
        raise TypeError(message)
    if not value.isascii() and _has_surrogate(value):
        raise ValidationError(
            f"the value for {show_key(key)} holds a lone surrogate, which is no Unicode text", key=key
        )
    return value


def _has_surrogate(value: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in value)
