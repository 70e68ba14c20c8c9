"""Keys as names of Secret Manager and back: injective, and the identity wherever it can be.

A name is 1-255 of `[A-Za-z0-9_-]` (https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets/create).

- The marker is `-_`. Each byte (UTF-8) of a character that a name cannot hold becomes `-_` and two
  hexadecimal digits: `db/password` is kept as `db-_2fpassword`.
- The `_` of a marker in the key itself is escaped too, so no two keys share a name.
- What is then longer than 255 characters is kept as `-_h` and the SHA-256 of the key, 64 hexadecimal digits;
  the whole key is in the secret's annotation `strongroom.key`, and is compared at each use.
"""

from __future__ import annotations

from functools import lru_cache

from strongroom.keys import Name, NameCodec

MARKER = "-_"
ANNOTATION = "strongroom.key"

_NAMES = NameCodec(MARKER, "A-Za-z0-9_-", longest=255)


# Names are not secrets, so they may be cached, to make reads faster.
@lru_cache(maxsize=8192)
def name_of(key: str) -> Name:
    """Return the name that `key` is kept under; `key` must have passed `check_key`."""
    return _NAMES.name_of(key)


def key_of(name: str, annotations: dict[str, str]) -> str | None:
    """Return the key whose name is `name`, or None where no key has it (another tool's odd name)."""
    return _NAMES.key_for(name, annotations.get(ANNOTATION))
