"""Keys as names of Secrets Manager and back: injective, and the identity wherever it can be.

A name is 1-512 of `[A-Za-z0-9/_+=.@-]`
(https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html).

- The marker is `=_`. Each byte (UTF-8) of another character becomes `=_` and two hexadecimal digits:
  `with space` is kept as `with=_20space`.
- The `_` of a marker in the key itself is escaped too.
- What is then longer than 512 characters is kept as `=_h` and the SHA-256 of the key, 64 hexadecimal digits;
  the whole key is in the secret's description, and is compared before the secret is used.

A name that ends in a hyphen and six characters looks like the end of an ARN. Secrets are always asked for by
their whole name, never by a part of an ARN, so such a name means itself.
"""

from __future__ import annotations

from functools import lru_cache

from strongroom.keys import Name, NameCodec

MARKER = "=_"
KEY_MARK = "strongroom key: "
"""The description of a secret with a hashed name begins with this; the key follows."""

_MAX_NAME = 512
_NAMES = NameCodec(MARKER, "A-Za-z0-9/_+=.@-", _MAX_NAME)
HASH_MARK = _NAMES.hash_mark


# Names are not secrets, so they may be cached, to make reads faster.
@lru_cache(maxsize=8192)
def name_of(key: str) -> Name:
    """Return the name that `key` is kept under; `key` must have passed `check_key`."""
    return _NAMES.name_of(key)


def description_of(key: str) -> str:
    """Return the description with the key of a hashed name."""
    return KEY_MARK + key


def key_in_description(description: str | None) -> str | None:
    """Return the key in a description; None if there is none."""
    text = description or ""
    return text.removeprefix(KEY_MARK) if text.startswith(KEY_MARK) else None


def key_of(name: str, description: str | None) -> str | None:
    """Return the key whose name is `name`, or None where no key has it (another tool's odd name)."""
    return _NAMES.key_for(name, key_in_description(description))


def name_filter(prefix: str) -> list[str]:
    """Return the beginnings of names that keys starting with `prefix` can have."""
    begin = _NAMES.escape(prefix)
    return [HASH_MARK] if len(begin) > _MAX_NAME else [begin, HASH_MARK]
