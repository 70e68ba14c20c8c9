"""Keys as paths of the KV engine and back: injective, and the identity wherever it can be.

The server refuses what is not printable, and `..` anywhere in a path. Each byte (UTF-8) of such a
character becomes the marker `~x` and two hexadecimal digits; a `~` before an `x` is escaped too, so
no two keys share a path.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import quote

from strongroom.errors import InvalidKeyError
from strongroom.keys import check_key

MARKER = "~x"

_SPECIAL = re.compile(r"~(?=x)|(?<=\.)\.|(?<![^/]) | (?![^/])")
_ESCAPES = re.compile(r"(?:~x[0-9a-f]{2})+")


def escape(text: str) -> str:
    """Return the path of a key, or of the beginning of one that ends with `/`."""
    if text.isprintable() and not _SPECIAL.search(text):
        return text
    escaped = _SPECIAL.sub(lambda found: _hex(found.group()), text)
    return "".join(c if c.isprintable() else _hex(c) for c in escaped)


# Names are no secrets; remembering them keeps the mapping off the way of a read.
@lru_cache(maxsize=8192)
def url_path(text: str) -> str:
    """Return `escape(text)` quoted for a URL."""
    return quote(escape(text))


def key_of(path: str) -> str | None:
    """Return the key kept at `path`, or None where no key has it (another tool's odd name)."""
    try:
        key = _ESCAPES.sub(lambda found: bytes.fromhex(found.group().replace(MARKER, "")).decode(), path)
        return key if escape(check_key(key)) == path else None
    except (UnicodeDecodeError, InvalidKeyError):
        return None


def _hex(text: str) -> str:
    return "".join(f"{MARKER}{byte:02x}" for byte in text.encode())
