"""Keys as names of Secrets Manager and back: injective, and the identity wherever it can be.

A name is 1-512 of `[A-Za-z0-9/_+=.@-]`
(https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html).

- The marker is `=_`. Each byte (UTF-8) of another character becomes `=_` and two hexadecimal digits:
  `with space` is kept as `with=_20space`.
- The `_` of a marker in the key itself is escaped too.
- What is then longer than 512 characters is kept as `=_h` and the SHA-256 of the key, 64 hexadecimal digits;
  the whole key stands in the secret's description, and is compared before the secret is used.

A name that ends in a hyphen and six characters looks like the end of an ARN. Secrets are always asked for by
their whole name, never by a part of an ARN, so such a name means itself.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import NamedTuple

from strongroom.errors import InvalidKeyError
from strongroom.keys import check_key

from strongroom_aws.escaping import escaper, unescaper

MARKER = "=_"
MAX_NAME = 512
HASH_MARK = f"{MARKER}h"
KEY_MARK = "strongroom key: "
"""How the description of a secret with a hashed name begins; the key follows."""

_PLAIN = re.compile(r"[A-Za-z0-9/_+=.@-]{1,512}")
_HASHED = re.compile(f"{HASH_MARK}[0-9a-f]{{64}}")

escape = escaper(MARKER, "A-Za-z0-9/_+=.@-")
_unescape = unescaper(MARKER)


class Name(NamedTuple):
    """A key's name in the service; `hashed` where only the description tells the key."""

    text: str
    hashed: bool


# Names are no secrets; remembering them keeps the mapping off the way of a read.
@lru_cache(maxsize=8192)
def name_of(key: str) -> Name:
    """Return the name that `key` is kept under; `key` must have passed `check_key`."""
    if MARKER not in key and _PLAIN.fullmatch(key):
        return Name(key, hashed=False)
    text = escape(key)
    if len(text) <= MAX_NAME:
        return Name(text, hashed=False)
    return Name(HASH_MARK + hashlib.sha256(key.encode()).hexdigest(), hashed=True)


def description_of(key: str) -> str:
    """Return the description that tells the key of a hashed name."""
    return KEY_MARK + key


def key_of(name: str, description: str | None) -> str | None:
    """Return the key whose name is `name`, or None where no key has it (another tool's odd name)."""
    if _HASHED.fullmatch(name):
        told = description or ""
        key = told.removeprefix(KEY_MARK) if told.startswith(KEY_MARK) else None
    else:
        key = _unescape(name)
    return key if key is not None and _is_name_of(key, name) else None


def name_filter(prefix: str) -> list[str]:
    """Return the beginnings of names that keys starting with `prefix` can have."""
    begin = escape(prefix)
    return [HASH_MARK] if len(begin) > MAX_NAME else [begin, HASH_MARK]


def _is_name_of(key: str, name: str) -> bool:
    try:
        return name_of(check_key(key)).text == name
    except InvalidKeyError:
        return False
