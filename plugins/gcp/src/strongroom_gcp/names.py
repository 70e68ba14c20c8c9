"""Keys as names of Secret Manager and back: injective, and the identity wherever it can be.

A name is 1-255 of `[A-Za-z0-9_-]` (https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets/create).

- The marker is `-_`. Each byte (UTF-8) of a character that a name cannot hold becomes `-_` and two
  hexadecimal digits: `db/password` is kept as `db-_2fpassword`.
- The `_` of a marker in the key itself is escaped too, so no two keys share a name.
- What is then longer than 255 characters is kept as `-_h` and the SHA-256 of the key, 64 hexadecimal digits;
  the whole key stands in the secret's annotation `strongroom.key`, and is compared at each use.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import NamedTuple

from strongroom.errors import InvalidKeyError
from strongroom.keys import check_key

MARKER = "-_"
MAX_NAME = 255
ANNOTATION = "strongroom.key"

_HASH_MARK = "-_h"
_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,255}")
_UNSAFE = re.compile(r"(?<=-)_|[^A-Za-z0-9_-]")
_ESCAPES = re.compile(r"(?:-_[0-9a-f]{2})+")
_HASHED = re.compile(r"-_h[0-9a-f]{64}")


class Name(NamedTuple):
    """A key's name in the service; `hashed` where only the annotation tells the key."""

    text: str
    hashed: bool


# Names are no secrets; remembering them keeps the mapping off the way of a read.
@lru_cache(maxsize=8192)
def name_of(key: str) -> Name:
    """Return the name that `key` is kept under; `key` must have passed `check_key`."""
    if MARKER not in key and _PLAIN.fullmatch(key):
        return Name(key, hashed=False)
    escaped = _UNSAFE.sub(_escape, key)
    if len(escaped) <= MAX_NAME:
        return Name(escaped, hashed=False)
    return Name(_HASH_MARK + hashlib.sha256(key.encode()).hexdigest(), hashed=True)


def key_of(name: str, annotations: dict[str, str]) -> str | None:
    """Return the key whose name is `name`, or None where no key has it (another tool's odd name)."""
    if MARKER not in name:
        return name
    if _HASHED.fullmatch(name):
        key = annotations.get(ANNOTATION)
    else:
        try:
            key = _ESCAPES.sub(_unescape, name)
        except UnicodeDecodeError:
            key = None
    return key if key is not None and _is_name_of(key, name) else None


def _is_name_of(key: str, name: str) -> bool:
    try:
        return name_of(check_key(key)).text == name
    except InvalidKeyError:
        return False


def _escape(found: re.Match[str]) -> str:
    return "".join(f"{MARKER}{byte:02x}" for byte in found.group().encode())


def _unescape(found: re.Match[str]) -> str:
    return bytes.fromhex(found.group().replace(MARKER, "")).decode()
