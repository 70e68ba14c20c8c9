"""Keys as names of the Parameter Store and back: `a/b` is `/a/b`, and injective.

A name is a path of `[A-Za-z0-9_.-]` with at most 15 levels, does not begin with `aws` or `ssm`, and has at
most 1,011 characters, less where the ARN before it is long
(https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html).

- The marker is `-.`. Each byte (UTF-8) of another character becomes `-.` and two hexadecimal digits, and so
  does the first letter of a key that begins with `aws` or `ssm`, and every slash beyond 15 levels.
- The `.` of a marker in the key itself is escaped too.
- What is then longer than 900 characters is kept in as many of its folders as fit into 400, under `-.h` and
  the SHA-256 of the key; the whole key stands in the parameter's description, and is compared before use.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

from strongroom.errors import InvalidKeyError
from strongroom.keys import check_key

from strongroom_aws.escaping import escaped, escaper, unescaper
from strongroom_aws.names import KEY_MARK, Name

MARKER = "-."
MAX_NAME = 900
MAX_LEVELS = 15
HASH_MARK = f"{MARKER}h"

_MAX_FOLDER = 400
_OWNED = ("aws", "ssm")
_HASHED = re.compile(rf"(?:/.*)?/{re.escape(HASH_MARK)}[0-9a-f]{{64}}")

_escape = escaper(MARKER, "A-Za-z0-9_./-")
_unescape = unescaper(MARKER)


@lru_cache(maxsize=8192)
def parameter_name_of(key: str) -> Name:
    """Return the name that `key` is kept under; `key` must have passed `check_key`."""
    segments = _escape_text(key).split("/")
    slash = escaped(MARKER, "/")
    upper, lower = segments[: MAX_LEVELS - 1], segments[MAX_LEVELS - 1 :]
    name = "/" + "/".join([*upper, slash.join(lower)] if lower else upper)
    if len(name) <= MAX_NAME:
        return Name(name, hashed=False)
    folder = folder_of(key.rpartition("/")[0])
    digest = hashlib.sha256(key.encode()).hexdigest()
    return Name(f"{folder.rstrip('/')}/{HASH_MARK}{digest}", hashed=True)


def folder_of(folder: str) -> str:
    """Return the deepest path that has all keys in `folder` (and perhaps others) below it."""
    path = ""
    for level, segment in enumerate(_escape_text(folder).split("/") if folder else (), 1):
        if not segment or level >= MAX_LEVELS or len(path) + 1 + len(segment) > _MAX_FOLDER:
            break
        path = f"{path}/{segment}"
    return path or "/"


def is_hashed(name: str) -> bool:
    """Tell whether only the description tells the key of `name`."""
    return HASH_MARK in name and _HASHED.fullmatch(name) is not None


def parameter_key_of(name: str, description: str | None = None) -> str | None:
    """Return the key whose name is `name`, or None where no key has it."""
    if is_hashed(name):
        told = description or ""
        key = told.removeprefix(KEY_MARK) if told.startswith(KEY_MARK) else None
    else:
        key = _unescape(name[1:]) if name.startswith("/") else None
    try:
        return key if key is not None and parameter_name_of(check_key(key)).text == name else None
    except InvalidKeyError:
        return None


def _escape_text(key: str) -> str:
    if key[:3].lower() in _OWNED:
        return escaped(MARKER, key[0]) + _escape(key[1:])
    return _escape(key)
