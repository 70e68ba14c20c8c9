"""Keys as names of environment variables, and back.

Names are made of `[A-Z0-9_]`. A key of `[a-z0-9_]` is upper-cased. Any other character is escaped as
`_0X`, its code point in hexadecimal, and `_`: `database/password` becomes `DATABASE_0X2F_PASSWORD`.
Where a key itself holds the marker `_0x`, the underscore of it is escaped, as `_0X5F_`.
"""

from __future__ import annotations

import re

from strongroom.errors import InvalidKeyError
from strongroom.keys import check_key

__all__ = ["key_of", "name_of"]

# The look-ahead leaves `0x` of a marker in the key as it is: only its underscore is escaped.
_ESCAPED = re.compile("[^a-z0-9_]|_(?=0x)")
_ESCAPE = re.compile("_0X([0-9A-F]{1,6})_")
_LAST_CODE_POINT = 0x10FFFF


def name_of(key: str) -> str:
    """Return the name, without the provider's prefix, of the variable that holds `key`."""
    parts: list[str] = []
    end = 0
    for found in _ESCAPED.finditer(key):
        parts += (key[end : found.start()].upper(), f"_0X{ord(found[0]):X}_")
        end = found.end()
    return "".join((*parts, key[end:].upper()))


def key_of(name: str) -> str | None:
    """Return the key whose `name_of` is `name`, or None where no key has that name."""
    parts: list[str] = []
    end = 0
    for escape in _ESCAPE.finditer(name):
        point = int(escape[1], 16)
        if point > _LAST_CODE_POINT:
            return None
        parts += (name[end : escape.start()].lower(), chr(point))
        end = escape.end()
    key = "".join((*parts, name[end:].lower()))
    try:
        # What does not lead back to itself (lower case, a marker without an escape) is not a name of ours.
        return key if name_of(check_key(key)) == name else None
    except InvalidKeyError:
        return None
