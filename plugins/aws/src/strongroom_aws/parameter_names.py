"""Keys as names of the Parameter Store and back: `a/b` is `/a/b`, and injective.

A name is a path of `[A-Za-z0-9_.-]` with at most 15 levels, does not begin with `aws` or `ssm`, and has at
most 1,011 characters, less where the ARN before it is long
(https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html).

- The marker is `-.`. Each byte (UTF-8) of another character becomes `-.` and two hexadecimal digits, and so
  does the first letter of a key that begins with `aws` or `ssm`, and every slash beyond 15 levels.
- The `.` of a marker in the key itself is escaped too.
- What is then longer than 900 characters is kept in as many of its folders as fit into 400, under `-.h` and
  the SHA-256 of the key; the whole key is in the parameter's description, and is compared before use.
"""

from __future__ import annotations

from functools import lru_cache

from strongroom.keys import Name, NameCodec, escape, matching_key, unescape

from strongroom_aws.names import key_in_description

MARKER = "-."
MAX_NAME = 900
MAX_LEVELS = 15

_MAX_FOLDER = 400
_OWNED = ("aws", "ssm")
_NAMES = NameCodec(MARKER, "A-Za-z0-9_./-", MAX_NAME)


@lru_cache(maxsize=8192)
def parameter_name_of(key: str) -> Name:
    """Return the name that `key` is kept under; `key` must have passed `check_key`."""
    segments = _escape_text(key).split("/")
    slash = escape(MARKER, "/")
    upper, lower = segments[: MAX_LEVELS - 1], segments[MAX_LEVELS - 1 :]
    name = "/" + "/".join([*upper, slash.join(lower)] if lower else upper)
    if len(name) <= MAX_NAME:
        return Name(name, hashed=False)
    folder = folder_of(key.rpartition("/")[0])
    return Name(f"{folder.rstrip('/')}/{_NAMES.hashed(key)}", hashed=True)


def folder_of(folder: str) -> str:
    """Return the deepest path that has all keys in `folder` (and perhaps others) below it."""
    path = ""
    for level, segment in enumerate(_escape_text(folder).split("/") if folder else (), 1):
        if not segment or level >= MAX_LEVELS or len(path) + 1 + len(segment) > _MAX_FOLDER:
            break
        path = f"{path}/{segment}"
    return path or "/"


def is_hashed(name: str) -> bool:
    """Return whether only the description tells the key of `name`."""
    return name.startswith("/") and _NAMES.is_hashed(name.rpartition("/")[2])


def parameter_key_of(name: str, description: str | None = None) -> str | None:
    """Return the key whose name is `name`, or None where no key has it."""
    if is_hashed(name):
        key = key_in_description(description)
    else:
        key = unescape(MARKER, name[1:]) if name.startswith("/") else None
    return matching_key(name, key, lambda key: parameter_name_of(key).text)


def _escape_text(key: str) -> str:
    if key[:3].lower() in _OWNED:
        return escape(MARKER, key[0]) + _NAMES.escape(key[1:])
    return _NAMES.escape(key)
