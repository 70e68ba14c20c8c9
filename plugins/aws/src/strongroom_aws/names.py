"""Keys as names of Secrets Manager and back: injective, and the identity wherever it can be.

A name is 1-512 of `[A-Za-z0-9/_+=.@-]`
(https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html).

- The marker is `=_`. Each byte (UTF-8) of another character becomes `=_` and two hexadecimal digits:
  `with space` is kept as `with=_20space`.
- The `_` of a marker in the key itself is escaped too.
- A secret that another service of AWS manages begins with its name and a `!`, as in `rds!db-1a96bebc`; nobody
  else can make one with this sign. Such a key is kept as it is
  (https://docs.aws.amazon.com/secretsmanager/latest/userguide/service-linked-secrets.html).
- What is then longer than 512 characters is kept as `=_h` and the SHA-256 of the key, 64 hexadecimal digits;
  the whole key is in the secret's description, and is compared before the secret is used.

A name that ends in a hyphen and six characters looks like the end of an ARN. Secrets are always asked for by
their whole name, never by a part of an ARN, so such a name means itself.
"""

from __future__ import annotations

import re
from functools import lru_cache

from strongroom.keys import Name, NameCodec, is_key

MARKER = "=_"
KEY_MARK = "strongroom key: "
"""The description of a secret with a hashed name begins with this; the key follows."""

_MAX_NAME = 512
_NAMES = NameCodec(MARKER, "A-Za-z0-9/_+=.@-", _MAX_NAME)
HASH_MARK = _NAMES.hash_mark
_SERVICES = (
    *("appflow", "aws-datasync", "databrew", "directconnect", "ecs-sc", "events", "marketplace-deployment"),
    *("opsworks-cm", "rds", "redshift", "sqlworkbench"),
)
_MANAGED = re.compile(rf"(?:{'|'.join(_SERVICES)})![A-Za-z0-9/_+=.@-]*")
"""The name of a secret that another service manages, or how it begins."""


# Names are not secrets, so they may be cached, to make reads faster.
@lru_cache(maxsize=8192)
def name_of(key: str) -> Name:
    """Return the name that `key` is kept under; `key` must have passed `check_key`."""
    return Name(key, hashed=False) if _is_managed(key) else _NAMES.name_of(key)


def description_of(key: str) -> str:
    """Return the description with the key of a hashed name."""
    return KEY_MARK + key


def key_in_description(description: str | None) -> str | None:
    """Return the key in a description; None if there is none."""
    text = description or ""
    return text.removeprefix(KEY_MARK) if text.startswith(KEY_MARK) else None


def key_of(name: str, description: str | None) -> str | None:
    """Return the key whose name is `name`, or None where no key has it (another tool's odd name)."""
    if _is_managed(name):
        return name if is_key(name) else None
    key = _NAMES.key_for(name, key_in_description(description))
    return None if key is not None and _is_managed(key) else key


def name_filter(prefix: str) -> list[str]:
    """Return the beginnings of names that keys starting with `prefix` can have."""
    begin = _NAMES.escape(prefix)
    managed = [prefix] if _MANAGED.fullmatch(prefix) else []
    return [*managed, HASH_MARK] if len(begin) > _MAX_NAME else [*managed, begin, HASH_MARK]


def _is_managed(name: str) -> bool:
    return "!" in name and name[-1] != "!" and len(name) <= _MAX_NAME and bool(_MANAGED.fullmatch(name))
